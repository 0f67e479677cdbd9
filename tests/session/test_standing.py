"""A provider's standing: which failure means what, and how long to wait."""

from __future__ import annotations

import random

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.session.standing import Health, Standing, Verdict, classify

VERDICTS = {
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


class Highest(random.Random):
    """Draws the upper bound, so that a test can read it."""

    def uniform(self, a: float, b: float) -> float:
        return b


def fail(standing: Standing, kind: FailureKind, now_s: float = 0.0, **more: object) -> Standing:
    retry_after = more.get("retry_after_s")
    assert retry_after is None or isinstance(retry_after, float)
    error = ProviderError(kind, "no", retry_after_s=retry_after)
    return standing.failed(error, now_s, Highest(), established=bool(more.get("established")))


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_of_failure_has_its_verdict(kind: FailureKind) -> None:
    assert classify(ProviderError(kind, "no")) is VERDICTS[kind]


def test_the_bound_doubles_up_to_a_minute() -> None:
    standing, bounds = Standing(), []
    for _ in range(9):
        standing = fail(standing, FailureKind.CONNECT)
        bounds.append(standing.wait_s(0.0))
    assert bounds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_first_wait_after_the_loss_of_a_session_is_spread_over_five_seconds() -> None:
    standing = fail(Standing(), FailureKind.LOST, established=True)
    assert standing.wait_s(0.0) == 5.0
    assert fail(standing, FailureKind.CONNECT).wait_s(0.0) == 2.0


def test_an_overloaded_provider_is_left_alone_as_long_as_it_asks() -> None:
    assert fail(Standing(), FailureKind.OVERLOADED).wait_s(0.0) == 60.0
    asked = fail(Standing(), FailureKind.OVERLOADED, retry_after_s=200.0)
    assert asked.wait_s(0.0) == 200.0


def test_a_refused_key_blocks_and_a_hint_does_not_wake_it() -> None:
    standing = fail(Standing(), FailureKind.DENIED)
    assert standing.health is Health.BLOCKED
    assert standing.wait_s(0.0) == 300.0
    assert standing.woken(1.0).wait_s(1.0) == 299.0


def test_speech_cuts_a_wait_short_once_in_five_seconds() -> None:
    standing = fail(Standing(), FailureKind.CONNECT, now_s=10.0)
    standing = standing.woken(10.2)
    assert standing.wait_s(10.2) == 0.0
    standing = fail(standing, FailureKind.CONNECT, now_s=10.3)
    assert standing.woken(11.0).wait_s(11.0) > 0
    assert standing.woken(15.3).wait_s(15.3) == 0.0


def test_proof_forgets_failures_and_a_mere_connection_does_not() -> None:
    standing = fail(fail(Standing(), FailureKind.CONNECT), FailureKind.CONNECT)
    assert standing.failures == 2
    assert standing.proved().health is Health.UP
    assert fail(standing.proved(), FailureKind.CONNECT).wait_s(0.0) == 1.0


def test_an_utterance_s_own_fault_is_not_the_provider_s() -> None:
    assert fail(Standing(), FailureKind.UTTERANCE).health is Health.UP


def test_waits_stay_within_their_bound() -> None:
    rng = random.Random(7)
    error = ProviderError(FailureKind.CONNECT, "no")
    for _ in range(200):
        standing = Standing(failures=3).failed(error, 0.0, rng, established=False)
        assert 0 <= standing.wait_s(0.0) <= 8
