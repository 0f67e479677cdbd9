"""Loudness of 16-bit audio, in decibels relative to full scale, without a loop over samples.

A level is taken from every few samples only. The spacing is odd, so that no common tone folds
onto the mean, which is taken off: a sound card's direct current is no sound.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, samples_to_ms

SILENCE_DB: Final = -120.0
"""The level of exact digital silence, and the lowest there is."""

_FULL_SCALE_DB: Final = 20 * math.log10(32768)
_CLIPPED: Final = 32_700
_CLIP_STRIDE: Final = 3
_LOUD: Final = (0.05 * 32768) ** 2
"""A block with less power than this is not looked at for clipping: it costs, and one with much of
it is louder."""
_MEMORY_SAMPLES: Final = 60 * SAMPLE_RATE


def power(pcm: bytes | memoryview, stride: int = 1) -> float:
    """Return the mean square of s16le samples less their mean; 0.0 for none."""
    samples = memoryview(pcm).cast("h")[::stride]
    count = len(samples)
    if not count:
        return 0.0
    return max(0.0, math.hypot(*samples) ** 2 / count - (sum(samples) / count) ** 2)


def power_db(mean_square: float) -> float:
    """Return a mean square as decibels relative to full scale, at least ``SILENCE_DB``."""
    if mean_square <= 0.0:
        return SILENCE_DB
    return max(SILENCE_DB, 10 * math.log10(mean_square) - _FULL_SCALE_DB)


def level_db(pcm: bytes | memoryview, stride: int = 1) -> float:
    """Return the level of s16le samples in decibels relative to full scale."""
    return power_db(power(pcm, stride))


def is_clipped(pcm: bytes | memoryview) -> bool:
    """Return whether samples of s16le reach full scale, as those of an overdriven input do."""
    samples = memoryview(pcm).cast("h")[::_CLIP_STRIDE]
    return max(samples) >= _CLIPPED or min(samples) <= -_CLIPPED


class Meter:
    """The level of the last second, how long all has been exactly zero, and what was clipped."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._recent: deque[tuple[int, float]] = deque()
        self._recent_samples = 0
        self._silent_samples = 0
        self._zeros = b""
        self._samples = 0
        self._clipped: deque[tuple[int, int]] = deque()

    def add(self, pcm: bytes, mean_square: float) -> None:
        """Take in a block and its power."""
        samples = len(pcm) // SAMPLE_BYTES
        if mean_square == 0.0 and self._is_zero(pcm):
            self._silent_samples += samples
        else:
            self._silent_samples = 0
        self._samples += samples
        if mean_square >= _LOUD and is_clipped(pcm):
            self._clipped.append((self._samples, samples))
        self._recent.append((samples, mean_square))
        self._recent_samples += samples
        while self._recent_samples - self._recent[0][0] >= SAMPLE_RATE:
            self._recent_samples -= self._recent.popleft()[0]

    @property
    def level_db(self) -> float:
        """The level of the last second."""
        if not self._recent_samples:
            return SILENCE_DB
        total = sum(samples * mean_square for samples, mean_square in self._recent)
        return power_db(total / self._recent_samples)

    @property
    def silent_s(self) -> float:
        """For how long every sample has been exactly zero, in seconds."""
        return self._silent_samples / SAMPLE_RATE

    @property
    def clipped_ms(self) -> int:
        """How much of the last minute lies in blocks that reach full scale, in milliseconds."""
        while self._clipped and self._clipped[0][0] <= self._samples - _MEMORY_SAMPLES:
            self._clipped.popleft()
        return samples_to_ms(sum(samples for _, samples in self._clipped))

    def _is_zero(self, pcm: bytes) -> bool:
        if len(self._zeros) != len(pcm):
            self._zeros = bytes(len(pcm))
        return pcm == self._zeros
