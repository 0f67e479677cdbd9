"""The last half minute of sound, addressed by sample."""

from __future__ import annotations

from typing import Final

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, AudioSpan

RING_SAMPLES: Final = 30 * SAMPLE_RATE


class Ring:
    """A fixed piece of memory that holds the newest samples.

    Memory is taken once. What is read is a copy, so that it outlives being overwritten.
    """

    def __init__(self, capacity_samples: int = RING_SAMPLES) -> None:
        """Begin empty, at sample 0."""
        self.capacity: Final = capacity_samples
        self._bytes = bytearray(capacity_samples * SAMPLE_BYTES)
        self._end = 0
        self._gap_end = 0

    @property
    def end(self) -> int:
        """The address of the next sample to come."""
        return self._end

    @property
    def oldest(self) -> int:
        """The address of the oldest sample still held."""
        return max(0, self._end - self.capacity)

    @property
    def unbroken_from(self) -> int:
        """The address from which on everything up to ``end`` is held and nothing is missing."""
        return max(self.oldest, self._gap_end)

    def append(self, pcm: bytes) -> None:
        """Take in the samples that follow; at most as many as the ring holds."""
        assert len(pcm) <= len(self._bytes)
        at = self._end % self.capacity * SAMPLE_BYTES
        until_wrap = len(self._bytes) - at
        self._bytes[at : at + len(pcm)] = pcm[:until_wrap]
        if len(pcm) > until_wrap:
            self._bytes[: len(pcm) - until_wrap] = pcm[until_wrap:]
        self._end += len(pcm) // SAMPLE_BYTES

    def skip(self, samples: int) -> None:
        """Take note that the next ``samples`` samples are missing; their addresses hold nothing."""
        self._end += samples
        self._gap_end = self._end

    def read(self, start: int, end: int) -> AudioSpan:
        """Return a copy of ``[start, end)``, of which the ring must still hold everything."""
        assert self.oldest <= start < end <= self._end
        at = start % self.capacity * SAMPLE_BYTES
        length = (end - start) * SAMPLE_BYTES
        pcm = bytes(self._bytes[at : at + length])
        return AudioSpan(start, pcm + self._bytes[: length - len(pcm)])
