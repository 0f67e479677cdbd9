"""A record as the JSON object that people and programs see: JSONL, MQTT, ``tail --json``.

Times are RFC 3339 in UTC with milliseconds; word times are seconds from the record's start.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from stt_edge.clock import rfc3339
from stt_edge.model import SAMPLE_RATE, Record, Word, samples_to_s

VERSION: Final = 1
"""Grows when a field changes its meaning; a new field alone does not change it."""


def record_to_json(record: Record) -> dict[str, Any]:
    """Return the object, keys in their documented order; ``supersedes`` and ``words`` if any."""
    body: dict[str, Any] = {
        "v": VERSION,
        "id": record.id,
        "stream": record.stream,
        "start": rfc3339(record.start),
        "end": rfc3339(record.end),
        "start_sample": record.start_sample,
        "end_sample": record.end_sample,
        "text": record.text,
        "language": record.language,
        "confidence": record.confidence,
        "provider": record.provider,
        "model": record.model,
        "node": record.node,
        "duration_ms": record.duration_ms,
        "speech_ms": record.speech_ms,
        "latency_ms": record.latency_ms,
        "lost_ms": record.lost_ms,
        "reconnects": record.reconnects,
        "delayed": record.delayed,
        "truncated": record.truncated,
        "continues": record.continues,
        "clock_unsynced": record.clock_unsynced,
    }
    if record.supersedes is not None:
        body["supersedes"] = record.supersedes
    if record.words:
        body["words"] = [_word_to_json(word, record.start_sample) for word in record.words]
    return body


def record_from_json(body: dict[str, Any]) -> Record:
    """Return the record of an object, exact to the millisecond. Raises ValueError for no record."""
    if body.get("v") != VERSION:
        raise ValueError(f"a record of version {body.get('v')!r}, not {VERSION}")
    try:
        start_sample = int(body["start_sample"])
        return Record(
            id=body["id"],
            stream=body["stream"],
            start=_moment(body["start"]),
            end=_moment(body["end"]),
            start_sample=start_sample,
            end_sample=int(body["end_sample"]),
            text=body["text"],
            provider=body["provider"],
            node=body["node"],
            duration_ms=body["duration_ms"],
            speech_ms=body["speech_ms"],
            language=body["language"],
            confidence=body["confidence"],
            model=body["model"],
            latency_ms=body["latency_ms"],
            lost_ms=body["lost_ms"],
            reconnects=body["reconnects"],
            delayed=body["delayed"],
            truncated=body["truncated"],
            continues=body["continues"],
            clock_unsynced=body["clock_unsynced"],
            supersedes=body.get("supersedes"),
            words=tuple(_word_from_json(word, start_sample) for word in body.get("words", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record: {error!r}") from error


def _word_to_json(word: Word, start_sample: int) -> dict[str, Any]:
    return {
        "text": word.text,
        "start": round(samples_to_s(word.start - start_sample), 3),
        "end": round(samples_to_s(word.end - start_sample), 3),
        "confidence": word.confidence,
    }


def _word_from_json(body: dict[str, Any], start_sample: int) -> Word:
    return Word(
        text=body["text"],
        start=start_sample + round(body["start"] * SAMPLE_RATE),
        end=start_sample + round(body["end"] * SAMPLE_RATE),
        confidence=body["confidence"],
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
