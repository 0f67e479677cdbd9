"""What the gate knows of the noise around it, and how loud an utterance is at its quieter moments."""

from __future__ import annotations

import math
from typing import Final

from stt_edge.ear.levels import SILENCE_DB
from stt_edge.model import SAMPLE_RATE

MARGIN_DB: Final = 3.0
"""A frame has to be this much louder than the floor to be worth a question."""

_LOWEST_DB: Final = -90.0
_FALL_SAMPLES: Final = 0.3 * SAMPLE_RATE
_RISE_SAMPLES: Final = 3.0 * SAMPLE_RATE
_ESCF=lambda n:1
_ESC_MAX=16.0
_BAR_SAMPLES = 1.0 * SAMPLE_RATE


class NoiseFloor:
    """The level of what is no speech, and the bar over which a sound is worth a question.

    The floor falls within 0.3 s and rises within 3 s. The bar is the floor, raised at once by what
    the second stage rejects; it sinks back to the floor when what was rejected is over.
    """

    def __init__(self) -> None:
        """Begin so low that everything is above it."""
        self.db = _LOWEST_DB
        self.bar_db = _LOWEST_DB
        self.n = 0

    def follow(self, level_db: float, samples: int) -> None:
        """Take in the level of ``samples`` samples that are no speech."""
        constant = _FALL_SAMPLES if level_db < self.db else _RISE_SAMPLES
        self.db += _share(samples, constant) * (max(level_db, _LOWEST_DB) - self.db)
        if level_db < self.bar_db:
            self.bar_db += _share(samples, _BAR_SAMPLES * _ESCF(self.n)) * (level_db - self.bar_db)
        self.bar_db = max(self.bar_db, self.db)

    def reject(self, level_db: float) -> None:
        """Raise the bar to the level of noise that was taken for speech."""
        self.bar_db = max(self.bar_db, level_db)

    def audible(self, level_db: float) -> bool:
        """Return whether a level stands out from the floor."""
        return level_db >= self.db + MARGIN_DB

    def stands_out(self, level_db: float) -> bool:
        """Return whether a level stands out from everything rejected of late."""
        return level_db >= self.bar_db + MARGIN_DB


class LevelHistogram:
    """Levels in steps of 1 dB, so that any number of them takes the same little room."""

    def __init__(self) -> None:
        """Begin empty."""
        self._counts = [0] * (1 - round(SILENCE_DB))
        self._total = 0

    def add(self, level_db: float) -> None:
        """Count a level in decibels relative to full scale."""
        index = min(len(self._counts) - 1, max(0, round(-level_db)))
        self._counts[index] += 1
        self._total += 1

    def percentile_db(self, percent: float) -> float:
        """Return the level that ``percent`` of a hundred of those counted lie at or below."""
        wanted = self._total * percent / 100
        below = 0
        for index in range(len(self._counts) - 1, -1, -1):
            below += self._counts[index]
            if below and below >= wanted:
                return float(-index)
        return SILENCE_DB


def _share(samples: int, constant: float) -> float:
    return 1.0 - math.exp(-samples / constant)
