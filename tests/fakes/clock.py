"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 20, 16, 20, 30, tzinfo=UTC)


class FakeClock:
    """Implements ``stt_edge.clock.Clock``."""

    def __init__(
        self, wall: datetime = START, mono_ns: int = 1_000_000_000_000, *, synced: bool = True
    ) -> None:
        self._wall = wall
        self._mono_ns = mono_ns
        self.synced = synced

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def now(self) -> datetime:
        return self._wall

    def synchronized(self) -> bool:
        return self.synced

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError("time does not run backwards; step_wall() steps the wall clock")
        self._mono_ns += round(seconds * 1e9)
        self._wall += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; no time passes."""
        self._wall += timedelta(seconds=seconds)
