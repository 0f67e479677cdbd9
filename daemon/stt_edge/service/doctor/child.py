"""A look at the machine from a process of its own, which can be killed when a driver hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def run_module(module: str, *arguments: str, limit_s: float) -> dict[str, Any] | str:
    """Run a module that prints one JSON object; return that, or in one line why there is none."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {limit_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {done.returncode}"
    return found
