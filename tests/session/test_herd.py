"""A hundred daemons lose their provider together: how they come back, on a simulated clock.

What is simulated is when each attempts to connect; the waits are those of ``Standing``. Each daemon
has speech waiting all the time, which is the worst case: one without any attempts nothing.
"""

from __future__ import annotations

import bisect
import random
import statistics
from collections.abc import Iterator

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.session.standing import Standing

DAEMONS = 100
DOWN_S = 120.0
SEEDS = range(50)
FAILED = ProviderError(FailureKind.CONNECT, "connection refused")
LOST = ProviderError(FailureKind.LOST, "the connection broke")

WITHIN_10_S = 410
A_SECOND_FROM_10_S = 30
A_SECOND_FROM_60_S = 12
A_SECOND_AFTER_LOSS = 75
CHANCE = 1.1
"""The best and the worst of fifty seeds lie so far from the middle, as full jitter has it."""


def attempts_of(rng: random.Random, first: ProviderError, *, established: bool) -> Iterator[float]:
    """Yield when one daemon attempts to connect, after ``first`` until it comes through."""
    standing = Standing().failed(first, 0.0, rng, established=established)
    while (now_s := standing.due_s) < DOWN_S:
        yield now_s
        standing = standing.failed(FAILED, now_s, rng, established=False)
    yield now_s


def all_attempts(seed: int, *, established: bool) -> list[float]:
    """Return when any of the daemons attempts to connect, in order."""
    seeds = random.Random(seed)
    found: list[float] = []
    for _ in range(DAEMONS):
        rng, first = random.Random(seeds.random()), LOST if established else FAILED
        found += attempts_of(rng, first, established=established)
    return sorted(found)


def before(times: list[float], end_s: float) -> int:
    """Return how many attempts there are before a time."""
    return bisect.bisect_left(times, end_s)


def busiest(times: list[float], from_s: float) -> int:
    """Return the most attempts in any second that begins at ``from_s`` or later."""
    later = times[before(times, from_s) :]
    return max(before(later, at + 1.0) - number for number, at in enumerate(later))


@pytest.mark.parametrize("established", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_second_of_an_outage_has_too_many_attempts(seed: int, established: bool) -> None:
    times = all_attempts(seed, established=established)
    assert before(times, 10.0) <= WITHIN_10_S * CHANCE
    assert busiest(times, 10.0) <= A_SECOND_FROM_10_S
    assert busiest(times, 60.0) <= A_SECOND_FROM_60_S


@pytest.mark.parametrize("established", [False, True])
def test_the_first_ten_seconds_see_no_more_than_full_jitter_lets_through(established: bool) -> None:
    counts = [before(all_attempts(seed, established=established), 10.0) for seed in SEEDS]
    assert statistics.median(counts) <= WITHIN_10_S


def test_sessions_lost_together_are_not_opened_again_together() -> None:
    peaks = [busiest(all_attempts(seed, established=True), 0.0) for seed in SEEDS]
    assert statistics.median(peaks) <= A_SECOND_AFTER_LOSS
    assert max(peaks) <= A_SECOND_AFTER_LOSS * CHANCE
    refused = [busiest(all_attempts(seed, established=False), 0.0) for seed in SEEDS]
    assert statistics.median(refused) > 1.5 * statistics.median(peaks)


@pytest.mark.parametrize("established", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_daemon_is_back_a_minute_after_the_provider_is(seed: int, established: bool) -> None:
    times = all_attempts(seed, established=established)
    back = times[before(times, DOWN_S) :]
    assert len(back) == DAEMONS
    assert back[-1] <= DOWN_S + 60.0
