"""The ear at work: block by block from the source to the gate, and from the ring to main."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from stt_edge.ear.chatter import Chatter
from stt_edge.ear.commands import Commands
from stt_edge.ear.gate import Event, Start
from stt_edge.ear.outbox import Outbox
from stt_edge.ear.ring import Ring
from stt_edge.ear.timeline import Missing, Timeline
from stt_edge.ear.wire import (
    Fault,
    Finished,
    Gap,
    GateSettings,
    Health,
    LevelRate,
    Onset,
    Opened,
    SpeechEnd,
    SpeechStart,
    Stop,
)
from stt_edge.errors import DeviceError, ExitCode, FaultKind, SttEdgeError
from stt_edge.ids import uuid7
from stt_edge.model import EndReason

if TYPE_CHECKING:
    from stt_edge.ear.sources import Source

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_LOOK_UP_S: Final = 0.2
"""How often commands are looked at while a recording waits for main to read."""
_HERTZ_MIN: Final = 0.1
_HERTZ_MAX: Final = 50.0


class SpeechDetector(Protocol):
    """What is asked of ``detector.Detector``; blocks hold a multiple of 20 ms."""

    openings: int
    rejections: int
    confirm_samples: int
    samples: int

    @property
    def level_db(self) -> float:
        """Loudness of the last second."""

    @property
    def noise_db(self) -> float:
        """The noise floor."""

    @property
    def silent_s(self) -> float:
        """For how long every sample has been exactly zero."""

    @property
    def clipped_ms(self) -> int:
        """How much of the last minute lies in blocks that reach full scale."""

    def feed(self, sample: int, pcm: bytes) -> Sequence[Event]:
        """Take the block that follows."""

    def gap(self, sample: int, samples: int) -> Sequence[Event]:
        """Take note of missing samples."""

    def finish(self, reason: EndReason) -> Sequence[Event]:
        """End an utterance in hand."""

    def update(self, settings: GateSettings) -> None:
        """Take up new settings."""


class Ear:
    """Listens to one source until that ends, fails, or main says so."""

    def __init__(
        self,
        source: Source,
        detector: SpeechDetector,
        pipe: int,
        commands: Commands,
        *,
        before_opening: Callable[[], None] = lambda: None,
        chatter: Chatter | None = None,
        ring: Ring | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Write messages to ``pipe``.

        ``before_opening`` is called between the source's ``prepare`` and ``open``.
        """
        self._source = source
        self._detector = detector
        self._commands = commands
        self._before_opening = before_opening
        self._chatter = chatter or Chatter()
        self._monotonic_ns = monotonic_ns
        self._ring = ring or Ring()
        self._outbox = Outbox(pipe, self._ring)
        self._timeline: Timeline | None = None
        self._handed_until: int | None = None
        """What main has been given, or will be, of the open utterance; None while none is."""
        self._blocks = 0
        self._gaps = 0
        self._lost_samples = 0
        self._report_interval_ns = _NS_PER_S
        self._report_due_ns = 0

    def run(self) -> int:
        """Listen; return the exit code. Raises BrokenPipeError when main is gone."""
        try:
            self._listen()
            last: Finished | Fault = Finished(self._ring.end)
        except SttEdgeError as error:
            self._end_utterance(EndReason.DEVICE)
            last = _fault(error)
        self._outbox.flush()
        self._source.close()
        self._outbox.put(last)
        self._outbox.flush()
        return ExitCode.OK if isinstance(last, Finished) else ExitCode.UNAVAILABLE

    def _listen(self) -> None:
        self._source.prepare()
        self._before_opening()
        tried_ns = self._monotonic_ns()
        self._timeline = self._source.open()
        while True:
            stop = self._obey()
            if stop is not None:
                return self._end_utterance(stop.mode.reason)
            if self._source.can_wait and not self._outbox.has_room:
                self._outbox.flush(_LOOK_UP_S)
                continue
            began_ns = self._monotonic_ns()
            pcm = self._source.read()
            ended_ns = self._monotonic_ns()
            if not pcm:
                return self._end_utterance(EndReason.END_OF_FILE)
            pieces = self._timeline.take(pcm, began_ns, ended_ns)
            if not self._blocks:
                self._put_opened(self._timeline.start_ns, ended_ns - tried_ns)
            self._blocks += 1
            for piece in pieces:
                self._hear(piece, self._timeline)
            self._outbox.pump()
            self._report(ended_ns)

    def _obey(self) -> Stop | None:
        for command in self._commands.received():
            match command:
                case Stop():
                    return command
                case GateSettings():
                    self._detector.update(command)
                case LevelRate(hertz):
                    hertz = min(max(hertz, _HERTZ_MIN), _HERTZ_MAX)
                    self._report_interval_ns = round(_NS_PER_S / hertz)
                    self._report_due_ns = 0
        return None

    def _hear(self, piece: bytes | Missing, timeline: Timeline) -> None:
        sample = self._ring.end
        if isinstance(piece, Missing):
            self._pass_on(self._detector.gap(sample, piece.samples), timeline)
            self._ring.skip(piece.samples)
            self._gaps += 1
            self._lost_samples += piece.samples
            self._outbox.put(Gap(sample, piece.samples))
            if self._handed_until is not None:
                self._handed_until = self._ring.end
            return
        self._ring.append(piece)
        self._pass_on(self._detector.feed(sample, piece), timeline)
        self._hand_over(self._ring.end)

    def _pass_on(self, events: Sequence[Event], timeline: Timeline) -> None:
        for event in events:
            match event:
                case Start(sample, continues):
                    # The detector may not look back beyond what the ring still holds.
                    start = max(sample, self._ring.unbroken_from)
                    decided_ns = self._monotonic_ns()
                    self._outbox.put(
                        SpeechStart(start, timeline.mono_ns(start), decided_ns, continues)
                    )
                    self._handed_until = start
                case SpeechEnd():
                    self._hand_over(event.sample)
                    self._outbox.put(event)
                    self._handed_until = None
                case Onset() if not self._outbox.is_behind:  # a hint that comes late is none
                    self._outbox.put(event)
                case _:
                    pass

    def _hand_over(self, until: int) -> None:
        if self._handed_until is None:
            return
        assert until >= self._handed_until, "nothing handed over is taken back"
        self._outbox.put_audio(self._handed_until, until)
        self._handed_until = until

    def _end_utterance(self, reason: EndReason) -> None:
        timeline = self._timeline
        if timeline is None:
            return
        for piece in timeline.rest():
            self._hear(piece, timeline)
        self._pass_on(self._detector.finish(reason), timeline)

    def _put_opened(self, start_ns: int, took_ns: int) -> None:
        source = self._source
        self._outbox.put(
            Opened(
                stream=uuid7(),
                description=source.description,
                rate=source.rate,
                channels=source.channels,
                mono_ns=start_ns,
                first_block_ms=took_ns // _NS_PER_MS,
            )
        )

    def _report(self, now_ns: int) -> None:
        if now_ns < self._report_due_ns:
            return
        self._report_due_ns = now_ns + self._report_interval_ns
        self._chatter.pass_on(now_ns)
        if self._outbox.is_behind:
            return  # main has fallen behind; it will hear of the next
        detector = self._detector
        self._outbox.put(
            Health(
                blocks=self._blocks,
                overflows=self._source.overflows,
                gaps=self._gaps,
                lost_samples=self._lost_samples + self._outbox.overwritten_samples,
                level_db=round(detector.level_db, 1),
                noise_db=round(detector.noise_db, 1),
                silent_s=round(detector.silent_s, 1),
                openings=detector.openings,
                rejections=detector.rejections,
                confirm_samples=detector.confirm_samples,
                samples=detector.samples,
                clipped_ms=detector.clipped_ms,
            )
        )
        self._outbox.pump()


def _fault(error: SttEdgeError) -> Fault:
    kind = error.kind if isinstance(error, DeviceError) else FaultKind.INTERNAL
    return Fault(kind, error.message, error.remedy)
