"""F20: bytes that nobody in his right mind would write, for everything that reads bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from scripts.lib.fault_kit.fault import ROOT, FaultError, progress
from scripts.lib.fault_kit.fuzz_providers import all_names
from scripts.lib.fault_kit.fuzz_targets import NAMES, PROVIDERS

NAME = "F20"
TITLE = "fuzz: segments, recovery, ear's wire, store, control socket, every provider's messages"

VARIABLE: Final = "STT_EDGE_FUZZ_S"
"""Seconds for each target."""
SECONDS: Final = 60.0
QUICK_SECONDS: Final = 0.3
QUICK_TARGETS: Final = (*NAMES, f"{PROVIDERS}deepgram", f"{PROVIDERS}google_rest")
MOST_GROWTH_KIB: Final = 50 << 10
MOST_SECONDS: Final = 5.0
"""For one case; most take a thousandth of it."""
_SIDE_BY_SIDE: Final = 2


def run(work: Path, quick: bool) -> str:
    """Fuzz every target in a process of its own."""
    seconds = float(os.environ.get(VARIABLE, QUICK_SECONDS if quick else SECONDS))
    targets = QUICK_TARGETS if quick else (*NAMES, *(PROVIDERS + name for name in all_names()))
    seed = 0 if quick else int(time.time())
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        found = list(pool.map(lambda name: _fuzz(name, seconds, seed, work), targets))
    cases = sum(each["cases"] for each in found)
    grown = max(each["grown_kib"] for each in found) / 1024
    slowest = max(each["slowest_s"] for each in found)
    return (
        f"{len(targets)} targets, {cases} cases, 0 crashes, memory grew by {grown:.0f} MB at most, "
        f"slowest case {slowest:.2f} s (seed {seed})"
    )


def _fuzz(name: str, seconds: float, seed: int, work: Path) -> dict[str, Any]:
    folder = work / name.replace(" ", "-")
    folder.mkdir()
    arguments = [name, str(seconds), str(seed), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.lib.fault_kit.fuzz", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}"},
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if done.returncode != 0:
        raise FaultError(f"{name}: {done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    progress(f"{name}: {found['cases']} cases")
    if found["grown_kib"] > MOST_GROWTH_KIB:
        raise FaultError(f"{name}: memory grew by {found['grown_kib']} KiB")
    if found["slowest_s"] > MOST_SECONDS:
        raise FaultError(f"{name}: one case took {found['slowest_s']:.1f} s")
    return found
