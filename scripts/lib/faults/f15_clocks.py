"""F15: the wall clock jumps."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F15"
TITLE = "wall clock at 1970, then right, a year ahead, an hour back"


def run(work: Path, quick: bool) -> str:
    """Let the daemon live through it."""
    return hold(
        "tests/faults/test_clocks.py",
        "tests/test_ids_vocabulary.py",
        "tests/test_clock_vocabulary.py",
        "tests/service/test_intake.py",
    )
