"""Utterances, parts and records for tests of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stt_edge.ids import uuid7
from stt_edge.model import (
    EndReason,
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    Word,
)

STARTED_AT = datetime(2026, 11, 20, 16, 20, 31, 482123, tzinfo=UTC)
STREAM = "0192f7c4-0000-7000-8000-000000000001"


def head(**changes: Any) -> UtteranceStart:
    start = UtteranceStart(
        id=uuid7(),
        stream=STREAM,
        start=16_001,
        started_at=STARTED_AT,
        started_mono_ns=123_456_789_012,
        continues=True,
        clock_unsynced=True,
        lost_before=160,
    )
    return replace(start, **changes)


def tail(end: int = 48_000) -> UtteranceEnd:
    return UtteranceEnd(end, EndReason.SILENCE, end - 9600, 20_000, lost=320)


def part(utterance_id: str, seq: int = 0, **changes: Any) -> Part:
    made = Part(
        utterance_id=utterance_id,
        seq=seq,
        start=16_001 + 1000 * seq,
        end=17_001 + 1000 * seq,
        text=f"part {seq} — größe 漢字 🎤",
        provider="assemblyai",
        model="universal",
        language="en",
        confidence=0.1 + 0.2,
        words=(Word("part", 16_003, 16_777, 0.5), Word(str(seq), 16_777, 16_999)),
        item_id="item-7",
        truncated=True,
    )
    return replace(made, **changes)


def record(utterance_id: str, **changes: Any) -> Record:
    made = Record(
        id=utterance_id,
        stream=STREAM,
        start=STARTED_AT,
        end=STARTED_AT + timedelta(microseconds=1_999_938),
        start_sample=16_001,
        end_sample=48_000,
        text="turn the light on",
        provider="pocketsphinx",
        node="kitchen",
        duration_ms=2000,
        speech_ms=1250,
        language="en",
        confidence=0.875,
        model="en-us",
        latency_ms=312,
        lost_ms=20,
        reconnects=1,
        delayed=True,
        truncated=True,
        continues=True,
        clock_unsynced=True,
        supersedes="0192f7c4-0000-7000-8000-000000000009",
        words=(Word("turn", 16_005, 20_001, 0.25), Word("on", 40_000, 47_999)),
    )
    return replace(made, **changes)
