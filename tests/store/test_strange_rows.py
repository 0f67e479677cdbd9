"""Rows in which something else stands than was ever written: SQLite keeps anything anywhere."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.errors import StoreConflictError
from stt_edge.model import UtteranceState
from stt_edge.store.store import Store
from tests.store.making import head, part, record


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


@pytest.mark.parametrize("column", ["id", "stream", "supersedes"])
def test_an_utterance_with_bytes_for_text_is_passed_over(
    store: Store, path: Path, column: str
) -> None:
    store.add_utterance(head())
    store.add_utterance(good := head())
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE utterances SET {column} = x'00ff' WHERE seq = 1")
    other.close()
    assert [row.id for row in store.unfinished()] == [good.id]
    assert len(store.take_unreadable()) == 1


@pytest.mark.parametrize("column", ["text", "provider", "model", "language", "confidence"])
def test_a_part_with_bytes_for_text_is_refused_with_a_remedy(
    store: Store, path: Path, column: str
) -> None:
    store.add_utterance(start := head())
    store.commit_part(part(start.id), start.start)
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE parts SET {column} = x'00ff'")
    other.close()
    with pytest.raises(StoreConflictError, match="damaged"):
        store.parts(start.id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("text", None),
        ("text", 7),
        ("provider", []),
        ("start_sample", "0"),
        ("delayed", "no"),
        ("confidence", "high"),
        ("words", [["hello", 0, None, None]]),
        ("words", [[None, 0, 1, None]]),
        ("words", [["hello", 0]]),
    ],
)
def test_a_record_whose_fields_are_of_another_kind_is_passed_over(
    store: Store, path: Path, field: str, value: object
) -> None:
    store.add_utterance(start := head())
    store.finish(start.id, UtteranceState.DONE, record(start.id))
    with sqlite3.connect(path) as other:
        ((body,),) = other.execute("SELECT body FROM records").fetchall()
        spoilt = json.dumps({**json.loads(body), field: value})
        other.execute("UPDATE records SET body = ?", (spoilt,))
    other.close()
    assert store.records_after(0, 9) == []
    assert len(store.take_unreadable()) == 1
