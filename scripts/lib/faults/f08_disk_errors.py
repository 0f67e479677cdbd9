"""F8: the disk fails at a sync, a write, a rename, a directory."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F8"
TITLE = "EIO, ENOSPC and EROFS from every operation of the spool"


def run(work: Path, quick: bool) -> str:
    """Speech stays in memory, a file whose sync failed is not trusted again, and all heals."""
    return hold("tests/service/test_spool_thread.py")
