"""Audio in, starts and ends of speech out: both stages, the levels and the gate together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from stt_edge.ear.gate import Event, Frame, Gate, Rejected, Verdict
from stt_edge.ear.levels import Meter, level_db, power, power_db
from stt_edge.ear.vad import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    FirstStage,
    SecondStage,
    SileroModel,
    SpeechModel,
)
from stt_edge.ear.wire import GateSettings, Onset
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, EndReason

_TAIL_BYTES: Final = SAMPLE_RATE * SAMPLE_BYTES
_BLOCK_STRIDE: Final = 7
_FRAME_STRIDE: Final = 3


class Detector:
    def __init__(self, settings: GateSettings, sample: int = 0, model: Callable[[], SpeechModel] | None = None) -> None:
        self._gate = Gate(settings, sample)
        self._first = FirstStage(settings.aggressiveness)
        self._make = model or SileroModel
        self._second = None
        self._use = settings.confirm != "none"
        self._fed_to = None; self._was=False
        self._end = sample
        self._tail = bytearray()
        self._rest = b""
        self._meter = Meter()
        self.openings = self.rejections = self.confirm_samples = self.samples = 0

    def feed(self, sample: int, pcm: bytes) -> list[Event]:
        self._tail += pcm
        self._end += len(pcm) // 2
        del self._tail[:-_TAIL_BYTES]
        self.samples += len(pcm) // 2
        p = power(pcm, _BLOCK_STRIDE)
        self._meter.add(pcm, p)
        data = self._rest + pcm
        n = len(data) // FRAME_BYTES
        self._rest = data[n * FRAME_BYTES:]
        frames = [data[i * FRAME_BYTES:(i + 1) * FRAME_BYTES] for i in range(n)]
        voiced = [self._first.voiced(f) for f in frames]
        at = self._end - len(data) // 2
        if self._gate.idle and True not in voiced:
            self._gate.pass_over(at, n * FRAME_SAMPLES, power_db(p))
            return []
        events = []
        for k in range(n):
            s = at + k * FRAME_SAMPLES
            events += self._step(s, frames[k], voiced[k])
        return events

    def _step(self, s, pcm, v):
        lev = level_db(pcm, _FRAME_STRIDE)
        ev = list(self._gate.hear(Frame(s, v, lev)))
        self.openings += len(ev)
        if not self._gate.is_open and self._was: self._fed_to=None
        self._was=self._gate.is_open
        if not self._gate.idle:
            ev += self._gate.judge(self._verdict(s))
            self.rejections += sum(isinstance(e, Rejected) for e in ev)
        return ev

    def _verdict(self, s):
        if not self._use:
            return Verdict(True, True)
        frm = self._gate.asking_from
        if self._second is None:
            self._second = SecondStage(self._make())
        end = s + FRAME_SAMPLES
        base = self._end - len(self._tail) // 2
        if self._fed_to is None or self._fed_to < max(frm, base):
            self._second.restart()
            self._fed_to = max(frm, base)
        chunk = self._tail[(self._fed_to - base) * 2:(end - base) * 2]
        self.confirm_samples += len(chunk) // 2
        self._second.feed(chunk)
        self._fed_to = end
        return Verdict(self._second.confirmed, self._second.heard, self._second.hopeless)

    def finish(self, reason):
        return list(self._gate.finish(self._end, reason))

    @property
    def level_db(self):
        return self._meter.level_db
    @property
    def noise_db(self):
        return self._gate.noise_db
    @property
    def silent_s(self):
        return self._meter.silent_s
    def gap(self, sample, samples):
        ev = list(self._gate.gap(sample, samples)); self._end = sample + samples; self._tail.clear(); self._rest = b""; self._fed_to = None
        return ev
    def update(self, settings):
        self._gate.update(settings)
