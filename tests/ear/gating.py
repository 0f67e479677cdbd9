"""Drives a gate by hand, frame by frame, with verdicts given beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from stt_edge.ear.frame import FRAME_SAMPLES, Frame, Verdict
from stt_edge.ear.gate import Event, Gate, Rejected, Start
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.model import EndReason

YES = Verdict(confirmed=True, heard=True, hopeless=False)
UNSURE = Verdict(confirmed=False, heard=False, hopeless=False)
NO = Verdict(confirmed=False, heard=False, hopeless=True)

LOUD_DB = -20.0
QUIET_DB = -60.0


def ms(milliseconds: float) -> int:
    return round(milliseconds * 16)


class Room:
    """A gate, and what is heard in front of it."""

    def __init__(self, settings: GateSettings | None = None, *, sample: int = 0) -> None:
        self.gate = Gate(settings or GateSettings(), sample)
        self.now = sample
        self.events: list[Event] = []

    def hear(
        self,
        milliseconds: float,
        *,
        voiced: bool,
        level_db: float,
        verdict: Verdict | None,
    ) -> list[Event]:
        """Let so much be heard, all of it alike; return what came of it."""
        found: list[Event] = []
        for _ in range(round(milliseconds / 20)):
            if self.gate.is_idle and not voiced:
                self.gate.pass_over(self.now, FRAME_SAMPLES, level_db)
            else:
                found += self.gate.hear(Frame(self.now, voiced, level_db))
            if not self.gate.is_idle:
                found += self.gate.judge(verdict)
            self.now += FRAME_SAMPLES
        self.events += found
        return found

    def speech(
        self, milliseconds: float, *, level_db: float = LOUD_DB, verdict: Verdict | None = YES
    ) -> list[Event]:
        return self.hear(milliseconds, voiced=True, level_db=level_db, verdict=verdict)

    def noise(self, milliseconds: float, *, level_db: float = LOUD_DB) -> list[Event]:
        """Sound that the first stage takes for speech and the second does not."""
        return self.hear(milliseconds, voiced=True, level_db=level_db, verdict=NO)

    def silence(self, milliseconds: float, *, verdict: Verdict | None = NO) -> list[Event]:
        return self.hear(milliseconds, voiced=False, level_db=QUIET_DB, verdict=verdict)

    def gap(self, milliseconds: float) -> list[Event]:
        samples = ms(milliseconds)
        found = list(self.gate.gap(self.now, samples))
        self.now += samples
        self.events += found
        return found

    def finish(self, reason: EndReason = EndReason.STOP) -> list[Event]:
        found = list(self.gate.finish(self.now, reason))
        self.events += found
        return found

    @property
    def starts(self) -> list[Start]:
        return [event for event in self.events if isinstance(event, Start)]

    @property
    def ends(self) -> list[SpeechEnd]:
        return [event for event in self.events if isinstance(event, SpeechEnd)]

    @property
    def onsets(self) -> list[Onset]:
        return [event for event in self.events if isinstance(event, Onset)]

    @property
    def rejections(self) -> list[Rejected]:
        return [event for event in self.events if isinstance(event, Rejected)]


def pairs(events: Sequence[Event]) -> list[tuple[Start, SpeechEnd]]:
    """Return each start with its end; fails when they do not alternate."""
    turns = [event for event in events if isinstance(event, Start | SpeechEnd)]
    found = []
    for start, end in zip(turns[::2], turns[1::2], strict=False):
        assert isinstance(start, Start), events
        assert isinstance(end, SpeechEnd), events
        found.append((start, end))
    return found
