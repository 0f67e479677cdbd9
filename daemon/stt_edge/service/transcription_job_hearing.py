"""Hearing a recording for a job: cut by the gate, or whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from stt_edge.clock import SystemClock
from stt_edge.ear import wire
from stt_edge.ear.decode import Recording, open_recording
from stt_edge.ear.settings import EarSettings
from stt_edge.errors import InputError, LogError, StoreError
from stt_edge.frozen import frozen
from stt_edge.model import (
    SAMPLE_RATE,
    AudioSpan,
    EndReason,
    UtteranceEnd,
    UtteranceStart,
    samples_to_s,
)
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader, EarSaid
from stt_edge.service.intake import LogFailed, Losses
from stt_edge.service.transcription_job import FileJob, Known
from stt_edge.service.transcription_job_router import Window
from stt_edge.waiting import is_set_within

_LOOK_S: Final = 0.2
_JOIN_S: Final = 5.0
_PIECE_SAMPLES: Final = 2 * SAMPLE_RATE

Take = Callable[[UtteranceStart, UtteranceEnd, Known], None]
"""Gets an utterance that is complete in the log, and what is known of it, on the loop."""


@frozen
class Surroundings:
    """What hearing needs of the run it is part of."""

    window: Window
    take: Take
    heard: Callable[[float], None]
    """Told now and then how many seconds have been heard."""
    warn: Callable[[str], None]
    """Told what is wrong with a recording that can be used."""
    look: Callable[[], None]
    """Called every now and then; raises what makes going on pointless."""


async def hear_gated(job: FileJob, settings: EarSettings, around: Surroundings) -> None:
    """Let an ear of its own cut the recording into utterances; returns when all of it is heard.

    Raises InputError when it cannot be heard to its end, LogError when there is no room for it.
    """
    ear = _Ear(job, around)
    log = JobLog(job, around, asyncio.get_running_loop())
    process = EarProcess()
    process.begin(settings)
    reader = EarReader(
        process,
        log,
        clock=SystemClock(),
        losses=Losses(),  # nothing was said before the recording
        limiter=LineLimiter(),
        emit=ear.emit,
    )
    try:
        while not await ear.gone_within(_LOOK_S):
            around.look()
    except BaseException:
        log.abandon()
        around.window.close()
        raise
    finally:
        process.kill()
        await asyncio.to_thread(reader.join, _JOIN_S)
    ear.judge()


async def hear_whole(
    job: FileJob, channel: int | str, longest_s: float | None, around: Surroundings
) -> None:
    """Make one utterance of the whole recording.

    Raises InputError when it cannot be decoded or is longer than ``longest_s``, LogError when
    there is no room for it.
    """
    known = await job.known(0)
    if known.finished:
        job.passed_over(known)
        return
    loop, stop = asyncio.get_running_loop(), threading.Event()
    head = UtteranceStart(job.utterance_id(0), job.stream, 0, datetime.now(UTC), 0)

    def told(call: Callable[[Any], None], value: object) -> None:
        loop.call_soon_threadsafe(call, value)

    copy = _Copy(job, head, channel, longest_s, stop, around, told)
    working = asyncio.ensure_future(asyncio.to_thread(copy.run))
    try:
        while not (await asyncio.wait({working}, timeout=_LOOK_S))[0]:
            around.look()
    except BaseException:
        stop.set()
        around.window.close()
        await asyncio.wait({working})
        raise
    if (tail := working.result()) is not None:
        around.take(head, tail, known)


@frozen
class _Copy:
    """Decodes a recording into the log, on a thread of its own."""

    job: FileJob
    head: UtteranceStart
    channel: int | str
    longest_s: float | None
    stop: threading.Event
    around: Surroundings
    tell: Callable[[Callable[[Any], None], object], None]

    def run(self) -> UtteranceEnd | None:
        """Return the recording's end; None when told to stop."""
        if not self.around.window.enter():
            return None
        try:
            return self._run()
        except BaseException:
            self.around.window.leave()
            raise

    def _run(self) -> UtteranceEnd | None:
        recording = open_recording(self.job.path, self.channel)
        try:
            self.job.log.start(self.head)
            end = self._copy(recording)
            if recording.warning:
                self.tell(self.around.warn, recording.warning)
        finally:
            recording.close()
        if self.stop.is_set():
            return None
        tail = UtteranceEnd(end, EndReason.END_OF_FILE, end, end)
        return self.job.log.end(self.head.id, tail)

    def _copy(self, recording: Recording) -> int:
        end = 0
        while not self.stop.is_set() and (pcm := recording.read(_PIECE_SAMPLES)):
            span = AudioSpan(end, pcm)
            self.job.log.append(self.head.id, span)
            end = span.end
            if self.longest_s is not None and samples_to_s(end) > self.longest_s:
                raise InputError(
                    f"{self.job.path}: is longer than the {self.longest_s:g} s that the provider "
                    "takes at once.",
                    "Leave out --no-gate: the gate cuts it into utterances.",
                )
            self.tell(self.around.heard, samples_to_s(end))
        return end


