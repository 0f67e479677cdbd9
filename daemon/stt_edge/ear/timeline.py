"""When each sample was heard, and how many are missing, from the times at which blocks came.

No I/O and no clock in here: the caller says when a read began and ended (CLOCK_MONOTONIC).

*Lateness* is how much later a block came than a device that runs at exactly 16 kHz and hands over
every sample at once would have brought it. It wavers: a device hands over whole periods, a sound
server hands over what it likes, and a process that was stopped finds a backlog. Its lower
envelope, the *baseline*, does not: it moves with the device's crystal, some 200 ppm at most, and
leaps only when samples are missing. So what counts is lateness at moments at which the device had
nothing more to give:

* A large leap is seen at once. Blocks that come late are held back until the device has been
  drained twice at the same lateness (then the time is missing, and they belong after the gap) or
  has caught up (then nothing is missing). An overflow flag is neither needed nor trusted.
* A small one is seen when the lowest lateness of two windows in a row lies above the baseline.
* Anything less is the crystal: the baseline follows, at 1000 ppm at the most.

How much is missing is known to some milliseconds, where it is missing to one block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from stt_edge.frozen import frozen
from stt_edge.model import NS_PER_SAMPLE, SAMPLE_BYTES

_MS: Final = 1_000_000
_SUSPICIOUS_NS: Final = 250 * _MS
"""A block this late, beyond its own length, is held back until the reason is known."""
_SAME_NS: Final = 30 * _MS
"""Lateness within this is the same lateness."""
_STEP_NS: Final = 60 * _MS
"""A smaller step is not told from the wavering of a busy machine."""
_WINDOW_NS: Final = 3_000 * _MS
_SLEW_PER_WINDOW_NS: Final = _WINDOW_NS // 1000
_PATIENCE_NS: Final = 3_000 * _MS
"""Blocks are not held back for longer than this."""


@frozen
class Missing:
    """So many samples are missing before what follows."""

    samples: int


Piece = bytes | Missing


class Timeline(Protocol):
    """Knows when each sample of a stream was heard."""

    @property
    def start_ns(self) -> int:
        """CLOCK_MONOTONIC at sample 0."""

    def take(self, pcm: bytes, began_ns: int, ended_ns: int) -> list[Piece]:
        """Take a block and the times at which its read began and ended; return what is sure."""

    def rest(self) -> list[Piece]:
        """Return what is still held back; the stream is over."""

    def mono_ns(self, sample: int) -> int:
        """Return CLOCK_MONOTONIC at a sample."""


class Recorded:
    """The timeline of a recording: it loses nothing, and its clock is ours."""

    def __init__(self, start_ns: int) -> None:
        """Begin with sample 0 at a moment of CLOCK_MONOTONIC."""
        self.start_ns = start_ns

    def take(self, pcm: bytes, _began_ns: int, _ended_ns: int) -> list[Piece]:
        """Return the block as it is."""
        return [pcm]

    def rest(self) -> list[Piece]:
        """Return nothing."""
        return []

    def mono_ns(self, sample: int) -> int:
        """Return CLOCK_MONOTONIC at a sample, had it been heard live."""
        return self.start_ns + sample * NS_PER_SAMPLE


class Captured:
    """The timeline of something that is heard now, by a clock of its own."""

    def __init__(
        self,
        *,
        finds_gaps: bool = True,
        finds_small_gaps: bool = True,
        pending_samples: Callable[[], int] = lambda: 0,
    ) -> None:
        """Begin with the first block taken.

        Without ``finds_gaps`` late samples are late, never missing: a program may pause. Without
        ``finds_small_gaps`` that holds for small steps: a sound server changes its latency when
        others come and go, and loses nothing by it.
        ``pending_samples`` is asked once, after the first block: how much more was ready with it.
        """
        self.start_ns = 0
        self._finds_gaps = finds_gaps
        self._finds_small_gaps = finds_gaps and finds_small_gaps
        self._pending_samples = pending_samples
        self._next_sample = 0
        self._base_ns = 0
        self._lateness_ns = 0
        """After the last block."""
        self._held: list[bytes] = []
        self._held_since_ns = 0
        self._drained_ns: int | None = None
        """The lateness at which the device was last drained while blocks were held."""
        self._window = _Window()

    def take(self, pcm: bytes, began_ns: int, ended_ns: int) -> list[Piece]:
        """Take a block and the times at which its read began and ended; return what is sure."""
        length_ns = len(pcm) // SAMPLE_BYTES * NS_PER_SAMPLE
        if not self._next_sample:
            self.start_ns = ended_ns - length_ns - self._pending_samples() * NS_PER_SAMPLE
            self._window.open(ended_ns)
        pieces: list[Piece] = []
        if ended_ns - began_ns >= length_ns // 2:  # the device had nothing more to give
            pieces = self._judge_held() if self._held else self._judge_window(began_ns)
        self._next_sample += len(pcm) // SAMPLE_BYTES
        self._lateness_ns = ended_ns - self.start_ns - self._next_sample * NS_PER_SAMPLE
        self._base_ns = min(self._base_ns, self._lateness_ns)
        late = self._lateness_ns - self._base_ns >= _SUSPICIOUS_NS + length_ns
        if not late or not self._finds_gaps:
            return [*pieces, *self.rest(), pcm]
        if not self._held:
            self._held_since_ns = ended_ns
        self._held.append(pcm)
        if ended_ns - self._held_since_ns >= _PATIENCE_NS:
            pieces += self.rest()
        return pieces

    def rest(self) -> list[Piece]:
        """Return what is still held back, as if nothing were missing."""
        held: list[Piece] = [*self._held]
        self._held.clear()
        self._drained_ns = None
        return held

    def mono_ns(self, sample: int) -> int:
        """Return CLOCK_MONOTONIC at a sample, to the device's period."""
        return self.start_ns + self._base_ns + sample * NS_PER_SAMPLE

    def _judge_held(self) -> list[Piece]:
        before_ns, self._drained_ns = self._drained_ns, self._lateness_ns
        if before_ns is None or abs(before_ns - self._lateness_ns) > _SAME_NS:
            return []
        missing = self._miss(min(before_ns, self._lateness_ns))
        return [*missing, *self.rest()]

    def _judge_window(self, now_ns: int) -> list[Piece]:
        self._window.note(self._lateness_ns)
        if not self._window.is_over(now_ns):
            return []
        lowest_ns, steady = self._window.turn(now_ns)
        step_ns = lowest_ns - self._base_ns
        if step_ns < _STEP_NS:
            self._base_ns += min(step_ns, _SLEW_PER_WINDOW_NS)
        elif steady and self._finds_small_gaps:
            return self._miss(lowest_ns)
        elif steady:
            self._base_ns = lowest_ns
        return []

    def _miss(self, lateness_ns: int) -> list[Piece]:
        samples = (lateness_ns - self._base_ns) // NS_PER_SAMPLE
        self._next_sample += samples
        self._lateness_ns -= samples * NS_PER_SAMPLE
        self._window.forget()
        return [Missing(samples)]


