"""Model objects as rows of the store and back. Exact: what is stored is what is returned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, get_type_hints

from stt_edge.frozen import frozen
from stt_edge.model import (
    EndReason,
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    UtteranceState,
    Word,
)
from stt_edge.store.failures import UnreadableRowError

UTTERANCE_COLUMNS: Final = (
    "seq, id, stream, start_sample, started_at, started_mono_ns, continues, clock_unsynced, "
    "lost_before, state, acked_sample, end_sample, end_reason, speech_end, speech_samples, lost, "
    "job_provider, job_token, supersedes"
)
PART_COLUMNS: Final = (
    "utterance_id, seq, start_sample, end_sample, text, provider, model, language, confidence, "
    "words, item_id, truncated"
)

_Row = tuple[Any, ...]

_RECORD_FIELDS: Final = frozenset(field.name for field in fields(Record))
_RECORD_TYPES: Final = {
    name: kind
    for name, kind in get_type_hints(Record).items()
    if name not in ("start", "end", "words", "confidence")
}


@frozen
class UtteranceRow:
    """How far an utterance has come."""

    seq: int
    """1, 2, 3 … in the order in which utterances were added."""
    start: UtteranceStart
    state: UtteranceState
    acked_sample: int
    """Audio before it needs no sending any more: what was said in it is committed."""
    end: UtteranceEnd | None
    job: tuple[str, str] | None = None
    """The provider that has made a job of it, and the token it can be asked with."""
    supersedes: str | None = None
    """The record a fallback made of it and the one to come replaces; empty where it made none."""

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.start.id


def start_to_row(start: UtteranceStart) -> _Row:
    """Return the columns of a new utterance from ``id`` to ``lost_before``."""
    return (
        start.id,
        start.stream,
        start.start,
        _moment_to_text(start.started_at),
        start.started_mono_ns,
        start.continues,
        start.clock_unsynced,
        start.lost_before,
    )


def end_to_row(end: UtteranceEnd) -> _Row:
    """Return the columns from ``end_sample`` to ``lost``."""
    return (end.end, end.reason.value, end.speech_end, end.speech_samples, end.lost)


def utterance_from_row(row: _Row) -> UtteranceRow:
    """Return an utterance from UTTERANCE_COLUMNS. Raises UnreadableRowError."""
    with _making_sense():
        return _utterance(row)


def part_to_row(part: Part) -> _Row:
    """Return PART_COLUMNS."""
    return (
        part.utterance_id,
        part.seq,
        part.start,
        part.end,
        _storable(part.text),
        part.provider,
        part.model,
        part.language,
        part.confidence,
        _dump(_words_to_list(part.words)),
        part.item_id,
        int(part.truncated),
    )


def part_from_row(row: _Row) -> Part:
    """Return a part from PART_COLUMNS. Raises UnreadableRowError."""
    with _making_sense():
        return _part(row)


def record_to_body(record: Record) -> str:
    """Return a record as the JSON text of its row, to the microsecond and the sample."""
    body = {name: getattr(record, name) for name in _RECORD_FIELDS}
    body["start"] = _moment_to_text(record.start)
    body["end"] = _moment_to_text(record.end)
    body["words"] = _words_to_list(record.words)
    return _dump(body)


def record_from_body(text: str) -> Record:
    """Return the record of a row. Raises UnreadableRowError."""
    with _making_sense():
        body = json.loads(text)
        known = {name: body[name] for name in _RECORD_FIELDS & body.keys()}
        known["start"] = _moment_from_text(body["start"])
        known["end"] = _moment_from_text(body["end"])
        known["words"] = _words_from_list(body["words"])
        known["confidence"] = _share(body.get("confidence"))
        for name in known.keys() & _RECORD_TYPES.keys():
            _checked(known[name], _RECORD_TYPES[name])
        return Record(**known)


@contextmanager
def _making_sense() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UnreadableRowError(f"{type(error).__name__}: {error}") from error


def _utterance(row: _Row) -> UtteranceRow:
    start = UtteranceStart(
        id=_text(row[1]),
        stream=_text(row[2]),
        start=int(row[3]),
        started_at=_moment_from_text(row[4]),
        started_mono_ns=int(row[5]),
        continues=bool(row[6]),
        clock_unsynced=bool(row[7]),
        lost_before=int(row[8]),
    )
    end = None
    if row[11] is not None:
        end = UtteranceEnd(
            end=int(row[11]),
            reason=EndReason(row[12]),
            speech_end=int(row[13]),
            speech_samples=int(row[14]),
            lost=int(row[15]),
        )
    job = None if row[16] is None else (str(row[16]), str(row[17]))
    return UtteranceRow(
        int(row[0]),
        start,
        UtteranceState(row[9]),
        int(row[10]),
        end,
        job,
        supersedes=_text_if_any(row[18]),
    )


def _part(row: _Row) -> Part:
    return Part(
        utterance_id=_text(row[0]),
        seq=int(row[1]),
        start=int(row[2]),
        end=int(row[3]),
        text=_text(row[4]),
        provider=_text(row[5]),
        model=_text_if_any(row[6]),
        language=_text_if_any(row[7]),
        confidence=_share(row[8]),
        words=_words_from_list(json.loads(row[9])),
        item_id=_text_if_any(row[10]),
        truncated=bool(row[11]),
    )


def _words_to_list(words: tuple[Word, ...]) -> list[list[Any]]:
    return [[word.text, word.start, word.end, word.confidence] for word in words]


def _words_from_list(words: list[list[Any]]) -> tuple[Word, ...]:
    return tuple(
        Word(_text(text), _checked(start, int), _checked(end, int), _share(confidence))
        for text, start, end, confidence in words
    )


def _checked(value: Any, kind: Any) -> Any:
    """Return a value that is what it should be: SQLite keeps anything in any column."""
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind} should be")
    return value


def _text(value: Any) -> str:
    return str(_checked(value, str))


def _text_if_any(value: Any) -> str | None:
    return None if value is None else _text(value)


def _share(value: Any) -> float | None:
    return None if value is None else float(_checked(value, int | float))


def _moment_to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment_from_text(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _dump(value: Any) -> str:
    return _storable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _storable(text: str) -> str:
    """Return text that UTF-8 can hold: half a surrogate pair (from bad JSON) becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
