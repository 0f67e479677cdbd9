"""F1: the power is cut, or the process killed, at every operation on the disk there is."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F1"
TITLE = "power cut or SIGKILL at every disk operation of an outage"


def run(work: Path, quick: bool) -> str:
    """Cut at each one, with three ideas of what a medium keeps."""
    return hold("tests/utterance/test_power_cut.py")