class _Window:
    """The lowest lateness within a stretch of time, and within the one before."""

    def __init__(self) -> None:
        self._ends_ns = 0
        self._lowest_ns: int | None = None
        self._before_ns: int | None = None

    def open(self, now_ns: int) -> None:
        """Begin the first stretch."""
        self._ends_ns = now_ns + _WINDOW_NS

    def note(self, lateness_ns: int) -> None:
        """Take in the lateness at a moment at which the device was drained."""
        lowest_ns = self._lowest_ns
        self._lowest_ns = lateness_ns if lowest_ns is None else min(lowest_ns, lateness_ns)

    def is_over(self, now_ns: int) -> bool:
        """Return whether the stretch has ended."""
        return now_ns >= self._ends_ns

    def turn(self, now_ns: int) -> tuple[int, bool]:
        """Begin the next stretch; return the lowest lateness, and whether it was so before."""
        assert self._lowest_ns is not None
        lowest_ns, before_ns = self._lowest_ns, self._before_ns
        self._before_ns, self._lowest_ns = lowest_ns, None
        self.open(now_ns)
        return lowest_ns, before_ns is not None and abs(lowest_ns - before_ns) <= _SAME_NS

    def forget(self) -> None:
        """Forget what was noted: it was about another baseline."""
        self._lowest_ns = self._before_ns = None
