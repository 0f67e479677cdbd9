"""A gate anybody can predict: loud is speech. For tests of what surrounds the real one."""

from __future__ import annotations

from collections.abc import Sequence

from stt_edge.ear.gate import Event, Start
from stt_edge.ear.levels import Meter, power
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.model import EndReason, ms_to_samples

FRAME = 320
LOUD = 1000.0**2


class LoudnessDetector:
    """Opens at the first frame of 20 ms louder than LOUD, less pre-roll, closes after hangover."""

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings
        self.openings = self.rejections = self.confirm_samples = self.samples = 0
        self._meter = Meter()
        self._open = False
        self._free_from = 0
        self._end = 0
        self._loud_until = 0
        self._loud_samples = 0

    @property
    def level_db(self) -> float:
        return self._meter.level_db

    @property
    def noise_db(self) -> float:
        return -60.0

    @property
    def silent_s(self) -> float:
        return self._meter.silent_s

    @property
    def clipped_ms(self) -> int:
        return self._meter.clipped_ms

    def update(self, settings: GateSettings) -> None:
        self.settings = settings

    def feed(self, sample: int, pcm: bytes) -> Sequence[Event]:
        assert sample == self._end
        self._meter.add(pcm, power(pcm, 7))
        self.samples += len(pcm) // 2
        events: list[Event] = []
        for at in range(0, len(pcm), 2 * FRAME):
            frame = pcm[at : at + 2 * FRAME]
            events += self._frame(sample + at // 2, power(frame) >= LOUD, len(frame) // 2)
        self._end += len(pcm) // 2
        return events

    def gap(self, sample: int, samples: int) -> Sequence[Event]:
        assert sample == self._end
        long = samples > ms_to_samples(self.settings.hangover_ms)
        events = self.finish(EndReason.GAP) if long else ()
        self._end += samples
        return events

    def finish(self, reason: EndReason) -> Sequence[Event]:
        return (self._close(self._end, reason),) if self._open else ()

    def _frame(self, sample: int, loud: bool, samples: int) -> list[Event]:
        end = sample + samples
        if loud:
            self._loud_until = end
            self._loud_samples += samples
        if loud and not self._open:
            self._open = True
            self.openings += 1
            start = max(sample - ms_to_samples(self.settings.pre_roll_ms), self._free_from)
            return [Onset(sample), Start(start)]
        if self._open and end - self._loud_until >= ms_to_samples(self.settings.hangover_ms):
            return [self._close(end, EndReason.SILENCE)]
        return []

    def _close(self, sample: int, reason: EndReason) -> SpeechEnd:
        self._open = False
        self._free_from = sample
        voiced, self._loud_samples = self._loud_samples, 0
        return SpeechEnd(sample, reason, self._loud_until, voiced)
