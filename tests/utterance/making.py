"""Utterances and audio for tests of the log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from stt_edge.ids import uuid7
from stt_edge.model import SAMPLE_BYTES, AudioSpan, EndReason, UtteranceEnd, UtteranceStart


def head(start: int = 1000, utterance_id: str | None = None) -> UtteranceStart:
    return UtteranceStart(
        id=utterance_id or uuid7(),
        stream="0192f7c4-0000-7000-8000-000000000001",
        start=start,
        started_at=datetime(2026, 11, 20, 16, 20, 31, 482123, tzinfo=UTC),
        started_mono_ns=123_456_789_012,
        continues=True,
        clock_unsynced=True,
        lost_before=77,
    )


def tail(end: int, reason: EndReason = EndReason.SILENCE) -> UtteranceEnd:
    return UtteranceEnd(end=end, reason=reason, speech_end=end - 5, speech_samples=3)


def tone(sample: int, samples: int = 1600) -> AudioSpan:
    """Audio that differs at every address, so that any mix-up shows."""
    values = ((address * 40503 + 12345) & 0xFFFF for address in range(sample, sample + samples))
    return AudioSpan(sample, b"".join(value.to_bytes(2, "little") for value in values))


def check_tone(spans: Iterable[AudioSpan]) -> list[tuple[int, int]]:
    """Return the addresses of the spans, once it is sure that each sample is the right one."""
    places = []
    for span in spans:
        assert span.pcm
        assert len(span.pcm) % SAMPLE_BYTES == 0
        assert span.pcm == tone(span.sample, span.end - span.sample).pcm
        places.append((span.sample, span.end))
    return places
