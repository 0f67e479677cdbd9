"""F7: twenty minutes of speech in an outage, on a disk of 8 MB."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F7"
TITLE = "the disk fills up while 20 minutes of speech wait"


def run(work: Path, quick: bool) -> str:
    """Give up the oldest, keep the rest whole, and go on when there is room again."""
    return hold("tests/service/test_full_disk.py")
