"""What the gate remembers: the frames of the last seconds, and the utterance it has open."""

from __future__ import annotations

from collections import deque
from itertools import islice
from statistics import median
from typing import Final

from stt_edge.ear.floor import LevelHistogram
from stt_edge.ear.frame import FRAME_SAMPLES, Frame
from stt_edge.frozen import frozen_and_compiled
from stt_edge.model import SAMPLE_RATE

_KEPT_FRAMES: Final = 200
_BREATH_FRAMES: Final = 15
"""A pause of up to 300 ms does not part a breath, or a weak first syllable, from what follows."""
_CUT_LEAD_SAMPLES: Final = 5 * SAMPLE_RATE
_CUT_FRAMES: Final = 3
_QUIET_PERCENTILE: Final = 20


@frozen_and_compiled
class Heard:
    """A frame, and how it compared with what went before."""

    sample: int
    level_db: float
    audible: bool = False
    """Voiced, and louder than the noise floor."""
    stands_out: bool = False
    """Worth a question: louder, too, than what was rejected of late."""


class RecentFrames:
    """The last four seconds, newest last."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self._frames: deque[Heard] = deque(maxlen=_KEPT_FRAMES)

    def append(self, heard: Heard) -> None:
        """Remember the next frame."""
        self._frames.append(heard)

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()

    def first_of_enough(self, needed: int) -> int | None:
        """Return where frames that stand out begin, if ``needed`` of the last 2 × ``needed`` do."""
        latest = islice(reversed(self._frames), 2 * needed)
        standing_out = [heard.sample for heard in latest if heard.stands_out]
        return standing_out[-1] if len(standing_out) >= needed else None

    def onset(self, look_back: int) -> int | None:
        """Return where the speech in hand began, the breath before it included.

        No more than ``look_back`` frames are looked at; None when none of them is audible.
        """
        onset = None
        pause = 0
        for heard in islice(reversed(self._frames), look_back):
            if heard.audible:
                onset = heard.sample
                pause = 0
            elif (pause := pause + 1) > _BREATH_FRAMES:
                break
        return onset

    def last_standing_out(self) -> int:
        """Return the newest frame that stands out; 0 when there is none."""
        return next((heard.sample for heard in reversed(self._frames) if heard.stands_out), 0)

    def audible_samples(self, since: int) -> int:
        """Return how much has been audible from a sample on."""
        return FRAME_SAMPLES * sum(heard.audible for heard in self._frames if heard.sample >= since)

    def standing_out_db(self, since: int) -> float | None:
        """Return the median level of what has stood out from a sample on, if anything has."""
        levels = [
            heard.level_db for heard in self._frames if heard.stands_out and heard.sample >= since
        ]
        return median(levels) if levels else None


class OpenUtterance:
    """What decides when an utterance ends."""

    def __init__(self, start: int, speech_end: int, speech_samples: int = 0) -> None:
        """Begin at ``start``; what is known to be speech so far ends at ``speech_end``."""
        self.start = start
        self.speech_end = speech_end
        self.speech_samples = speech_samples
        self._levels = LevelHistogram()
        self._latest: deque[float] = deque(maxlen=_CUT_FRAMES)

    def add(self, frame: Frame) -> None:
        """Count a frame's level."""
        self._latest.append(frame.level_db)
        self._levels.add(frame.level_db)

    def add_speech(self, frame: Frame) -> None:
        """Count a frame as speech."""
        self.speech_end = frame.end
        self.speech_samples += FRAME_SAMPLES

    def quiet_db(self) -> float:
        """Return the level that a fifth of it lies at or below."""
        return self._levels.percentile_db(_QUIET_PERCENTILE)

    def should_be_cut(self, end: int, longest: int) -> bool:
        """Return whether it is too long at ``end``, or nearly so and quiet for 60 ms."""
        length = end - self.start
        if length >= longest:
            return True
        if length < longest - _CUT_LEAD_SAMPLES or len(self._latest) < _CUT_FRAMES:
            return False
        return max(self._latest) < self.quiet_db()
