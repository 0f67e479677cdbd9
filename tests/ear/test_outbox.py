"""The outbox: what a pipe that is not read does to audio and messages."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from stt_edge.ear.outbox import Outbox
from stt_edge.ear.ring import Ring
from stt_edge.ear.wire import Audio, Decoder, Finished, Gap, Message, Onset

from .test_ring import samples


class Pipe:
    """A real pipe, small or large, and what has come out of it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._decoder = Decoder()

    def received(self) -> list[Message]:
        messages: list[Message] = []
        while True:
            try:
                data = os.read(self.read_end, 1 << 16)
            except BlockingIOError:
                return messages
            messages += self._decoder.feed(data)

    def make_small(self) -> None:
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4096)

    def close_reader(self) -> None:
        os.close(self.read_end)
        self.read_end = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.write_end)
    if pipe.read_end >= 0:
        os.close(pipe.read_end)


def joined(messages: list[Message]) -> list[Message]:
    """Messages with audio that touches put together."""
    result: list[Message] = []
    for message in messages:
        last = result[-1] if result else None
        if isinstance(message, Audio) and isinstance(last, Audio):
            assert message.sample == last.sample + len(last.pcm) // 2
            result[-1] = Audio(last.sample, last.pcm + message.pcm)
        else:
            result.append(message)
    return result


def test_messages_and_audio_come_out_in_the_order_they_went_in(pipe: Pipe) -> None:
    ring = Ring()
    outbox = Outbox(pipe.write_end, ring)
    ring.append(samples(0, 40_000))
    outbox.put(Onset(5))
    outbox.put_audio(100, 200)
    outbox.put_audio(200, 40_000)
    outbox.put(Finished(40_000))
    assert outbox.pump()
    assert joined(pipe.received()) == [
        Onset(5),
        Audio(100, samples(100, 39_900)),
        Finished(40_000),
    ]


def test_a_pipe_that_is_full_is_not_waited_for_and_nothing_is_lost_or_doubled(pipe: Pipe) -> None:
    ring = Ring()
    outbox = Outbox(pipe.write_end, ring)
    pipe.make_small()
    received: list[Message] = []
    for block in range(200):  # 20 s: 640 kB through 4 kB
        ring.append(samples(ring.end, 1600))
        outbox.put_audio(ring.end - 1600, ring.end)
        outbox.pump()
        assert outbox.is_behind or block == 0
    while not outbox.pump():
        received += pipe.received()
    received += pipe.received()
    assert joined(received) == [Audio(0, samples(0, 320_000))]
    assert not outbox.is_behind


def test_what_the_ring_overwrites_is_a_counted_gap_at_its_place(pipe: Pipe) -> None:
    ring = Ring(capacity_samples=16_000)
    outbox = Outbox(pipe.write_end, ring)
    pipe.make_small()
    outbox.put(Onset(0))
    for _ in range(30):
        ring.append(samples(ring.end, 1600))
        outbox.put_audio(ring.end - 1600, ring.end)
        outbox.pump()
    received: list[Message] = []
    while not outbox.pump():
        received += pipe.received()
    messages = joined(received + pipe.received())
    onset, before, gap, after = messages
    assert onset == Onset(0)
    assert isinstance(before, Audio)
    assert isinstance(gap, Gap)
    assert isinstance(after, Audio)
    assert before.pcm == samples(0, gap.sample)
    assert gap.sample + gap.samples == after.sample
    assert after.pcm == samples(after.sample, 48_000 - after.sample)
    assert outbox.overwritten_samples == gap.samples > 16_000


def test_there_is_room_until_waiting_audio_would_be_overwritten(pipe: Pipe) -> None:
    ring = Ring(capacity_samples=64_000)
    outbox = Outbox(pipe.write_end, ring)
    pipe.make_small()
    assert outbox.has_room
    ring.append(samples(0, 32_000))
    outbox.put_audio(0, 32_000)
    outbox.pump()
    assert outbox.has_room
    ring.append(samples(32_000, 32_000))
    outbox.put_audio(32_000, 64_000)
    outbox.pump()
    assert not outbox.has_room
    for _ in range(60):
        pipe.received()
        outbox.flush(0.01)
    assert outbox.has_room


def test_flushing_gives_up_after_a_time_without_progress(pipe: Pipe) -> None:
    ring = Ring()
    outbox = Outbox(pipe.write_end, ring)
    pipe.make_small()
    ring.append(samples(0, 16_000))
    outbox.put_audio(0, 16_000)
    assert not outbox.flush(0.01)


def test_a_pipe_that_nobody_reads_any_more_is_an_error(pipe: Pipe) -> None:
    outbox = Outbox(pipe.write_end, Ring())
    pipe.close_reader()
    outbox.put(Onset(0))
    with pytest.raises(BrokenPipeError):
        outbox.flush()
