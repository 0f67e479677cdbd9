"""Audio in, starts and ends of speech out: both stages, the levels and the gate together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stt_edge.ear.frame import FRAME_BYTES, FRAME_SAMPLES, Frame, Verdict
from stt_edge.ear.gate import Event, Gate, Rejected
from stt_edge.ear.levels import Meter, level_db, power, power_db
from stt_edge.ear.vad import (
    FirstStage,
    SecondStage,
    SileroModel,
    SpeechModel,
    TooSlowError,
    release_memory,
    wants_second_stage,
)
from stt_edge.ear.wire import GateSettings, SpeechEnd
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, EndReason

_TAIL_BYTES: Final = SAMPLE_RATE * SAMPLE_BYTES
_UNUSED_SAMPLES: Final = 600 * SAMPLE_RATE
"""The second stage's model is let go when it has not been asked for ten minutes."""
_BLOCK_STRIDE: Final = 7
_FRAME_STRIDE: Final = 3


class Detector:
    """Finds speech in a stream. Feed it blocks in order; gaps are told, not left out.

    What it says names positions only. While ``open_to`` is a sample, the audio of the open
    utterance may be handed over up to there and no further; ``SpeechEnd.sample`` is never before
    a position that ``open_to`` has named.
    """

    def __init__(
        self,
        settings: GateSettings,
        sample: int = 0,
        make_model: Callable[[], SpeechModel] = SileroModel,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        """Begin at a stream's first sample.

        Where the sound does not wait, ``give_up`` is told why the second stage is not used any
        more: ``confirm: auto`` goes on without one that this processor is too slow for.
        """
        self._settings = settings
        self._give_up = give_up
        self._is_slow = False
        self._asks: bool | None = None
        self._make_model = make_model
        self._first_stage = FirstStage(settings.aggressiveness)
        self._second_stage: SecondStage | None = None
        self._judged_to: int | None = None
        self._asked_at = sample
        self._gate = Gate(settings, sample)
        self._meter = Meter()
        self._tail = bytearray()
        self._end = sample
        self._pending = b""
        self.samples = 0
        """Audio heard."""
        self.openings = 0
        """Times the first stage let something through."""
        self.rejections = 0
        """Times the second stage said it was no speech."""
        self.confirm_samples = 0
        """Audio the second stage has judged."""

    @property
    def open_to(self) -> int | None:
        """The end of what may be handed over of the open utterance; None while none is open."""
        return self._end - self._pending_samples() if self._gate.is_open else None

    @property
    def level_db(self) -> float:
        """The level of the last second."""
        return self._meter.level_db

    @property
    def noise_db(self) -> float:
        """The noise floor."""
        return self._gate.noise_db

    @property
    def silent_s(self) -> float:
        """For how long every sample has been exactly zero, in seconds."""
        return self._meter.silent_s

    @property
    def clipped_ms(self) -> int:
        """How much of the last minute lies in blocks that reach full scale, in milliseconds."""
        return self._meter.clipped_ms

    def update(self, settings: GateSettings) -> None:
        """Take up new settings at the next start."""
        self._settings = settings
        self._gate.update(settings)
        if not self._gate.is_open:
            self._asks = None

    def feed(self, sample: int, pcm: bytes) -> list[Event]:
        """Take in the next block, whose first sample is ``sample``; return what follows, in order.

        Raises ValueError when the block does not follow the one before it (or a gap), and
        UnavailableError when the settings ask for a second stage that cannot be used here.
        """
        if self._asks is None:
            self._take_up_settings()
        if sample != self._end:
            msg = f"block at sample {sample}, expected {self._end}"
            raise ValueError(msg)
        del self._tail[:-_TAIL_BYTES]
        self._tail += pcm
        self._end += len(pcm) // SAMPLE_BYTES
        self.samples += len(pcm) // SAMPLE_BYTES
        mean_square = power(pcm, _BLOCK_STRIDE)
        self._meter.add(pcm, mean_square)
        return self._judge_frames(self._pending + pcm, mean_square)

    def gap(self, sample: int, samples: int) -> list[Event]:
        """Take note of ``samples`` samples missing after the last block, from ``sample`` on."""
        if sample != self._end:
            msg = f"gap at sample {sample}, expected {self._end}"
            raise ValueError(msg)
        events = list(self._gate.gap(sample, samples))
        self._end = sample + samples
        self._tail.clear()
        self._pending = b""
        self._judged_to = None
        self._after(events)
        return events

    def finish(self, reason: EndReason) -> list[Event]:
        """End what is open; everything heard belongs to it."""
        events = list(self._gate.finish(self._end, reason))
        self._pending = b""
        self._after(events)
        return events

    def _judge_frames(self, pcm: bytes, mean_square: float) -> list[Event]:
        count = len(pcm) // FRAME_BYTES
        at = self._end - len(pcm) // SAMPLE_BYTES
        self._pending = pcm[count * FRAME_BYTES :]
        frames = [pcm[i : i + FRAME_BYTES] for i in range(0, count * FRAME_BYTES, FRAME_BYTES)]
        voiced = [self._first_stage.voiced(frame) for frame in frames]
        if self._gate.is_idle and True not in voiced:
            self._gate.pass_over(at, count * FRAME_SAMPLES, power_db(mean_square))
            if self._second_stage is not None and self._end - self._asked_at >= _UNUSED_SAMPLES:
                self._let_go()
            return []
        events: list[Event] = []
        for index, frame in enumerate(frames):
            events += self._judge_frame(
                Frame(at + index * FRAME_SAMPLES, voiced[index], level_db(frame, _FRAME_STRIDE))
            )
        return events

    def _judge_frame(self, frame: Frame) -> list[Event]:
        events = list(self._gate.hear(frame))
        self.openings += len(events)
        if not self._gate.is_idle:
            events += self._gate.judge(self._verdict(frame.end))
        self._after(events)
        return events

    def _after(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Rejected):
                self.rejections += 1
            elif isinstance(event, SpeechEnd):
                self._judged_to = None
                self._take_up_settings()

    def _verdict(self, end: int) -> Verdict | None:
        if not self._asks:
            return None
        if self._second_stage is None:
            self._second_stage = self._make_second_stage()
            self._judged_to = None
        tail_from = self._end - len(self._tail) // SAMPLE_BYTES
        wanted_from = max(self._gate.question_from, tail_from)
        if self._judged_to is None or self._judged_to < wanted_from:
            self._second_stage.restart()
            self._judged_to = wanted_from
        begin, until = self._judged_to - tail_from, end - tail_from
        try:
            self._second_stage.feed(self._tail[begin * SAMPLE_BYTES : until * SAMPLE_BYTES])
        except TooSlowError as error:
            self._go_on_alone(str(error))
            return None
        self.confirm_samples += end - self._judged_to
        self._judged_to = end
        self._asked_at = end
        return self._second_stage.verdict

    def _take_up_settings(self) -> None:
        self._first_stage.set_aggressiveness(self._settings.aggressiveness)
        confirm = self._settings.confirm
        self._asks = wants_second_stage(confirm) and not (self._is_slow and confirm == "auto")
        if not self._asks:
            self._let_go()

    def _make_second_stage(self) -> SecondStage:
        is_optional = self._give_up is not None and self._settings.confirm == "auto"
        return SecondStage(self._make_model(), must_keep_up=is_optional)

    def _go_on_alone(self, why: str) -> None:
        assert self._give_up is not None
        self._is_slow, self._asks = True, False
        self._let_go()
        self._give_up(why)

    def _let_go(self) -> None:
        if self._second_stage is not None:
            self._second_stage = None
            release_memory()

    def _pending_samples(self) -> int:
        return len(self._pending) // SAMPLE_BYTES
