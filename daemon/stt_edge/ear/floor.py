"""What the gate knows of loudness: the noise around it, and how an utterance's own levels lie."""

from __future__ import annotations

import math
from typing import Final

from stt_edge.ear.levels import SILENCE_DB
from stt_edge.model import SAMPLE_RATE

MARGIN_DB: Final = 3.0
"""A level stands out from another when it is this much louder."""

_LOWEST_DB: Final = -90.0
_FALL_S: Final = 0.3
_RISE_S: Final = 3.0
_SINK_S: Final = 1.0
_SINK_STEP_S: Final = 0.25
_SINK_MAX_S: Final = 8.0


class NoiseFloor:
    """The level of what is no speech, and the bar over which a sound is worth a question.

    The floor falls within 0.3 s and rises within 3 s. The bar is the floor, raised at once by what
    the second stage finds to be clearly no speech; it sinks back within a second, and within up to
    8 s when it had to be raised again and again.
    """

    def __init__(self) -> None:
        """Begin so low that everything is above it."""
        self.db = _LOWEST_DB
        self._bar_db = _LOWEST_DB
        self._rejections = 0

    def follow(self, level_db: float, samples: int) -> None:
        """Take in the level of ``samples`` samples that are no speech."""
        seconds = samples / SAMPLE_RATE
        level_db = max(level_db, _LOWEST_DB)
        constant_s = _FALL_S if level_db < self.db else _RISE_S
        self.db += (level_db - self.db) * (1.0 - math.exp(-seconds / constant_s))
        if level_db < self._bar_db:
            constant_s = min(_SINK_MAX_S, _SINK_S + _SINK_STEP_S * self._rejections)
            self._bar_db += (level_db - self._bar_db) * (1.0 - math.exp(-seconds / constant_s))
        self._bar_db = max(self._bar_db, self.db)

    def reject(self, level_db: float) -> None:
        """Raise the bar to the level of noise that was taken for speech."""
        self._bar_db = max(self._bar_db, level_db)
        self._rejections += 1

    def forgive(self) -> None:
        """Forget how often the bar had to be raised."""
        self._rejections = 0

    def is_audible(self, level_db: float) -> bool:
        """Return whether a level stands out from the floor."""
        return level_db >= self.db + MARGIN_DB

    def stands_out(self, level_db: float) -> bool:
        """Return whether a level stands out from everything rejected of late as well."""
        return level_db >= self._bar_db + MARGIN_DB


class LevelHistogram:
    """Levels in steps of 1 dB, so that any number of them takes the same little room."""

    def __init__(self) -> None:
        """Begin empty."""
        self._counts = [0] * (1 - round(SILENCE_DB))
        self._total = 0

    def add(self, level_db: float) -> None:
        """Count a level in decibels relative to full scale."""
        self._counts[min(len(self._counts) - 1, max(0, round(-level_db)))] += 1
        self._total += 1

    def percentile_db(self, percent: float) -> float:
        """Return the lower edge of the step up to which ``percent`` of a hundred levels lie.

        What is below it is quieter than all of that step, however little they differ.
        """
        wanted = max(1.0, self._total * percent / 100)
        below = 0
        for index in range(len(self._counts) - 1, -1, -1):
            below += self._counts[index]
            if below >= wanted:
                return -index - 0.5
        return SILENCE_DB
