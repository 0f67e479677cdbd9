"""F11: a service that says things twice, late, too long, or that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.tests_run import hold

NAME = "F11"
TITLE = "a lying service: doubled, late, huge, garbled and missing answers"

_EVERY: Final = "tests/providers/test_every_provider.py"
_TRIED: Final = (
    f"{_EVERY}::test_an_utterance_survives_a_service_that_misbehaves_for_a_while",
    f"{_EVERY}::test_what_a_service_says_twice_is_written_once",
    f"{_EVERY}::test_a_late_final_is_waited_for",
    f"{_EVERY}::test_a_service_that_says_nothing_in_the_end_does_not_hold_an_utterance_for_ever",
)


def run(work: Path, quick: bool) -> str:
    """Try each lie with every service, and the worst with the whole daemon."""
    whole = ("tests/faults/test_liar.py", "tests/session/test_progress.py")
    return hold(*whole) if quick else hold(*whole, *_TRIED, "tests/session/test_connection.py")
