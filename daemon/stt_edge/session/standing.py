"""A provider's standing: up, backing off, or blocked; and what a failure means for it.

The waits are full jitter, ``uniform(0, min(60, 2^n))`` seconds; after the loss of an established
session the first is ``uniform(0, 5)``, so that a common outage does not bring every client back in
the same second. A wait is forgotten only after proof: a result, or ten seconds of streaming.
"""

from __future__ import annotations

import random
from dataclasses import replace
from enum import StrEnum
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen

CAP_S: Final = 60.0
FIRST_AFTER_LOSS_S: Final = 5.0
SLOW_S: Final = (30.0, 60.0)
BLOCK_S: Final = 300.0
_MOST_DOUBLINGS: Final = 16
WAKE_EVERY_S: Final = 5.0
PROOF_STREAMING_S: Final = 10.0
DOWN_AFTER: Final = 2
"""Failed attempts without proof between them."""


class Verdict(StrEnum):
    """What to do after a failure."""

    RETRY = "retry"
    RETRY_SLOW = "retry-slow"
    BLOCK = "block"
    UTTERANCE = "utterance"
    """It is the utterance's own fault; the provider is well."""


_VERDICTS: Final = {
    FailureKind.CONNECT: Verdict.RETRY,
    FailureKind.TIMEOUT: Verdict.RETRY,
    FailureKind.LOST: Verdict.RETRY,
    FailureKind.PROTOCOL: Verdict.RETRY,
    FailureKind.SERVER: Verdict.RETRY,
    FailureKind.CLOCK: Verdict.RETRY,
    FailureKind.OVERLOADED: Verdict.RETRY_SLOW,
    FailureKind.DENIED: Verdict.BLOCK,
    FailureKind.REQUEST: Verdict.BLOCK,
    FailureKind.SETUP: Verdict.BLOCK,
    FailureKind.UTTERANCE: Verdict.UTTERANCE,
}


def classify(failure: ProviderError) -> Verdict:
    """Return what to do after ``failure``."""
    return _VERDICTS[failure.kind]


class Health(StrEnum):
    """Whether a provider may be connected to."""

    UP = "up"
    BACKING_OFF = "backing-off"
    BLOCKED = "blocked"


@frozen
class Standing:
    """A provider's standing; times are seconds of the monotonic clock."""

    health: Health = Health.UP
    failures: int = 0
    """Failed attempts since the last proof."""
    due_s: float = 0.0
    """When the next attempt may be made."""
    woken_s: float = float("-inf")
    """When a wait was last cut short."""
    last_failure: ProviderError | None = None
    late: bool = False
    """It was not ready in time, or has asked to be left alone."""

    @property
    def down(self) -> bool:
        """Whether utterances had better go to another provider, where there is one."""
        if self.health is Health.UP:
            return False
        return self.health is Health.BLOCKED or self.late or self.failures >= DOWN_AFTER

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait before the next attempt; 0 is 'now'."""
        return 0.0 if self.health is Health.UP else max(0.0, self.due_s - now_s)

    def failed(
        self, failure: ProviderError, now_s: float, rng: random.Random, *, established: bool
    ) -> Standing:
        """Return the standing after a failed attempt, or after the loss of a session."""
        verdict = classify(failure)
        if verdict is Verdict.UTTERANCE:
            return replace(self, last_failure=failure)
        delay_s = self._delay_s(verdict, failure, rng, established=established)
        health = Health.BLOCKED if verdict is Verdict.BLOCK else Health.BACKING_OFF
        return replace(
            self,
            health=health,
            failures=self.failures + 1,
            due_s=now_s + delay_s,
            last_failure=failure,
            late=verdict is Verdict.RETRY_SLOW
            or (failure.kind is FailureKind.TIMEOUT and not established),
        )

    def proved(self) -> Standing:
        """Return the standing after a result, or ten seconds of streaming."""
        return Standing(woken_s=self.woken_s)

    def woken(self, now_s: float) -> Standing:
        """Return the standing after a hint that waiting may be over (speech, a network change).

        A hint cuts a back-off short, once in five seconds; a block it does not touch.
        """
        if self.health is not Health.BACKING_OFF or now_s - self.woken_s < WAKE_EVERY_S:
            return self
        return replace(self, due_s=now_s, woken_s=now_s)

    def unblocked(self, now_s: float) -> Standing:
        """Return the standing after what blocked it may have been mended, such as a key file."""
        if self.health is not Health.BLOCKED:
            return self
        return replace(self, health=Health.BACKING_OFF, due_s=now_s)

    def postponed(self, until_s: float) -> Standing:
        """Return the standing with the next attempt no sooner than ``until_s``."""
        return replace(self, due_s=max(self.due_s, until_s))

    def _delay_s(
        self, verdict: Verdict, failure: ProviderError, rng: random.Random, *, established: bool
    ) -> float:
        if verdict is Verdict.BLOCK:
            return BLOCK_S
        if verdict is Verdict.RETRY_SLOW:
            return max(failure.retry_after_s or 0.0, rng.uniform(*SLOW_S))
        if established and not self.failures:
            return rng.uniform(0, FIRST_AFTER_LOSS_S)
        return rng.uniform(0, min(CAP_S, 2.0 ** min(self.failures, _MOST_DOUBLINGS)))
