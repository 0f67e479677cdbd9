"""Programs of our own making, run apart: in a process, or where the machine is rearranged."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOURNALD = Path("/lib/systemd/systemd-journald")


@functools.cache
def _refusal() -> str:
    """Return why there can be no mount namespace here; empty if there can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    try:
        probe = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/run"],
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "there is no unshare"
    return probe.stderr.strip()


UNSHARE = ("unshare", "--mount", "--net", "--propagation", "private")

needs_mounts = pytest.mark.skipif(bool(_refusal()), reason=f"no mount namespace: {_refusal()}")
needs_journald = pytest.mark.skipif(
    bool(_refusal()) or not JOURNALD.exists(),
    reason=f"no journald of our own: {_refusal() or f'{JOURNALD} is missing'}",
)


def environment_of(**variables: str) -> dict[str, str]:
    """Return an environment in which the program and its tests can be imported."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'daemon'}:{ROOT}", **variables}


def run_python(
    code: str, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        env=environment_of(**variables),
        capture_output=True,
        text=True,
    )


def run_in_namespace(shell: str, python: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``shell`` with ``$PYTHON`` set to a command that runs ``python``; raise if it fails."""
    environment = environment_of(INTERPRETER=sys.executable, SCRIPT=python, **variables)
    script = 'set -eu\nrun() { "$INTERPRETER" -c "$SCRIPT"; }\n' + shell
    done = subprocess.run(
        [*UNSHARE, "bash", "-c", script],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done
