"""How fast audio may be sent: a token bucket, and chunks of the size a provider likes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, AudioSpan, ms_to_samples
from stt_edge.providers.base import Capabilities, Pacing


class TokenBucket:
    """Allows ``rate`` seconds of audio a second and ``burst_s`` more at once.

    A chunk goes out while the bucket is not in debt, so the first needs no burst at all.
    """

    def __init__(self, pacing: Pacing, now_s: float) -> None:
        """Start full."""
        self._rate = pacing.rate
        self._burst_s = pacing.burst_s
        self._level_s = pacing.burst_s
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait before the next chunk."""
        if self._rate is None:
            return 0.0
        self._refill(self._rate, now_s)
        return max(0.0, -self._level_s / self._rate)

    def take(self, samples: int, now_s: float) -> None:
        """Note that a chunk was sent."""
        if self._rate is not None:
            self._refill(self._rate, now_s)
            self._level_s -= samples / SAMPLE_RATE

    def _refill(self, rate: float, now_s: float) -> None:
        self._level_s = min(self._burst_s, self._level_s + rate * (now_s - self._at_s))
        self._at_s = now_s


Chunk = tuple[AudioSpan, ...]
"""What is sent in one message; it runs across a gap, behind which a new span begins."""


def cut(spans: Sequence[AudioSpan], capabilities: Capabilities, *, whole: bool) -> Iterator[Chunk]:
    """Yield chunks; what is left behind the last one waits unless the utterance is ``whole``.

    A last piece that is shorter than the provider takes goes with the chunk before it where that
    is still small enough; where it is not, the protocol has to pad.
    """
    size = ms_to_samples(capabilities.chunk_ms)
    least, most = ms_to_samples(capabilities.chunk_min_ms), ms_to_samples(capabilities.chunk_max_ms)
    left = sum(span.end - span.sample for span in spans)
    pieces = list(reversed(spans))
    while left >= size or (whole and left):
        take = min(size, left)
        if whole and take < left < take + least and left <= most:
            take = left
        left -= take
        yield tuple(_take(pieces, take))


def pcm_of(chunk: Chunk) -> bytes:
    """Return the audio of a chunk."""
    return chunk[0].pcm if len(chunk) == 1 else b"".join(span.pcm for span in chunk)


def samples_of(chunk: Chunk) -> int:
    """Return how many samples a chunk holds."""
    return sum(span.end - span.sample for span in chunk)


def _take(pieces: list[AudioSpan], samples: int) -> Iterator[AudioSpan]:
    while samples:
        span = pieces.pop()
        there = span.end - span.sample
        if there > samples:
            at = samples * SAMPLE_BYTES
            pieces.append(AudioSpan(span.sample + samples, span.pcm[at:]))
            span = AudioSpan(span.sample, span.pcm[:at])
        yield span
        samples -= span.end - span.sample
