"""The JSON object of a record, which people and programs read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.model import Record, Word
from stt_edge.record_json import record_from_json, record_to_json
from tests.store.making import record

ID = "0192f7c4-0000-7000-8000-0000000000aa"


def to_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_the_keys_are_those_of_the_documentation_in_its_order() -> None:
    assert json.dumps(record_to_json(record(ID))) == (
        '{"v": 1, "id": "0192f7c4-0000-7000-8000-0000000000aa",'
        ' "stream": "0192f7c4-0000-7000-8000-000000000001",'
        ' "start": "2026-11-20T16:20:31.482Z", "end": "2026-11-20T16:20:33.482Z",'
        ' "start_sample": 16001, "end_sample": 48000, "text": "turn the light on",'
        ' "language": "en", "confidence": 0.875, "provider": "pocketsphinx", "model": "en-us",'
        ' "node": "kitchen", "duration_ms": 2000, "speech_ms": 1250, "latency_ms": 312,'
        ' "lost_ms": 20, "reconnects": 1, "delayed": true, "truncated": true, "continues": true,'
        ' "clock_unsynced": true, "supersedes": "0192f7c4-0000-7000-8000-000000000009",'
        ' "words": [{"text": "turn", "start": 0.0, "end": 0.25, "confidence": 0.25},'
        ' {"text": "on", "start": 1.5, "end": 2.0, "confidence": null}]}'
    )


def test_supersedes_and_words_are_there_only_when_they_say_something() -> None:
    body = record_to_json(record(ID, supersedes=None, words=()))
    assert "supersedes" not in body
    assert "words" not in body
    assert list(body)[-1] == "clock_unsynced"


def test_times_of_other_zones_are_written_in_utc() -> None:
    moment = datetime(2026, 11, 20, 2, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert record_to_json(record(ID, start=moment))["start"] == "2026-11-19T20:30:00.000Z"


@given(
    text=st.text(),
    confidence=st.none() | st.floats(0, 1),
    moment=st.integers(0, 4 * 10**15).map(
        lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    ),
    words=st.lists(
        st.builds(Word, st.text(), st.integers(0, 10**6), st.integers(0, 10**6), st.none())
    ).map(tuple),
)
def test_a_record_comes_back_from_its_json_exact_to_the_millisecond(
    text: str, confidence: float | None, moment: datetime, words: tuple[Word, ...]
) -> None:
    made = record(ID, text=text, confidence=confidence, start=moment, words=words, latency_ms=None)
    back = record_from_json(json.loads(json.dumps(record_to_json(made))))
    assert replace(back, words=()) == replace(
        made, start=to_millisecond(made.start), end=to_millisecond(made.end), words=()
    )
    for before, after in zip(made.words, back.words, strict=True):
        assert abs(before.start - after.start) <= 8
        assert abs(before.end - after.end) <= 8
        assert (before.text, before.confidence) == (after.text, after.confidence)
    assert record_to_json(back) == record_to_json(made)


@pytest.mark.parametrize(
    "spoil",
    [
        {"v": 2},
        {"v": None},
        {"start": "yesterday"},
        {"start": None},
        {"start_sample": None},
        {"words": [{"text": "no times"}]},
        {"words": 5},
    ],
)
def test_what_is_no_record_is_a_value_error(spoil: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"record|isoformat"):
        record_from_json(record_to_json(record(ID)) | spoil)


def test_a_missing_field_is_a_value_error_and_an_unknown_one_is_passed_over() -> None:
    body = record_to_json(record(ID))
    assert isinstance(record_from_json(body | {"later": 1}), Record)
    del body["node"]
    with pytest.raises(ValueError, match="node"):
        record_from_json(body)
