"""Utterances, parts and records for tests of the service."""

from __future__ import annotations

from datetime import timedelta

from stt_edge.model import (
    AudioSpan,
    EndReason,
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
)
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.clock import START

A = "01900000-0000-7000-8000-00000000000a"
PCM = bytes(range(200)) * 32
SAMPLES = len(PCM) // 2


def head_of(utterance_id: str, start: int = 0) -> UtteranceStart:
    return UtteranceStart(utterance_id, "stream", start, START, 0)


def tail_of(head: UtteranceStart) -> UtteranceEnd:
    end = head.start + SAMPLES
    return UtteranceEnd(end, EndReason.SILENCE, end, SAMPLES)


def audio(log: UtteranceLog, utterance_id: str, *, end: bool = True) -> UtteranceStart:
    """Put an utterance into the log; return its head."""
    head = head_of(utterance_id)
    log.start(head)
    log.append(utterance_id, AudioSpan(0, PCM))
    if end:
        log.end(utterance_id, tail_of(head))
    return head


def part(head: UtteranceStart, text: str = "hello") -> Part:
    return Part(head.id, 0, head.start, head.start + SAMPLES, text, "scripted")


def record(head: UtteranceStart, text: str = "hello") -> Record:
    return Record(
        id=head.id,
        stream=head.stream,
        start=head.started_at,
        end=head.started_at + timedelta(seconds=SAMPLES / 16_000),
        start_sample=head.start,
        end_sample=head.start + SAMPLES,
        text=text,
        provider="scripted",
        node="here",
        duration_ms=SAMPLES // 16,
        speech_ms=SAMPLES // 16,
    )
