"""Making the record of an utterance out of its parts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from stt_edge.clock import Clock
from stt_edge.ids import uuid7
from stt_edge.model import (
    NS_PER_SAMPLE,
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ms,
    samples_to_s,
)
from stt_edge.session.progress import Progress


def build_record(progress: Progress, node: str, clock: Clock, *, delayed: bool) -> Record | None:
    """Return the record of a finished utterance, or None when nothing was understood.

    Its id is the utterance's, but where there is a fallback's record of that name to replace.
    """
    head, tail = progress.head, progress.tail
    assert tail is not None
    parts = sorted(progress.parts, key=lambda part: (part.start, part.seq))
    if not parts:
        return None
    samples = tail.end - head.start
    return Record(
        id=uuid7() if progress.supersedes else head.id,
        stream=head.stream,
        start=head.started_at,
        end=head.started_at + timedelta(seconds=samples_to_s(samples)),
        start_sample=head.start,
        end_sample=tail.end,
        text=" ".join(part.text for part in parts),
        language=_first(part.language for part in parts),
        confidence=_confidence(parts),
        provider="+".join(dict.fromkeys(part.provider for part in parts)),
        model=_first(part.model for part in parts),
        node=node,
        duration_ms=samples_to_ms(samples),
        speech_ms=samples_to_ms(tail.speech_samples),
        latency_ms=None if progress.recovered else _latency_ms(head, tail, clock),
        lost_ms=samples_to_ms(head.lost_before + tail.lost),
        reconnects=progress.reconnects,
        delayed=delayed,
        truncated=tail.reason.truncates
        or progress.truncated
        or any(part.truncated for part in parts),
        continues=head.continues,
        clock_unsynced=head.clock_unsynced,
        supersedes=progress.supersedes or None,
        words=tuple(word for part in parts for word in part.words),
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)


def _confidence(parts: list[Part]) -> float | None:
    """Return the mean confidence, weighted by the audio each part covers."""
    known = [
        (part.confidence, max(1, part.end - part.start))
        for part in parts
        if part.confidence is not None
    ]
    if not known:
        return None
    total = sum(weight for _, weight in known)
    return round(sum(confidence * weight for confidence, weight in known) / total, 4)


def _latency_ms(head: UtteranceStart, tail: UtteranceEnd, clock: Clock) -> int:
    spoken_ns = head.started_mono_ns + (tail.speech_end - head.start) * NS_PER_SAMPLE
    return max(0, (clock.monotonic_ns() - spoken_ns) // 1_000_000)