class _Ear:
    """Collects what the ear says beside utterances."""

    def __init__(self, job: FileJob, around: Surroundings) -> None:
        self._job = job
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._faults: list[wire.Fault] = []
        self._last_words: list[str] = []
        self._finished = False
        self._log_failure = ""

    def emit(self, _reader: EarReader, event: EarEvent) -> None:
        """Take an event, on the reader's thread."""
        self._loop.call_soon_threadsafe(self._take, event)

    async def gone_within(self, seconds: float) -> bool:
        """Wait; return whether the ear has ended. Raises LogError."""
        gone = await is_set_within(self._gone, seconds)
        if self._log_failure:
            raise LogError(self._log_failure)
        return gone

    def judge(self) -> None:
        """Raise InputError unless the recording was heard to its end."""
        if self._faults:
            raise InputError(self._faults[0].message, self._faults[0].remedy)
        if not self._finished:
            said = "; ".join(self._last_words[-3:])
            raise InputError(f"{self._job.path}: the ear ended by itself ({said}).")

    def _take(self, event: EarEvent) -> None:
        match event:
            case EarGone(how):
                self._last_words.append(how)
                self._gone.set()
            case EarSaid(line):
                self._last_words.append(line)
                if line.startswith(f"{self._job.path}: "):  # what the decoder says of it
                    self._around.warn(line)
            case wire.Fault():
                self._faults.append(event)
            case wire.Finished():
                self._finished = True
            case wire.Health():
                self._around.heard(samples_to_s(event.samples))
            case LogFailed():
                self._log_failure = event.message
            case _:
                pass


class JobLog:
    """The log as the intake sees it; what was finished by an earlier run is heard and let go.

    Its methods run on the reader's thread, and may wait: a recording loses nothing by it.
    """

    def __init__(self, job: FileJob, around: Surroundings, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._around = around
        self._loop = loop
        self._head: UtteranceStart | None = None
        self._known = Known()
        self._abandoned = False

    def abandon(self) -> None:
        """Take that the ear is ended before its time: what it is hearing now is not all of it."""
        self._abandoned = True

    def start(self, head: UtteranceStart) -> None:
        """Begin an utterance under the id its place gives it."""
        self._head, self._known = None, self._look_up(head.start)
        if self._known.finished:
            self._loop.call_soon_threadsafe(self._job.passed_over, self._known)
        elif self._around.window.enter():
            name = self._job.utterance_id(head.start)
            self._head = replace(head, id=name, stream=self._job.stream)
            self._job.log.start(self._head)

    def append(self, _utterance_id: str, span: AudioSpan) -> None:
        """Write contiguous audio at its address."""
        if self._head is not None:
            self._job.log.append(self._head.id, span)

    def end(self, _utterance_id: str, tail: UtteranceEnd) -> None:
        """Complete an utterance, and have it transcribed."""
        head, self._head = self._head, None
        if head is None:
            return
        tail = self._job.log.end(head.id, tail)
        if not (self._abandoned or tail.lost):  # lost: the log has failed, and the run ends
            self._loop.call_soon_threadsafe(self._around.take, head, tail, self._known)

    def _look_up(self, sample: int) -> Known:
        looking = asyncio.run_coroutine_threadsafe(self._job.known(sample), self._loop)
        try:
            return looking.result()
        except StoreError as error:
            raise LogError(error.message, error.remedy) from error
