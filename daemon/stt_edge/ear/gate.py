"""The gate: when speech starts and when it ends. No I/O, no clock and no audio in it.

It hears of one frame of 20 ms after the other and says what follows. Positions are samples of the
stream. Nothing it lets through is ever taken back: ``min_speech_ms`` of voiced time and the second
stage's word come *before* ``Start``, and ``SpeechEnd`` names the first sample that is not part of
the utterance.

    IDLE ── enough voiced frames stand out ──► ASKING ── confirmed ──► OPEN ── pause ──► IDLE
                                                  │                     │
                                                  └── rejected ──► IDLE └── too long ──► CUT
    CUT ── confirmed afresh ──► OPEN (continues)        CUT ── not confirmed ──► IDLE
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from stt_edge.ear.floor import MARGIN_DB, NoiseFloor
from stt_edge.ear.frame import FRAME_SAMPLES, Frame, Verdict
from stt_edge.ear.memory import Heard, OpenUtterance, RecentFrames
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE, EndReason, ms_to_samples

CONTEXT_SAMPLES: Final = ms_to_samples(128)
"""What the second stage hears before what it has to judge."""

_QUESTION_SAMPLES: Final = ms_to_samples(480)
"""No more than this of what has passed is put before the second stage."""
_PATIENCE_SAMPLES: Final = SAMPLE_RATE
"""How long the second stage may go without making up its mind."""
_FADED_SAMPLES: Final = ms_to_samples(200)
"""A question is dropped when nothing has stood out for so long."""
_LOOK_BACK_SAMPLES: Final = SAMPLE_RATE
"""How long before its confirmation speech may have begun."""
_RETRY_SAMPLES: Final = 2 * SAMPLE_RATE
_RETRY_MAX_SAMPLES: Final = 16 * SAMPLE_RATE
"""A voice that goes on unasked, because it does not stand out, is asked after this long anyway."""
_FORGET_SAMPLES: Final = 2 * SAMPLE_RATE
"""Rejections are forgotten when nothing has been voiced for so long."""


@frozen
class Start:
    """Speech, confirmed: an utterance that begins at ``sample``."""

    sample: int
    continues: bool = False
    """It begins where the one before was cut at its maximum length."""


@frozen
class Rejected:
    """What the first stage let through was not confirmed."""

    sample: int
    end: int
    level_db: float
    clear: bool
    """The second stage was sure; otherwise it could not make up its mind before it was over."""


Event = Onset | Start | SpeechEnd | Rejected


class _Phase(Enum):
    IDLE = "idle"
    ASKING = "asking"
    OPEN = "open"
    CUT = "cut"


class Gate:
    """Turns frames, and the second stage's verdicts on them, into starts and ends."""

    def __init__(self, settings: GateSettings, sample: int = 0) -> None:
        """Begin, closed, at the first sample of a stream."""
        self._settings = settings
        self._next_settings = settings
        self._phase = _Phase.IDLE
        self._floor = NoiseFloor()
        self._frame = Frame(sample, voiced=False, level_db=self._floor.db)
        self._recent = RecentFrames()
        self._utterance = OpenUtterance(sample, sample)
        self._free_from = sample
        self._asked_at = sample
        self._question_from = sample
        self._voiced_at = sample
        self._retry_at: int | None = None
        self._retry_samples = _RETRY_SAMPLES

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open or in question."""
        return self._phase is _Phase.IDLE

    @property
    def is_open(self) -> bool:
        """Whether an utterance is open."""
        return self._phase is _Phase.OPEN

    @property
    def question_from(self) -> int:
        """The first sample to put before the second stage, while the gate is not idle."""
        return self._question_from

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
        """Take note, while idle, of whole frames in which the first stage found no voice."""
        self._floor.follow(level_db, samples)
        for at in range(sample, sample + samples, FRAME_SAMPLES):
            self._recent.append(Heard(at, level_db))
        if self._retry_at is not None and sample + samples - self._voiced_at >= _FORGET_SAMPLES:
            self._forget_rejections()

    def hear(self, frame: Frame) -> Sequence[Event]:
        """Take in the next frame; unless the gate is idle afterwards, ``judge`` has to follow."""
        self._frame = frame
        due = self._retry_at is not None and frame.end >= self._retry_at
        stands_out = frame.voiced and (due or self._floor.stands_out(frame.level_db))
        audible = frame.voiced and (stands_out or self._floor.is_audible(frame.level_db))
        self._recent.append(Heard(frame.sample, frame.level_db, audible, stands_out))
        if frame.voiced:
            self._voiced_at = frame.end
        if not stands_out and not self.is_open:
            self._floor.follow(frame.level_db, FRAME_SAMPLES)
        if not (self.is_idle and stands_out):
            return ()
        first = self._recent.first_of_enough(self._needed_frames())
        if first is None:
            return ()
        self._phase = _Phase.ASKING
        self._asked_at = frame.end
        self._question_from = max(first, frame.end - _QUESTION_SAMPLES) - CONTEXT_SAMPLES
        return (Onset(max(first, self._free_from)),)

    def judge(self, verdict: Verdict | None) -> Sequence[Event]:
        """Take in the second stage's verdict on the frame last heard; None where there is none."""
        if self._phase is _Phase.ASKING:
            return self._judge_asking(self._frame, verdict)
        if self._phase is _Phase.OPEN:
            return self._judge_open(self._frame, verdict)
        if self._phase is _Phase.CUT:
            return self._judge_cut(self._frame, verdict)
        return ()

    def gap(self, sample: int, samples: int) -> Sequence[Event]:
        """Take note of ``samples`` samples missing from ``sample`` on.

        One no longer than the hangover is part of the utterance that is open.
        """
        if self.is_open and samples <= ms_to_samples(self._settings.hangover_ms):
            return ()
        events = self.finish(sample, EndReason.GAP)
        self._free_from = sample + samples
        return events

    def finish(self, sample: int, reason: EndReason) -> Sequence[Event]:
        """End what is open: nothing will be heard from ``sample`` on."""
        events: list[Event] = []
        if self._phase is _Phase.CUT and self._utterance.speech_samples:
            # The rest of a cut utterance is nobody's but the next one's; what is known to be
            # voiced is not dropped for want of a verdict.
            events.append(Start(self._free_from, continues=True))
            self._phase = _Phase.OPEN
        if self.is_open:
            events.append(self._end(sample, reason))
        self._close(sample)
        return events

    def _judge_asking(self, frame: Frame, verdict: Verdict | None) -> Sequence[Event]:
        if verdict is None or verdict.confirmed:
            onset = self._onset()
            start = max(onset - ms_to_samples(self._settings.pre_roll_ms), self._free_from)
            self._open(OpenUtterance(start, frame.end, self._recent.audible_samples(start)))
            return (Start(start),)
        waited = frame.end - self._asked_at >= _PATIENCE_SAMPLES
        faded = frame.end - self._recent.last_standing_out() >= _FADED_SAMPLES
        if verdict.hopeless or waited or faded:
            return (self._reject(frame, clear=verdict.hopeless),)
        return ()

    def _judge_open(self, frame: Frame, verdict: Verdict | None) -> Sequence[Event]:
        utterance = self._utterance
        utterance.add(frame)
        if frame.voiced and self._is_heard(frame, verdict):
            utterance.add_speech(frame)
        else:
            self._floor.follow(frame.level_db, FRAME_SAMPLES)
        if frame.end - utterance.speech_end >= ms_to_samples(self._settings.hangover_ms):
            if verdict is None:
                self._floor.reject(utterance.quiet_db())
            return (self._end_and_close(EndReason.SILENCE),)
        if not utterance.should_be_cut(frame.end, self._longest_samples()):
            return ()
        event = self._end_and_close(EndReason.MAX_LENGTH)
        self._phase = _Phase.CUT
        self._utterance = OpenUtterance(frame.end, frame.end)
        self._asked_at = frame.end
        self._question_from = frame.end - CONTEXT_SAMPLES
        return (event,)

    def _judge_cut(self, frame: Frame, verdict: Verdict | None) -> Sequence[Event]:
        utterance = self._utterance
        utterance.add(frame)
        if frame.voiced:
            utterance.add_speech(frame)
        voiced_enough = utterance.speech_samples >= self._needed_frames() * FRAME_SAMPLES
        if voiced_enough and (verdict is None or verdict.confirmed):
            self._open(utterance)
            return (Start(utterance.start, continues=True),)
        if frame.end - self._asked_at < ms_to_samples(self._settings.hangover_ms):
            return ()
        if not utterance.speech_samples:
            self._phase = _Phase.IDLE
            return ()
        # Only noise that goes on is worth a higher bar: the end of the last word is not.
        clear = verdict is not None and verdict.hopeless and frame.voiced
        return (self._reject(frame, clear=clear),)

    def _open(self, utterance: OpenUtterance) -> None:
        self._phase = _Phase.OPEN
        self._utterance = utterance
        self._forget_rejections()

    def _reject(self, frame: Frame, *, clear: bool) -> Event:
        onset = max(self._onset(), self._free_from)
        level_db = self._recent.standing_out_db(onset)
        if level_db is None:
            level_db = frame.level_db
        if clear:
            self._floor.reject(level_db)
        self._phase = _Phase.IDLE
        self._retry_at = frame.end + self._retry_samples
        self._retry_samples = min(2 * self._retry_samples, _RETRY_MAX_SAMPLES)
        return Rejected(onset, frame.end, level_db, clear)

    def _end_and_close(self, reason: EndReason) -> Event:
        event = self._end(self._frame.end, reason)
        self._close(self._frame.end)
        return event

    def _end(self, sample: int, reason: EndReason) -> Event:
        utterance = self._utterance
        return SpeechEnd(sample, reason, utterance.speech_end, utterance.speech_samples)

    def _close(self, free_from: int) -> None:
        self._phase = _Phase.IDLE
        self._free_from = free_from
        self._recent.clear()
        self._settings = self._next_settings

    def _forget_rejections(self) -> None:
        self._floor.forgive()
        self._retry_at = None
        self._retry_samples = _RETRY_SAMPLES

    def _is_heard(self, frame: Frame, verdict: Verdict | None) -> bool:
        if verdict is not None:
            return verdict.heard
        # Alone, the first stage would let a fan hold the gate open: what stays at the level of the
        # utterance's own quieter moments is no speech.
        return frame.level_db >= self._utterance.quiet_db() + MARGIN_DB

    def _onset(self) -> int:
        onset = self._recent.onset(self._look_back_frames())
        return self._frame.sample if onset is None else onset

    def _needed_frames(self) -> int:
        return max(1, -(-ms_to_samples(self._settings.min_speech_ms) // FRAME_SAMPLES))

    def _look_back_frames(self) -> int:
        return max(_LOOK_BACK_SAMPLES // FRAME_SAMPLES, 2 * self._needed_frames())

    def _longest_samples(self) -> int:
        return round(self._settings.max_utterance_s * SAMPLE_RATE)
