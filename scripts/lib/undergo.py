"""What all tests of a whole machine share: one scenario after the other, a line for each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from scripts.lib.container import ContainerError
from scripts.lib.room import ScenarioError

_FAILURES: Final = (ScenarioError, ContainerError, subprocess.TimeoutExpired, OSError)

POWERED_OFF: Final = "the container has been powered off"

Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scenario went."""

    name: str
    passed: bool
    remark: str


def undergo(
    scenario: Callable[[Place], str],
    place: Place,
    before: Callable[[], object] = lambda: None,
    after_failure: Callable[[], str] = lambda: "",
) -> Outcome:
    """Go through a scenario and print how it went; what ``after_failure`` returns is told too."""
    begun_s = time.monotonic()
    try:
        before()
        passed, remark = True, scenario(place)
    except _FAILURES as error:
        passed, remark = False, f"{error}{after_failure()}"
    outcome = Outcome(scenario.__name__.replace("_", " "), passed, remark)
    took = f"{time.monotonic() - begun_s:.0f} s"
    print(f"{'ok' if passed else 'FAIL':4} {outcome.name} ({took}): {remark}", flush=True)
    return outcome


def in_good_order(run: Callable[[], int], ended: str) -> int:
    """Run a whole test; return its exit code, also where it cannot run or is stopped."""
    try:
        return run()
    except ContainerError as error:
        print(f"The test cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped; {ended}.", file=sys.stderr)
        return 130
