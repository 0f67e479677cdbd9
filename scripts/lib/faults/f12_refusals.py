"""F12: a service that refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.tests_run import hold

NAME = "F12"
TITLE = "401, 402, 429, 503 with Retry-After: capture goes on, one warning an episode"

_EVERY: Final = "tests/providers/test_every_provider.py"


def run(work: Path, quick: bool) -> str:
    """Have the daemon refused; in the full run, every provider too."""
    if quick:
        return hold("tests/faults/test_refusals.py")
    return hold(
        "tests/faults/test_refusals.py",
        f"{_EVERY}::test_a_refusal_is_taken_for_what_it_is",
        f"{_EVERY}::test_a_refused_key_blocks_and_the_message_does_not_hold_it",
        "tests/session/test_standing.py",
    )
