"""What the gate makes of a recording, without anybody to hand the audio to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stt_edge.ear.decode import open_recording
from stt_edge.ear.detector import Detector
from stt_edge.ear.gate import Event, Rejected, Start
from stt_edge.ear.levels import SILENCE_DB, power, power_db
from stt_edge.ear.wire import GateSettings, SpeechEnd
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, EndReason, ms_to_samples, samples_to_s

BLOCK_SAMPLES: Final = ms_to_samples(100)
"""As long as a block of the daemon's, so that both decide alike."""
_STRIDE: Final = 3


@frozen
class Segment:
    """A stretch that would be handed over; samples of the recording at 16 kHz."""

    start: int
    end: int
    reason: EndReason
    decided: int
    """Where the gate decided to open: the end of the block it had heard by then."""
    mean_db: float


@frozen
class Refusal:
    """A stretch that the first stage let through and the second did not confirm."""

    start: int
    end: int
    level_db: float


@dataclass(slots=True)
class Examination:
    """Everything the gate decided about a recording."""

    file: str
    samples: int = 0
    segments: list[Segment] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    first_stage_openings: int = 0
    confirm_samples: int = 0
    """Audio that the second stage has judged."""
    warning: str = ""
    """What was wrong with the recording though it could be used."""

    @property
    def seconds(self) -> float:
        """The length of the recording."""
        return samples_to_s(self.samples)

    @property
    def billed_s(self) -> float:
        """What a provider that bills audio would bill."""
        return samples_to_s(sum(segment.end - segment.start for segment in self.segments))

    @property
    def second_stage_share(self) -> float:
        """The part of the recording that the second stage judged, 0 to 1."""
        return self.confirm_samples / self.samples if self.samples else 0.0


def examine(
    path: str,
    settings: GateSettings,
    channel: int | str = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Examination:
    """Let the gate hear a recording from beginning to end.

    ``progress`` gets the seconds heard now and then. Raises InputError when it cannot be read.
    """
    examiner = Examiner(path, settings)
    recording = open_recording(path, channel)
    try:
        while pcm := recording.read(BLOCK_SAMPLES):
            examiner.hear(pcm)
            if examiner.found.samples % (600 * BLOCK_SAMPLES) == 0:
                progress(examiner.found.seconds)
        examiner.found.warning = recording.warning
    finally:
        recording.close()
    return examiner.finish()


class Examiner:
    """Follows one detector through one recording."""

    def __init__(self, path: str, settings: GateSettings) -> None:
        """Begin with nothing heard."""
        self.found = Examination(path)
        self._detector = Detector(settings)
        self._start: tuple[int, int] | None = None
        self._powers: list[tuple[int, float]] = []

    def hear(self, pcm: bytes) -> None:
        """Take in the next block of 16 kHz mono s16le."""
        sample = self.found.samples
        self.found.samples += len(pcm) // SAMPLE_BYTES
        self._powers.append((sample, power(pcm, _STRIDE)))
        self._take(self._detector.feed(sample, pcm))

    def finish(self, reason: EndReason = EndReason.END_OF_FILE) -> Examination:
        """Return what was found; nothing more will come."""
        self._take(self._detector.finish(reason))
        self.found.first_stage_openings = self._detector.openings
        self.found.confirm_samples = self._detector.confirm_samples
        return self.found

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Start(sample):
                    self._start = (sample, self.found.samples)
                case SpeechEnd() if self._start is not None:
                    start, decided = self._start
                    level_db = self._mean_db(start, event.sample)
                    self.found.segments.append(
                        Segment(start, event.sample, event.reason, decided, level_db)
                    )
                    self._start = None
                case Rejected():
                    self.found.refusals.append(Refusal(event.sample, event.end, event.level_db))
                case _:
                    pass

    def _mean_db(self, start: int, end: int) -> float:
        inside = [
            mean_square
            for sample, mean_square in self._powers
            if start - BLOCK_SAMPLES < sample < end
        ]
        # What lies before this utterance is not asked for again.
        self._powers = [entry for entry in self._powers if entry[0] > end - BLOCK_SAMPLES]
        return power_db(sum(inside) / len(inside)) if inside else SILENCE_DB
