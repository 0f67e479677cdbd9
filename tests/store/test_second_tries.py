"""What a fallback did and the first provider does again, jobs of providers, and money."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from stt_edge.errors import StoreConflictError
from stt_edge.model import UtteranceState
from stt_edge.store import schema
from stt_edge.store.store import Store, Usage
from tests.store.making import head, part, record, tail

DAY = date(2026, 11, 20)


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def test_the_first_provider_begins_anew_behind_the_record_of_a_fallback(store: Store) -> None:
    start = head()
    store.add_utterance(start)
    store.end_utterance(start.id, tail())
    store.commit_part(part(start.id), 17_001)
    store.set_job(start.id, ("google", "job-7"))
    first = record(start.id)
    assert store.begin_anew(start.id, first) == 1
    row = store.utterance(start.id)
    assert row is not None
    assert (row.state, row.acked_sample, row.job) == (UtteranceState.ENDED, start.start, None)
    assert row.supersedes == first.id
    assert store.parts(start.id) == []
    assert [row.id for row in store.unfinished()] == [start.id]
    again = replace(first, id="0190-again", supersedes=first.id, text="better")
    store.commit_part(part(start.id), 17_001)
    assert store.finish(start.id, UtteranceState.DONE, again) == 2
    assert store.records_after(0, 10) == [(1, first), (2, again)]


def test_beginning_anew_twice_or_finishing_twice_changes_nothing(store: Store) -> None:
    start = head()
    store.add_utterance(start)
    first = record(start.id)
    assert store.begin_anew(start.id, first) == 1
    store.commit_part(part(start.id), 17_001)
    assert store.begin_anew(start.id, first) == 1
    assert len(store.parts(start.id)) == 1
    again = replace(first, id="0190-again", supersedes=first.id)
    assert store.finish(start.id, UtteranceState.DONE, again) == 2
    assert store.finish(start.id, UtteranceState.DONE, again) == 2
    with pytest.raises(StoreConflictError):
        store.begin_anew(start.id, first)


def test_a_fallback_that_understood_nothing_leaves_no_record_and_is_remembered(
    store: Store,
) -> None:
    start = head()
    store.add_utterance(start)
    assert store.begin_anew(start.id, None) is None
    row = store.utterance(start.id)
    assert row is not None
    assert row.supersedes == ""
    assert store.finish(start.id, UtteranceState.DONE, record(start.id)) == 1


def test_a_job_is_kept_until_it_is_given_up(store: Store) -> None:
    start = head()
    store.add_utterance(start)
    store.set_job(start.id, ("google_rest", "7612"))
    row = store.utterance(start.id)
    assert row is not None
    assert row.job == ("google_rest", "7612")
    store.set_job(start.id, None)
    row = store.utterance(start.id)
    assert row is not None
    assert row.job is None
    with pytest.raises(StoreConflictError):
        store.set_job("nobody", None)


def test_billed_seconds_add_up_beside_the_others(store: Store) -> None:
    store.add_usage("aws", DAY, seconds_sent=4.0, billed_seconds=15.0, cost=0.1)
    store.add_usage("aws", DAY, seconds_sent=20.0, connection_seconds=1.0, billed_seconds=20.0)
    assert store.usage(DAY) == [Usage("aws", DAY, 24.0, 1.0, 0.1, 35.0)]


def old_store(path: Path) -> str:
    """Make a store of the first schema, with an utterance and a day's usage in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = schema.connect(path)
    schema.set_up(connection)
    schema.migrate(connection, path, schema.MIGRATIONS[:1])
    start = head()
    connection.execute(
        "INSERT INTO utterances (id, stream, start_sample, started_at, started_mono_ns, continues,"
        " clock_unsynced, lost_before, state, acked_sample) VALUES (?, 's', 0,"
        " '2026-11-20T10:00:00+00:00', 1, 0, 0, 0, 'open', 0)",
        (start.id,),
    )
    connection.execute("INSERT INTO usage VALUES ('aws', ?, 4.0, 5.0, 0.5)", (DAY.isoformat(),))
    connection.close()
    return start.id


def test_a_store_of_the_first_schema_is_brought_up_to_date(path: Path) -> None:
    utterance = old_store(path)
    store = Store.open(path)
    row = store.utterance(utterance)
    assert row is not None
    assert (row.job, row.supersedes) == (None, None)
    assert store.usage(DAY) == [Usage("aws", DAY, 4.0, 5.0, 0.5, 0.0)]
    store.add_usage("aws", DAY, billed_seconds=15.0)
    assert store.usage(DAY)[0].billed_seconds == 15.0
    store.close()


def test_what_a_damaged_store_of_the_first_schema_still_gives_is_saved(path: Path) -> None:
    utterance = old_store(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'x' WHERE name = 'meta'")
    connection.close()
    store = Store.open(path)
    assert store.opening.damaged_path is not None
    assert store.utterance(utterance) is not None
    assert store.usage(DAY) == [Usage("aws", DAY, 4.0, 5.0, 0.5, 0.0)]
    store.close()
