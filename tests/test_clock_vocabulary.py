"""Clocks: UTC, when the wall clock is believed, and how moments are written."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from stt_edge import clock
from stt_edge.clock import SystemClock, rfc3339, wall_time_of


class HandClock:
    """A clock that is turned by hand."""

    def __init__(self, now: datetime, mono_ns: int) -> None:
        self._now = now
        self._mono_ns = mono_ns

    def now(self) -> datetime:
        return self._now

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def synchronized(self) -> bool:
        return True


MOMENT = datetime(2026, 11, 20, 16, 20, 31, 482_999, UTC)


def test_the_time_is_utc_and_monotonic_time_is_that_of_the_boot() -> None:
    system = SystemClock()
    assert system.now().tzinfo is UTC
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= system.monotonic_ns() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(MOMENT) == "2026-11-20T16:20:31.482Z"
    berlin = MOMENT.astimezone(timezone(timedelta(hours=1)))
    assert rfc3339(berlin) == "2026-11-20T16:20:31.482Z"
    assert rfc3339(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"


def test_the_wall_time_of_a_moment_of_this_boot_is_found_from_the_monotonic_clock() -> None:
    hand = HandClock(MOMENT, 90_000_000_000)
    assert wall_time_of(90_000_000_000, hand) == MOMENT
    earlier = wall_time_of(87_500_000_000, hand)
    assert abs((MOMENT - earlier).total_seconds() - 2.5) < 1e-5
    assert earlier.tzinfo is UTC


@pytest.mark.parametrize(
    ("year", "files", "believed"),
    [
        (1970, [], False),
        (2025, ["synchronized"], False),
        (2027, None, True),
        (2027, [], False),
        (2027, ["synchronized"], True),
    ],
)
def test_the_clock_is_believed_once_it_can_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    year: int,
    files: list[str] | None,
    believed: bool,
) -> None:
    unit = tmp_path / "timesync"
    if files is not None:  # systemd-timesyncd runs
        unit.mkdir()
        for name in files:
            (unit / name).touch()
    monkeypatch.setattr(clock, "_TIMESYNC_UNIT", unit)
    system = SystemClock()
    monkeypatch.setattr(system.__class__, "now", lambda _: datetime(year, 6, 1, tzinfo=UTC))
    assert system.synchronized() is believed
