"""The gate: when speech starts and when it ends. No I/O, no clock, no audio in it.

It is told of one frame of 20 ms after the other and says what follows. Positions are samples of
the stream. Nothing it has opened is ever taken back: ``min_speech_ms`` of voiced time and the
second stage's word come *before* ``Start``, and ``SpeechEnd`` names the first sample that is not
part of the utterance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Final

from stt_edge.ear.floor import LevelHistogram, NoiseFloor
from stt_edge.ear.vad import FRAME_SAMPLES
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.model import SAMPLE_RATE, EndReason, ms_to_samples

_LOOK_BACK_FRAMES: Final = 50
"""A second: how far before the moment of confirmation speech may have begun."""
_BREATH_FRAMES: Final = 15
"""A pause of up to 300 ms does not part a breath, or a weak first syllable, from what follows."""
_ASK_SAMPLES: Final = ms_to_samples(320)
"""How long the second stage may take to make up its mind."""
_LOST_SAMPLES: Final = ms_to_samples(200)
"""A question is dropped when nothing has stood out for so long."""
_CONTEXT_SAMPLES: Final = ms_to_samples(128)
"""What the second stage hears before what it judges."""
_DENSITY=2.0
_AND=True
_STAT=median
_RETRY_SAMPLES: Final = 4 * SAMPLE_RATE
_RETRY_MAX_SAMPLES: Final = 16 * SAMPLE_RATE
_FORGET_SAMPLES: Final = 2 * SAMPLE_RATE
_CUT_LEAD_SAMPLES: Final = 5 * SAMPLE_RATE
_CUT_FRAMES: Final = 3
_CUT_PERCENTILE: Final = 20


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms, and what was found in it."""

    sample: int
    voiced: bool
    """The first stage's verdict."""
    level_db: float

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.sample + FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the second stage makes of everything up to the end of a frame."""

    confirmed: bool
    """It would pay for a session."""
    heard: bool
    """It hears speech at this moment."""
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Speech, confirmed: an utterance that begins at ``sample``."""

    sample: int
    continues: bool = False
    """It begins where the one before was cut at its maximum length."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The second stage did not confirm what the first let through."""

    sample: int
    end: int
    level_db: float


Event = Onset | Start | SpeechEnd | Rejected


class _Phase(Enum):
    IDLE = "idle"
    ASKING = "asking"
    OPEN = "open"
    CUT = "cut"
    """Cut at its maximum length; the second stage is asked afresh whether it continues."""


@dataclass(frozen=True, slots=True)
class _Heard:
    sample: int
    audible: bool
    stands_out: bool
    level_db: float


