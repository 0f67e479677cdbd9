"""F9: the provider is away for an hour, and comes back."""

from __future__ import annotations

from pathlib import Path

from scripts.lib.fault_kit.tests_run import hold

NAME = "F9"
TITLE = "provider away for an hour (simulated clock), then back, while somebody speaks on"


def run(work: Path, quick: bool) -> str:
    """Let an hour pass; also a day, in the full run."""
    more = () if quick else ("tests/session/test_long_outage.py",)
    return hold("tests/faults/test_hour_offline.py", *more)
