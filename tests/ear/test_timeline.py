"""Times and gaps, against devices that behave as measured on real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from stt_edge.ear.timeline import Captured, Missing, Recorded
from stt_edge.model import NS_PER_SAMPLE

BLOCK = 1600
MS = 1_000_000
S = 1000 * MS


@dataclass
class Reader:
    """Reads a simulated device as the ear does, and keeps the time."""

    ppm: float = 0.0
    """How fast the device's crystal is."""
    period: int = 3200
    """Samples the device hands over at a time."""
    buffer: int | None = 12_800
    """Samples the device holds; when there are more, all are lost. None: as many as there are."""
    trickle_ns: int = 0
    """A server delivers what has piled up not at once, but takes so long for each block."""
    now_ns: int = 1000 * S
    timeline: Captured = field(default_factory=Captured)
    heard: list[tuple[int, int]] = field(default_factory=list)
    """Address and true position of each block that was passed on, in samples."""
    gaps: list[int] = field(default_factory=list)
    _end: int = 0
    _read: int = 0
    _offset: int = 0
    _began_ns: int | None = None

    def __post_init__(self) -> None:
        self._started_ns = self.now_ns

    def captured(self, at_ns: int) -> int:
        """Samples the device has captured in all, in whole periods."""
        count = math.floor((at_ns - self._started_ns) * (1 + self.ppm / 1e6) / NS_PER_SAMPLE)
        return (count - self._offset) // self.period * self.period + self._offset

    def read(self, blocks: int = 1, delay_ns: int = 0) -> None:
        """Read so many blocks; each time something else delays the return a little."""
        for _ in range(blocks):
            began_ns, self._began_ns = self._began_ns or self.now_ns, None
            if self.buffer and self.captured(self.now_ns) - self._read > self.buffer:
                now = self.captured(self.now_ns)
                self._offset = self._read = now  # an overrun: the device starts afresh
            self.now_ns = max(self.now_ns, self._ready_ns(self._read + BLOCK))
            self.now_ns += delay_ns + self.trickle_ns
            position, self._read = self._read, self._read + BLOCK
            pcm = position.to_bytes(8, "little") + bytes(2 * BLOCK - 8)
            for piece in self.timeline.take(pcm, began_ns, self.now_ns):
                self._pass_on(piece)

    def run(self, seconds: float, delay_ns: int = 0) -> None:
        until_ns = self.now_ns + round(seconds * S)
        while self.now_ns < until_ns:
            self.read(delay_ns=delay_ns)

    def stop(self, seconds: float) -> None:
        """Be stopped within a read: the device goes on, nobody listens."""
        self._began_ns = self.now_ns
        self.now_ns += round(seconds * S)

    def _ready_ns(self, position: int) -> int:
        """When the device hands over the period that makes ``position`` samples."""
        periods = -(-(position - self._offset) // self.period)
        samples = self._offset + periods * self.period
        return self._started_ns + math.ceil(samples * NS_PER_SAMPLE / (1 + self.ppm / 1e6))

    def _pass_on(self, piece: bytes | Missing) -> None:
        if isinstance(piece, Missing):
            self.gaps.append(piece.samples)
            self._end += piece.samples
        else:
            self.heard.append((self._end, int.from_bytes(piece[:8], "little")))
            self._end += len(piece) // 2

    @property
    def misplaced(self) -> int:
        """The largest distance between where a block is said to lie and where it does."""
        return max(abs(address - position) for address, position in self.heard)


@pytest.mark.parametrize("period", [160, 1600, 3200, 8000])
@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_a_device_that_loses_nothing_has_no_gaps_however_its_crystal_drifts(
    period: int, ppm: int
) -> None:
    reader = Reader(ppm=ppm, period=period, buffer=32_000)
    reader.run(1800)
    assert reader.gaps == []
    assert reader.misplaced == 0


@pytest.mark.parametrize("period", [1600, 3200])
@pytest.mark.parametrize("ppm", [-200, 0, 200])
@pytest.mark.parametrize("stopped_s", [1.2, 3.0, 20.0, 3000.0])
def test_what_an_overrun_loses_is_counted_and_put_where_it_is_missing(
    period: int, ppm: int, stopped_s: float
) -> None:
    reader = Reader(ppm=ppm, period=period)
    reader.run(300)
    reader.stop(stopped_s)
    before = len(reader.heard)
    reader.run(10)
    assert len(reader.gaps) == 1
    lost = reader.heard[-1][1] - (before + len(reader.heard[before:]) - 1) * BLOCK
    # Nobody knows how the crystal went while nobody listened.
    drift = stopped_s * 16_000 * abs(ppm) / 1e6 + 32
    assert reader.gaps[0] == pytest.approx(lost, abs=drift)
    # Placed right before the first block that came after it.
    assert reader.heard[before][0] == pytest.approx(reader.heard[before][1], abs=drift)


def test_an_overrun_right_after_the_start_is_counted_as_exactly() -> None:
    reader = Reader(period=3200)
    reader.run(0.9)
    reader.stop(3)
    reader.run(5)
    lost = reader.heard[-1][1] - (len(reader.heard) - 1) * BLOCK
    assert reader.gaps == [pytest.approx(lost, abs=32)]


def test_an_overrun_is_told_within_half_a_second_of_hearing_again() -> None:
    reader = Reader()
    reader.run(60)
    reader.stop(3)
    again_ns = reader.now_ns
    while not reader.gaps:
        reader.read()
    assert reader.now_ns - again_ns <= 700 * MS


@pytest.mark.parametrize("trickle_ms", [0, 1, 20, 60])
@pytest.mark.parametrize("stopped_s", [0.5, 3.0, 20.0])
def test_a_server_that_delivers_late_but_everything_loses_nothing(
    stopped_s: float, trickle_ms: int
) -> None:
    reader = Reader(buffer=None, trickle_ns=trickle_ms * MS)
    reader.run(60)
    for _ in range(3):
        reader.stop(stopped_s)
        reader.run(stopped_s * 4 + 5)
    assert reader.gaps == []
    assert reader.misplaced == 0


def test_a_stop_within_the_devices_buffer_loses_nothing() -> None:
    reader = Reader()
    for _ in range(20):
        reader.run(3)
        reader.stop(0.55)
    reader.run(10)
    assert reader.gaps == []


def test_small_losses_are_found_within_seconds() -> None:
    reader = Reader()
    reader.run(60)
    for _ in range(3):
        reader._started_ns += 150 * MS  # 150 ms lost in the hardware, without an overrun
        reader.run(15)
    assert [round(gap / 16) for gap in reader.gaps] == [150, 150, 150]


def test_a_sound_server_that_changes_its_latency_loses_nothing_by_it() -> None:
    reader = Reader(timeline=Captured(finds_small_gaps=False))
    reader.run(60)
    reader._started_ns += 150 * MS
    reader.run(15)
    assert reader.gaps == []
    reader.stop(3)
    reader.run(10)
    assert len(reader.gaps) == 1
    assert reader.gaps[0] > 2 * 16_000


def test_losses_are_found_while_the_crystal_drifts_for_days() -> None:
    reader = Reader(ppm=-200)
    for _ in range(3):
        reader.run(3600)
        reader.stop(3)
        reader.run(10)
    lost = reader.heard[-1][1] - (len(reader.heard) - 1) * BLOCK
    assert len(reader.gaps) == 3
    assert sum(reader.gaps) == pytest.approx(lost, abs=3 * 48)


def test_a_busy_machine_that_reads_late_now_and_then_sees_no_gaps() -> None:
    reader = Reader()
    for delay_ms in (0, 5, 40, 0, 120, 80, 0, 30) * 40:
        reader.read(4, delay_ns=delay_ms * MS)
    reader.run(20)
    assert reader.gaps == []


@pytest.mark.parametrize("ppm", [-200, 200])
def test_the_time_of_a_sample_follows_the_devices_clock(ppm: int) -> None:
    reader = Reader(ppm=ppm, period=1600)
    reader.run(2 * 3600)
    address, position = reader.heard[-1]
    true_ns = reader._started_ns + position * NS_PER_SAMPLE / (1 + ppm / 1e6)
    assert reader.timeline.mono_ns(address) == pytest.approx(true_ns, abs=20 * MS)


def test_what_was_ready_with_the_first_block_is_older_than_it() -> None:
    timeline = Captured(pending_samples=lambda: 8000)
    timeline.take(bytes(2 * BLOCK), 0, 2 * S)
    assert timeline.start_ns == 2 * S - 100 * MS - 500 * MS


def test_a_program_may_pause_and_goes_on_at_a_later_time_with_nothing_missing() -> None:
    reader = Reader(timeline=Captured(finds_gaps=False), buffer=None)
    reader.run(10)
    reader._started_ns += 30 * S
    reader.read()
    reader.run(10)
    assert reader.gaps == []
    address, position = reader.heard[-1]
    true_ns = reader._started_ns + position * NS_PER_SAMPLE
    assert reader.timeline.mono_ns(address) == pytest.approx(true_ns, abs=200 * MS)


def test_blocks_held_back_are_handed_out_at_the_end() -> None:
    reader = Reader()
    reader.run(10)
    reader.stop(3)
    heard = len(reader.heard)
    reader.read()
    assert len(reader.heard) == heard
    rest = reader.timeline.rest()
    assert [len(piece) for piece in rest if isinstance(piece, bytes)] == [2 * BLOCK]
    assert reader.timeline.rest() == []


def test_blocks_are_not_held_back_for_ever() -> None:
    timeline = Captured()
    pcm = bytes(2 * BLOCK)
    timeline.take(pcm, 0, 100 * MS)
    now_ns = 10 * S
    passed_on = 0
    for _ in range(50):  # ever more late, and never drained: a machine that cannot keep up
        passed_on += len(timeline.take(pcm, now_ns - MS, now_ns))
        now_ns += 150 * MS
    assert passed_on >= 40


def test_a_recordings_clock_is_ours() -> None:
    timeline = Recorded(5 * S)
    assert timeline.take(b"ab", 0, 0) == [b"ab"]
    assert timeline.mono_ns(16_000) == 6 * S
    assert timeline.rest() == []
