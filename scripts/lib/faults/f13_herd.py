"""F13: a hundred daemons lose their provider together."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F13"
TITLE = "a hundred daemons lose their provider together (simulated clock)"


def run(work: Path, quick: bool) -> str:
    """Count their attempts to come back, for fifty seeds."""
    return hold("tests/session/test_herd.py")
