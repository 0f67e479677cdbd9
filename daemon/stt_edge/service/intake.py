"""Turns what an ear says into utterances of the log, and into small events for the loop.

Runs on the thread that reads the ear's pipe. Nothing in here waits for the loop; a log that cannot
be written is counted, and the ear is read on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from stt_edge.clock import Clock, wall_time_of
from stt_edge.ear import wire
from stt_edge.errors import LogError
from stt_edge.frozen import frozen
from stt_edge.ids import uuid7
from stt_edge.model import (
    NS_PER_SAMPLE,
    AudioSpan,
    EndReason,
    UtteranceEnd,
    UtteranceStart,
)

_MAX_GAPS: Final = 64
"""More gaps than this between two utterances are not kept one by one."""


@frozen
class UtteranceOpened:
    """An utterance is in the log and grows."""

    head: UtteranceStart
    decided_mono_ns: int
    """CLOCK_MONOTONIC when the gate decided."""


@frozen
class UtteranceGrew:
    """More of an utterance is in the log; told again only when this has been seen."""

    id: str


@frozen
class UtteranceEnded:
    """An utterance is complete in the log."""

    id: str
    tail: UtteranceEnd


@frozen
class LogFailed:
    """The log cannot be written; told once until it can be again."""

    message: str


@frozen
class LogRecovered:
    """The log can be written again."""

    lost_samples: int
    """What was heard in between and is lost."""


IntakeEvent = (
    wire.Opened
    | wire.Onset
    | wire.Health
    | wire.Fault
    | wire.Finished
    | UtteranceOpened
    | UtteranceGrew
    | UtteranceEnded
    | LogFailed
    | LogRecovered
)


class WritableLog(Protocol):
    """What is asked of the utterance log.

    A call that raises LogError is done all the same, as far as it can be: an utterance that could
    not be started is open, one that could not be ended has ended, and lost audio is a gap.
    """

    def start(self, head: UtteranceStart) -> None:
        """Begin an utterance."""

    def append(self, utterance_id: str, span: AudioSpan) -> None:
        """Write contiguous audio at its address."""

    def end(self, utterance_id: str, tail: UtteranceEnd) -> object:
        """Complete an utterance."""


class Losses:
    """Samples that nobody heard, kept until the next utterance takes them along.

    Outlives ears: what passes between the last sound of one and the first of the next is missing.
    """

    def __init__(self) -> None:
        """Start with nothing lost, and nothing heard that a first ear could continue."""
        self._lock = threading.Lock()
        self._samples = 0
        self._heard_until_ns: int | None = None

    def heard(self, mono_ns: int) -> None:
        """Take that everything up to a moment of CLOCK_MONOTONIC has been heard."""
        with self._lock:
            self._heard_until_ns = max(mono_ns, self._heard_until_ns or 0)

    def opened(self, mono_ns: int) -> None:
        """Take that a new stream begins at a moment; since the last sound nothing was heard."""
        with self._lock:
            if self._heard_until_ns is not None:
                self._samples += max(0, mono_ns - self._heard_until_ns) // NS_PER_SAMPLE
            self._heard_until_ns = mono_ns

    def excuse(self) -> None:
        """Take that nobody wants to be heard from now on; what is said is no loss."""
        with self._lock:
            self._heard_until_ns = None

    def add(self, samples: int) -> None:
        """Count samples as lost."""
        with self._lock:
            self._samples += samples

    def take(self) -> int:
        """Return the samples lost since the last call."""
        with self._lock:
            samples, self._samples = self._samples, 0
            return samples


@dataclass(slots=True)
class _Open:
    """The utterance in hand."""

    head: UtteranceStart
    end: int
    written: int = 0


class Intake:
    """Takes the messages of one ear, in order."""

    def __init__(
        self, log: WritableLog, clock: Clock, losses: Losses, emit: Callable[[IntakeEvent], None]
    ) -> None:
        """Expect an ear's first message; ``emit`` is called on the caller's thread."""
        self._log = log
        self._clock = clock
        self._losses = losses
        self._emit = emit
        self._stream: str | None = None
        self._over = False
        self._open: _Open | None = None
        self._accounted = 0
        self._gaps: list[tuple[int, int]] = []
        self._failing = False
        self._unwritten = 0

    def take(self, message: wire.Message) -> None:
        """Take one message. Raises WireError when it has no place here."""
        opening = isinstance(message, wire.Opened)
        closing = isinstance(message, wire.Fault | wire.Finished)
        if self._over or not (closing or opening == (self._stream is None)):
            raise wire.WireError(f"{type(message).__name__} out of place")
        match message:
            case wire.Audio():
                self._audio(message)
            case wire.SpeechStart():
                self._speech_start(message)
            case wire.SpeechEnd():
                self._speech_end(message)
            case wire.Gap():
                self._gap(message)
            case wire.Opened():
                self._stream = message.stream
                self._losses.opened(message.mono_ns)
                self._emit(message)
            case wire.Fault() | wire.Finished():
                self._over = True
                self._cut()
                self._emit(message)
            case _:
                self._heard_now()
                self._emit(message)

    def lost(self) -> None:
        """Take that the ear is gone; an utterance in hand ends at the last sample received."""
        self._over = True
        self._cut()

    def _speech_start(self, message: wire.SpeechStart) -> None:
        if self._open is not None or self._stream is None:
            raise wire.WireError("an utterance within an utterance")
        self._account_until(message.sample)
        head = UtteranceStart(
            id=uuid7(),
            stream=self._stream,
            start=message.sample,
            started_at=wall_time_of(message.mono_ns, self._clock),
            started_mono_ns=message.mono_ns,
            continues=message.continues,
            clock_unsynced=not self._clock.synchronized(),
            lost_before=self._losses.take(),
        )
        self._open = _Open(head, message.sample)
        self._write(self._log.start, head)
        self._emit(UtteranceOpened(head, message.decided_mono_ns))

    def _audio(self, message: wire.Audio) -> None:
        utterance = self._open
        if utterance is None or message.sample < utterance.end:
            raise wire.WireError(f"audio at {message.sample} out of place")
        span = AudioSpan(message.sample, message.pcm)
        heard = span.end - utterance.head.start
        self._losses.heard(utterance.head.started_mono_ns + heard * NS_PER_SAMPLE)
        utterance.end = span.end
        count = span.end - span.sample
        if self._write(self._log.append, utterance.head.id, span):
            utterance.written += count
            self._emit(UtteranceGrew(utterance.head.id))
        else:
            self._unwritten += count

    def _speech_end(self, message: wire.SpeechEnd) -> None:
        if self._open is None:
            raise wire.WireError("the end of no utterance")
        end = max(message.sample, self._open.end)
        self._finish(self._open, end, message.reason, message.speech_end, message.speech_samples)
        self._heard_now()

    def _gap(self, message: wire.Gap) -> None:
        self._heard_now()
        self._gaps.append((message.sample, message.sample + message.samples))
        if len(self._gaps) > _MAX_GAPS:
            self._account_until(self._gaps[0][1])

    def _cut(self) -> None:
        utterance = self._open
        if utterance is None:
            self._losses.add(sum(end - max(start, self._accounted) for start, end in self._gaps))
        else:  # all that is missing after it is counted from its last sample to the next stream
            end = utterance.end
            self._finish(utterance, end, EndReason.DEVICE, end, utterance.written)
        self._gaps.clear()

    def _finish(
        self, utterance: _Open, end: int, reason: EndReason, speech_end: int, speech_samples: int
    ) -> None:
        self._open = None
        self._accounted = end
        self._gaps = [gap for gap in self._gaps if gap[1] > end]
        lost = max(0, end - utterance.head.start - utterance.written)
        tail = UtteranceEnd(end, reason, speech_end, speech_samples, lost)
        self._write(self._log.end, utterance.head.id, tail)
        self._emit(UtteranceEnded(utterance.head.id, tail))

    def _write(self, call: Callable[..., object], *arguments: object) -> bool:
        """Write to the log; return whether that succeeded, and tell of a change."""
        try:
            call(*arguments)
        except LogError as error:
            if not self._failing:
                self._emit(LogFailed(str(error)))
            self._failing = True
            return False
        if self._failing:
            self._emit(LogRecovered(self._unwritten))
            self._failing, self._unwritten = False, 0
        return True

    def _account_until(self, sample: int) -> None:
        """Count the gaps between the last utterance and ``sample`` as lost."""
        for start, end in self._gaps:
            self._losses.add(max(0, min(end, sample) - max(start, self._accounted)))
        self._accounted = max(self._accounted, sample)
        self._gaps = [gap for gap in self._gaps if gap[1] > sample]

    def _heard_now(self) -> None:
        if self._open is None:
            self._losses.heard(self._clock.monotonic_ns())
