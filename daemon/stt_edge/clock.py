"""Time, as the rest of the program asks for it.

Durations come from the monotonic clock only; the wall clock is read to name a moment to people.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

# No record of this program can be older than the program: a clock before this has never been set.
_EARLIEST_PLAUSIBLE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TIMESYNC_UNIT: Final = Path("/run/systemd/timesync")


class Clock(Protocol):
    """What a component may ask of time; tests hand in one that they turn by hand."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC in nanoseconds; the same in every process of this boot."""

    def now(self) -> datetime:
        """Return the wall time, UTC."""

    def synchronized(self) -> bool:
        """Return whether the wall clock is believed to be right."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC in nanoseconds."""
        return time.monotonic_ns()

    def now(self) -> datetime:
        """Return the wall time, UTC."""
        return datetime.now(UTC)

    def synchronized(self) -> bool:
        """Return False before 2026, or while systemd-timesyncd runs and has not synchronised.

        adjtimex(2) would know more, and is what ``ProtectClock=yes`` forbids.
        """
        if self.now() < _EARLIEST_PLAUSIBLE:
            return False
        return not _TIMESYNC_UNIT.is_dir() or (_TIMESYNC_UNIT / "synchronized").exists()


def rfc3339(moment: datetime) -> str:
    """Return ``2026-11-20T16:20:31.482Z``: UTC, milliseconds."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def wall_time_of(mono_ns: int, clock: Clock) -> datetime:
    """Return the wall time at which CLOCK_MONOTONIC stood at ``mono_ns`` (this boot)."""
    age_ns = clock.monotonic_ns() - mono_ns
    return datetime.fromtimestamp(clock.now().timestamp() - age_ns / 1e9, UTC)
