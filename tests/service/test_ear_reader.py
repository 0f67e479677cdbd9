"""The thread that reads an ear, with real processes, a real log and no loop at all."""

from __future__ import annotations

import errno
import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from stt_edge.clock import SystemClock
from stt_edge.ear import wire
from stt_edge.ear.settings import EarSettings
from stt_edge.errors import FaultKind
from stt_edge.model import EndReason
from stt_edge.service import ear_process
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader, EarSaid
from stt_edge.service.intake import (
    LogFailed,
    Losses,
    UtteranceEnded,
    UtteranceGrew,
    UtteranceOpened,
)
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.disk import FailingDisk
from tests.fakes.ear import (
    BLOCK,
    Act,
    FakeEar,
    die,
    fault,
    finish,
    garbage,
    hang,
    hang_up,
    health,
    opened,
    pcm_of,
    stderr,
    utterance,
    wait_for,
)


class Bench:
    """One fake ear, read by a real reader into a real log."""

    def __init__(self, directory: Path, *acts: Act) -> None:
        self.directory = directory
        self.disk = FailingDisk()
        self.log = UtteranceLog(directory / "hot", self.disk)
        self.losses = Losses()
        self.events: list[EarEvent] = []
        self._queue: queue.Queue[EarEvent] = queue.Queue()
        self.process = EarProcess(FakeEar(directory, list(acts)).command)
        self.process.begin(EarSettings())
        self.reader = EarReader(
            self.process,
            self.log,
            clock=SystemClock(),
            losses=self.losses,
            limiter=LineLimiter(),
            emit=lambda _, event: self._queue.put(event),
        )

    def until(self, kind: type[EarEvent]) -> EarEvent:
        """Take events until one of a kind comes."""
        while True:
            event = self._queue.get(timeout=20)
            self.events.append(event)
            if isinstance(event, UtteranceGrew):
                self.reader.growth_seen()
            if isinstance(event, kind):
                return event

    def gone(self) -> EarGone:
        event = self.until(EarGone)
        assert isinstance(event, EarGone)
        assert self.reader.join(5.0)
        return event

    def of(self, kind: type[EarEvent]) -> list[EarEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        self.process.kill()
        self.process.reap()
        self.reader.join(5.0)


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.close()


class MakeBench(Protocol):
    """Puts an ear that acts as told on a bench."""

    def __call__(self, *acts: Act) -> Bench: ...


@pytest.fixture
def bench(tmp_path: Path, benches: list[Bench]) -> MakeBench:
    def make(*acts: Act) -> Bench:
        benches.append(Bench(tmp_path, *acts))
        return benches[-1]

    return make


def test_every_sample_of_an_utterance_is_in_the_log(bench: MakeBench) -> None:
    made = bench(opened(), health(2), utterance(30), finish())
    assert made.gone() == EarGone("exit code 0")
    (start,), (end,) = made.of(UtteranceOpened), made.of(UtteranceEnded)
    assert isinstance(start, UtteranceOpened)
    assert isinstance(end, UtteranceEnded)
    spans = made.log.read(start.head.id, 0, 10**9)
    assert b"".join(span.pcm for span in spans) == pcm_of(0, 30)
    assert end.tail.lost == 0
    assert end.tail.end == 30 * BLOCK


def test_a_loop_that_is_blocked_for_40_seconds_of_speech_loses_nothing(
    tmp_path: Path, bench: MakeBench
) -> None:
    made = bench(opened(), utterance(400), utterance(5), finish())
    # Nobody takes events here: the main thread waits for the reader alone, as a blocked loop would.
    assert made.reader.join(20.0)
    made.gone()
    first = made.of(UtteranceOpened)[0]
    assert isinstance(first, UtteranceOpened)
    assert b"".join(span.pcm for span in made.log.read(first.head.id, 0, 10**9)) == pcm_of(0, 400)
    assert len(made.of(UtteranceEnded)) == 2
    assert len(made.of(UtteranceGrew)) == 1, "a loop that does not look is told once"
    assert len(made.events) < 60


def test_an_ear_killed_in_the_middle_ends_its_utterance_at_the_last_sample_received(
    bench: MakeBench,
) -> None:
    made = bench(opened(), utterance(7, end=None), health(1), hang())
    made.until(wire.Health)
    os.kill(made.process.pid, signal.SIGKILL)
    assert made.gone() == EarGone("signal 9, SIGKILL")
    (end,) = made.of(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert (end.tail.end, end.tail.reason) == (7 * BLOCK, EndReason.DEVICE)
    assert made.log.info(end.id).tail == end.tail


def test_an_ear_that_talks_nonsense_is_killed_and_its_utterance_kept(
    bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ear_process, "_GRACE_S", 60.0)  # no patience with one that is mad
    go = tmp_path / "go"
    made = bench(opened(), utterance(3, end=None), health(1), wait_for(go), garbage())
    made.until(wire.Health)
    go.touch()
    assert made.gone().how.startswith("it made no sense")
    (end,) = made.of(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert end.tail.end == 3 * BLOCK


def test_an_ear_that_cannot_be_killed_is_given_up_at_once(bench: MakeBench) -> None:
    made = bench(opened(), utterance(3, end=None), health(1), hang())
    made.until(wire.Health)
    made.reader.abandon()
    assert made.gone() == EarGone("given up")
    (end,) = made.of(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert end.tail.reason is EndReason.DEVICE


def test_a_full_disk_never_stops_the_reading(bench: MakeBench, tmp_path: Path) -> None:
    go = tmp_path / "go"
    made = bench(opened(), utterance(2, end=None), wait_for(go), utterance(300), finish())
    made.until(UtteranceGrew)
    made.disk.fail("write", errno.ENOSPC)
    go.touch()
    made.gone()
    assert len(made.of(LogFailed)) == 1
    (end,) = made.of(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert end.tail.lost >= 300 * BLOCK


def test_an_utterance_ends_when_its_ear_hangs_up_and_not_when_it_is_dead(
    bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ear_process, "_GRACE_S", 60.0)
    go = tmp_path / "go"
    made = bench(opened(), utterance(3, end=None), hang_up(), wait_for(go), die(0))
    made.until(UtteranceEnded)
    assert made.of(EarGone) == []
    go.touch()
    made.gone()


def test_a_fault_is_told_as_the_ear_said_it(bench: MakeBench) -> None:
    made = bench(fault(FaultKind.BUSY, "Another program has it."))
    made.gone()
    assert made.of(wire.Fault) == [
        wire.Fault(FaultKind.BUSY, "Another program has it.", "Do something.")
    ]


def test_an_ear_that_floods_stderr_costs_a_few_lines_and_no_sound(bench: MakeBench) -> None:
    made = bench(opened(), stderr("ALSA xrun %d", 20_000), utterance(10), die(1))
    assert made.gone() == EarGone("exit code 1: ALSA xrun 19999")
    assert len(made.of(EarSaid)) == 20
    assert len(made.of(UtteranceEnded)) == 1


def test_the_last_words_of_a_crashing_ear_are_heard(bench: MakeBench, tmp_path: Path) -> None:
    go = tmp_path / "go"
    last_words = [wait_for(go), stderr("Segmentation fault in libasound"), die(-signal.SIGSEGV)]
    made = bench(opened(), utterance(1, end=None), hang_up(), *last_words)
    made.until(UtteranceEnded)
    go.touch()
    assert made.gone() == EarGone("signal 11, SIGSEGV: Segmentation fault in libasound")
    assert EarSaid("Segmentation fault in libasound") in made.events


def test_ears_that_come_and_go_leave_no_thread_and_no_descriptor_behind(
    tmp_path: Path, benches: list[Bench]
) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    # Which threads, not how many: those of earlier tests may end meanwhile.
    before, threads = descriptors(), set(threading.enumerate())
    for number in range(20):
        made = Bench(tmp_path / str(number), die(0))
        made.gone()
    assert set(threading.enumerate()) <= threads
    assert descriptors() == before
