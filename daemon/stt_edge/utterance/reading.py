"""Audio back out of segment files: only blocks that prove themselves, joined where they meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stt_edge.model import SAMPLE_BYTES, AudioSpan
from stt_edge.utterance.contents import Place
from stt_edge.utterance.disk import Disk
from stt_edge.utterance.segment import audio_block_bytes, block_at


def read_places(disk: Disk, path: Path, places: list[Place]) -> Iterator[AudioSpan]:
    """Yield the audio of blocks of one file, without those that are damaged. Raises OSError."""
    first, last = places[0], places[-1]
    size_bytes = last.offset + audio_block_bytes(last.end - last.start) - first.offset
    data = disk.read(path, first.offset, size_bytes)

    def read(offset: int, size: int) -> bytes:
        return data[offset - first.offset : offset - first.offset + size]

    for place in places:
        block = block_at(read, place.offset)
        span = block.audio() if block else None
        if span is not None and (span.sample, span.end) == (place.start, place.end):
            yield span


def join(spans: Iterable[AudioSpan], from_sample: int, max_samples: int) -> list[AudioSpan]:
    """Return the first ``max_samples`` samples from an address on, one span between two gaps."""
    joined: list[AudioSpan] = []
    pieces: list[bytes] = []
    sample = end = from_sample
    for span in spans:
        skip = max(from_sample - span.sample, 0)
        take = min(span.end - span.sample - skip, max_samples)
        if take <= 0:
            continue
        if span.sample + skip != end and pieces:
            joined.append(AudioSpan(sample, b"".join(pieces)))
            pieces = []
        if not pieces:
            sample = span.sample + skip
        pieces.append(span.pcm[skip * SAMPLE_BYTES : (skip + take) * SAMPLE_BYTES])
        end = span.sample + skip + take
        max_samples -= take
    if pieces:
        joined.append(AudioSpan(sample, b"".join(pieces)))
    return joined