class Gate:
    """Turns frames into starts and ends."""

    def __init__(self, settings: GateSettings, sample: int = 0) -> None:
        """Begin, closed, at the first sample of a stream."""
        self._settings = settings
        self._next_settings = settings
        self._phase = _Phase.IDLE
        self._floor = NoiseFloor()
        self._frames: deque[_Heard] = deque(maxlen=_LOOK_BACK_FRAMES)
        self._free_from = sample
        self._since = sample
        self._voiced_at = sample
        self._asking_from = sample
        self._retry_samples = _RETRY_SAMPLES
        self._retry_at: int | None = None
        self._speech_end = sample
        self._speech_samples = 0
        self._levels = LevelHistogram()
        self._last_levels: deque[float] = deque(maxlen=_CUT_FRAMES)

    @property
    def idle(self) -> bool:
        """Whether nothing is open or in question."""
        return self._phase is _Phase.IDLE

    @property
    def is_open(self) -> bool:
        """Whether an utterance is open."""
        return self._phase is _Phase.OPEN

    @property
    def asking_from(self) -> int | None:
        """Where the second stage should have begun to listen; None while it is not needed."""
        return None if self.idle else self._asking_from

    @property
    def noise_db(self) -> float:
        """The noise floor."""
        return self._floor.db

    def update(self, settings: GateSettings) -> None:
        """Take up new settings at the next start."""
        self._next_settings = settings
        if not self.is_open:
            self._settings = settings

    def pass_over(self, sample: int, samples: int, level_db: float) -> None:
        """Take note of audio, while idle, in which the first stage found no voice."""
        self._floor.follow(level_db, samples)
        for at in range(sample, sample + samples, FRAME_SAMPLES):
            self._frames.append(_Heard(at, audible=False, stands_out=False, level_db=level_db))
        if self._retry_at is not None and sample + samples - self._voiced_at >= _FORGET_SAMPLES:
            self._forget_rejections()

    def hear(self, frame: Frame) -> Sequence[Event]:
        """Take in the next frame; ``judge`` has to follow unless the gate is idle after it."""
        stands_out = frame.voiced and (
            self._floor.stands_out(frame.level_db) or self._is_due(frame.end)
        )
        audible = frame.voiced and (self._floor.audible(frame.level_db) or stands_out)
        self._frames.append(_Heard(frame.sample, audible, stands_out, frame.level_db))
        if frame.voiced:
            self._voiced_at = frame.end
        if not stands_out and not self.is_open:
            self._floor.follow(frame.level_db, FRAME_SAMPLES)
        self._frame = frame
        if self.idle and stands_out and self._is_worth_asking():
            window=min(round(_DENSITY*self._needed()), len(self._frames))
            self._phase = _Phase.ASKING
            self._since = frame.end
            first = next(self._frames[-i].sample for i in range(window,0,-1) if self._frames[-i].stands_out)
            self._asking_from = first - _CONTEXT_SAMPLES
            return (Onset(max(first, self._free_from)),)
        return ()

    def judge(self, verdict: Verdict) -> Sequence[Event]:
        """Take in the second stage's verdict on the frame last heard."""
        if self._phase is _Phase.ASKING: return self._judge_asking(self._frame, verdict)
        if self._phase is _Phase.CUT: return self._judge_cut(self._frame, verdict)
        return self._judge_open(self._frame, verdict)

    def _needed(self): return -(-ms_to_samples(self._settings.min_speech_ms) // FRAME_SAMPLES)
    def _is_worth_asking(self):
        window=min(round(_DENSITY*self._needed()), len(self._frames))
        return sum(self._frames[-1 - i].stands_out for i in range(window)) >= self._needed()

    def gap(self, sample: int, samples: int) -> Sequence[Event]:
        """Take note of ``samples`` samples missing from ``sample`` on."""
        events: Sequence[Event] = ()
        if self._phase is _Phase.OPEN:
            if samples <= ms_to_samples(self._settings.hangover_ms):
                return ()
            events = (self._end(sample, EndReason.GAP),)
        elif self._phase is _Phase.CUT:
            events = self._finish_cut(sample, EndReason.GAP)
        self._close(sample + samples)
        return events

    def finish(self, sample: int, reason: EndReason) -> Sequence[Event]:
        """End what is open: no sample from ``sample`` on will come."""
        events: Sequence[Event] = ()
        if self._phase is _Phase.OPEN:
            events = (self._end(sample, reason),)
        elif self._phase is _Phase.CUT:
            events = self._finish_cut(sample, reason)
        self._close(sample)
        return events

    def _judge_asking(self, frame: Frame, verdict: Verdict) -> Sequence[Event]:
        if verdict.confirmed:
            onset = self._onset()
            pre_roll = ms_to_samples(self._settings.pre_roll_ms)
            start = max(onset - pre_roll, self._free_from)
            return self._open(frame, start, continues=False)
        stood_out = max((h.sample for h in self._frames if h.stands_out), default=0)
        if frame.end - self._since < _ASK_SAMPLES and frame.end - stood_out < _LOST_SAMPLES and not verdict.hopeless:
            return ()
        return (self._reject(frame),)

    def _judge_open(self, frame: Frame, verdict: Verdict) -> Sequence[Event]:
        self._last_levels.append(frame.level_db)
        self._levels.add(frame.level_db)
        if (frame.voiced or not _AND) and verdict.heard:
            self._speech_end = frame.end
            self._speech_samples += FRAME_SAMPLES
        else:
            self._floor.follow(frame.level_db, FRAME_SAMPLES)
        if frame.end - self._speech_end >= ms_to_samples(self._settings.hangover_ms):
            events = (self._end(frame.end, EndReason.SILENCE),)
            self._close(frame.end)
            return events
        if not self._is_too_long(frame.end):
            return ()
        events = (self._end(frame.end, EndReason.MAX_LENGTH),)
        self._close(frame.end)
        self._phase = _Phase.CUT
        self._since = frame.end
        self._speech_samples = 0
        self._asking_from = frame.end - _CONTEXT_SAMPLES
        return events

    def _judge_cut(self, frame: Frame, verdict: Verdict) -> Sequence[Event]:
        if frame.voiced:
            self._speech_samples += FRAME_SAMPLES
        if verdict.confirmed and self._speech_samples >= ms_to_samples(self._settings.min_speech_ms):
            return self._open(frame, self._free_from, continues=True)
        if frame.end - self._since < ms_to_samples(self._settings.hangover_ms):
            return ()
        return (self._reject(frame),)

    def _open(self, frame: Frame, start: int, *, continues: bool) -> Sequence[Event]:
        self._phase = _Phase.OPEN
        self._since = start
        self._speech_end = frame.end
        self._speech_samples = FRAME_SAMPLES * sum(
            heard.audible for heard in self._frames if heard.sample >= start
        )
        self._levels = LevelHistogram()
        self._last_levels.clear()
        self._forget_rejections()
        return (Start(start, continues),)

    def _reject(self, frame: Frame) -> Event:
        onset = self._onset()
        levels = [h.level_db for h in self._frames if h.stands_out and h.sample >= self._asking_from]
        level_db = _STAT(levels) if levels else frame.level_db
        self._floor.reject(level_db); self._floor.n += 1
        self._phase = _Phase.IDLE
        self._retry_at = frame.end + self._retry_samples
        self._retry_samples = min(2 * self._retry_samples, _RETRY_MAX_SAMPLES)
        return Rejected(max(onset, self._free_from), frame.end, level_db)

    def _end(self, sample: int, reason: EndReason) -> Event:
        return SpeechEnd(sample, reason, self._speech_end, self._speech_samples)

    def _close(self, free_from: int) -> None:
        self._phase = _Phase.IDLE
        self._free_from = free_from
        self._frames.clear()
        self._settings = self._next_settings

    def _finish_cut(self, sample: int, reason: EndReason) -> Sequence[Event]:
        if not self._speech_samples:
            return ()
        start = Start(self._free_from, continues=True)
        return (start, SpeechEnd(sample, reason, sample, self._speech_samples))

    def _onset(self) -> int:
        onset = self._frames[-1].sample
        pause = 0
        for heard in reversed(self._frames):
            pause = 0 if heard.audible else pause + 1
            if heard.audible:
                onset = heard.sample
            elif pause > _BREATH_FRAMES:
                break
        return onset

    def _is_too_long(self, end: int) -> bool:
        length = end - self._since
        longest = round(self._settings.max_utterance_s * SAMPLE_RATE)
        if length >= longest:
            return True
        if length < longest - _CUT_LEAD_SAMPLES or len(self._last_levels) < _CUT_FRAMES:
            return False
        return max(self._last_levels) < self._levels.percentile_db(_CUT_PERCENTILE)

    def _is_due(self, end: int) -> bool:
        return self._retry_at is not None and end >= self._retry_at

    def _forget_rejections(self) -> None:
        self._retry_at = None; self._floor.n=0
        self._retry_samples = _RETRY_SAMPLES
