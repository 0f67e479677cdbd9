"""The store's methods on a sound database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import StoreConflictError, StoreError, UnavailableError
from stt_edge.model import UtteranceState, Word
from stt_edge.store.database import Database
from stt_edge.store.opening import StoreOpening
from stt_edge.store.store import Store, Usage
from tests.store.making import head, part, record, tail

DAY = date(2026, 11, 20)


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def written_bytes(path: Path) -> bytes:
    return path.with_name(path.name + "-wal").read_bytes()


def test_an_utterance_is_open_then_ended_then_done(store: Store) -> None:
    start = head()
    assert store.utterance(start.id) is None
    store.add_utterance(start)
    row = store.utterance(start.id)
    assert row is not None
    assert (row.id, row.seq, row.start, row.state) == (start.id, 1, start, UtteranceState.OPEN)
    assert (row.acked_sample, row.end) == (start.start, None)
    store.end_utterance(start.id, tail())
    row = store.utterance(start.id)
    assert row is not None
    assert (row.state, row.end) == (UtteranceState.ENDED, tail())
    assert store.finish(start.id, UtteranceState.DONE, record(start.id)) == 1
    row = store.utterance(start.id)
    assert row is not None
    assert row.state is UtteranceState.DONE


def test_adding_and_ending_an_utterance_again_changes_nothing_and_writes_nothing(
    store: Store, path: Path
) -> None:
    start = head()
    store.add_utterance(start)
    store.end_utterance(start.id, tail(48_000))
    before, row = written_bytes(path), store.utterance(start.id)
    store.add_utterance(start)
    store.end_utterance(start.id, tail(99_000))
    assert store.utterance(start.id) == row
    assert written_bytes(path) == before


def test_a_part_and_the_acknowledgement_are_committed_together_and_never_move_back(
    store: Store, path: Path
) -> None:
    start = head()
    store.add_utterance(start)
    assert store.commit_part(part(start.id, 0), 20_000) == 20_000
    assert store.commit_part(part(start.id, 1), 18_000) == 20_000
    row = store.utterance(start.id)
    assert row is not None
    assert row.acked_sample == 20_000
    assert store.parts(start.id) == [part(start.id, 0), part(start.id, 1)]


def test_a_part_committed_again_after_a_failure_is_stored_once(store: Store, path: Path) -> None:
    start = head()
    store.add_utterance(start)
    store.commit_part(part(start.id), 20_000)
    before = written_bytes(path)
    assert store.commit_part(part(start.id), 20_000) == 20_000
    assert written_bytes(path) == before
    with pytest.raises(StoreConflictError, match="another part number 0"):
        store.commit_part(part(start.id, text="something else"), 21_000)
    assert store.parts(start.id) == [part(start.id)]


@pytest.mark.parametrize(
    ("statement", "write"),
    [
        (
            "UPDATE utterances SET acked_sample",
            lambda store, id_: store.commit_part(part(id_), 1 << 30),
        ),
        (
            "UPDATE utterances SET state",
            lambda store, id_: store.finish(id_, UtteranceState.DONE, record(id_)),
        ),
    ],
    ids=["part", "record"],
)
def test_what_belongs_together_is_written_together_or_not_at_all(
    store: Store,
    statement: str,
    write: Callable[[Store, str], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.add_utterance(start := head())
    really = Database.execute

    def fail(database: Database, text: str, *values: object) -> int:
        if text.startswith(statement):
            raise sqlite3.OperationalError("disk I/O error")
        return really(database, text, *values)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "execute", fail)
        with pytest.raises(StoreError):
            write(store, start.id)
    assert store.parts(start.id) == []
    assert store.last_seq() == 0
    assert store.records_after(0, 9) == []
    write(store, start.id)


def test_a_part_of_an_utterance_that_is_unknown_or_finished_is_refused(store: Store) -> None:
    start = head()
    with pytest.raises(StoreConflictError, match="not in the store"):
        store.commit_part(part(start.id), 1)
    store.add_utterance(start)
    store.commit_part(part(start.id, 0), 1)
    store.finish(start.id, UtteranceState.DROPPED, None)
    with pytest.raises(StoreConflictError, match="dropped"):
        store.commit_part(part(start.id, 1), 2)
    store.commit_part(part(start.id, 0), 1)
    assert len(store.parts(start.id)) == 1


def test_a_second_finish_never_makes_a_second_record(store: Store, path: Path) -> None:
    start = head()
    store.add_utterance(start)
    seq = store.finish(start.id, UtteranceState.DONE, record(start.id))
    before = written_bytes(path)
    other = record(start.id, text="another text")
    assert store.finish(start.id, UtteranceState.DONE, other) == seq
    assert store.finish(start.id, UtteranceState.POISONED, None) == seq
    assert store.records_after(0, 10) == [(seq, record(start.id))]
    assert store.counts()[UtteranceState.DONE] == 1
    assert written_bytes(path) == before


def test_a_record_that_another_utterance_has_is_refused_and_nothing_is_changed(
    store: Store,
) -> None:
    one, two = head(), head()
    for each in (one, two):
        store.add_utterance(each)
    store.finish(one.id, UtteranceState.DONE, record(one.id))
    with pytest.raises(StoreConflictError, match="UNIQUE"):
        store.finish(two.id, UtteranceState.DONE, record(one.id))
    row = store.utterance(two.id)
    assert row is not None
    assert row.state is UtteranceState.OPEN
    assert len(store.records_after(0, 10)) == 1


def test_done_without_a_record_is_counted_as_empty_once(store: Store) -> None:
    start, other = head(), head()
    for each in (start, other):
        store.add_utterance(each)
    assert store.empties() == 0
    assert store.finish(start.id, UtteranceState.DONE, None) is None
    assert store.finish(start.id, UtteranceState.DONE, record(start.id)) is None
    assert store.finish(other.id, UtteranceState.DROPPED, None) is None
    assert store.empties() == 1
    assert store.records_after(0, 10) == []


def test_an_utterance_is_not_finished_by_a_state_that_is_no_end(store: Store) -> None:
    start = head()
    store.add_utterance(start)
    with pytest.raises(ValueError, match="open is not the end"):
        store.finish(start.id, UtteranceState.OPEN, None)
    with pytest.raises(StoreConflictError, match="not in the store"):
        store.finish("unknown", UtteranceState.DONE, None)
    with pytest.raises(StoreConflictError, match="not in the store"):
        store.end_utterance("unknown", tail())


def test_the_unfinished_come_oldest_first_whatever_their_dates_say(store: Store) -> None:
    starts = [head(started_at=head().started_at.replace(year=2030 - each)) for each in range(5)]
    for start in starts:
        store.add_utterance(start)
    store.end_utterance(starts[1].id, tail())
    store.finish(starts[0].id, UtteranceState.DONE, None)
    store.finish(starts[3].id, UtteranceState.POISONED, None)
    unfinished = store.unfinished()
    assert [row.start for row in unfinished] == [starts[1], starts[2], starts[4]]
    assert [row.seq for row in unfinished] == [2, 3, 5]
    assert store.counts() == {
        UtteranceState.OPEN: 2,
        UtteranceState.ENDED: 1,
        UtteranceState.DONE: 1,
        UtteranceState.DROPPED: 0,
        UtteranceState.POISONED: 1,
    }


def test_an_utterance_known_only_by_its_record_counts_as_done(store: Store, path: Path) -> None:
    start = head()
    store.add_utterance(start)
    store.finish(start.id, UtteranceState.DONE, record(start.id))
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM utterances")
    other.close()
    store.add_utterance(start)
    row = store.utterance(start.id)
    assert row is not None
    assert row.state is UtteranceState.DONE
    assert store.unfinished() == []


def test_records_follow_in_the_order_of_their_commitment(store: Store) -> None:
    assert (store.last_seq(), store.last_records(5), store.records_after(0, 5)) == (0, [], [])
    ids = []
    for _ in range(7):
        start = head()
        store.add_utterance(start)
        store.finish(start.id, UtteranceState.DONE, record(start.id))
        ids.append(start.id)
    assert [each.id for _, each in store.records_after(0, 100)] == ids
    assert [(seq, each.id) for seq, each in store.records_after(3, 2)] == [(4, ids[3]), (5, ids[4])]
    assert [(seq, each.id) for seq, each in store.last_records(2)] == [(6, ids[5]), (7, ids[6])]
    assert store.records_after(7, 5) == []
    assert store.last_seq() == 7


def test_a_record_that_makes_no_sense_is_passed_over_and_reported_once(
    store: Store, path: Path
) -> None:
    for _ in range(4):
        start = head()
        store.add_utterance(start)
        store.finish(start.id, UtteranceState.DONE, record(start.id))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE records SET body = CAST(x'7b22ff' AS TEXT) WHERE seq IN (1, 2)")
        other.execute("UPDATE records SET body = '{}' WHERE seq = 4")
    other.close()
    assert [seq for seq, _ in store.records_after(0, 1)] == [3]
    assert [seq for seq, _ in store.records_after(0, 100)] == [3]
    assert [seq for seq, _ in store.last_records(2)] == [3]
    assert [line.partition(":")[0] for line in store.take_unreadable()] == [
        "row 1",
        "row 2",
        "row 4",
    ]
    assert store.take_unreadable() == []


def test_an_utterance_that_makes_no_sense_is_passed_over_or_refused_with_a_remedy(
    store: Store, path: Path
) -> None:
    bad, good = head(), head()
    store.add_utterance(bad)
    store.add_utterance(good)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE utterances SET started_at = 'noon' WHERE id = ?", (bad.id,))
    other.close()
    assert [row.id for row in store.unfinished()] == [good.id]
    assert len(store.take_unreadable()) == 1
    with pytest.raises(StoreConflictError, match="damaged") as caught:
        store.utterance(bad.id)
    assert str(path) in caught.value.remedy


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


def test_a_cursor_is_kept_for_each_sink_and_written_only_when_it_moves(
    store: Store, path: Path
) -> None:
    assert store.cursor("jsonl") is None
    store.set_cursor("jsonl", 4)
    store.set_cursor("mqtt", 2)
    store.set_cursor("jsonl", 7)
    before = written_bytes(path)
    store.set_cursor("jsonl", 7)
    assert (store.cursor("jsonl"), store.cursor("mqtt")) == (7, 2)
    assert written_bytes(path) == before


def test_usage_adds_up_for_each_provider_and_day(store: Store, path: Path) -> None:
    store.add_usage("b", DAY, seconds_sent=1.5, cost=0.25)
    store.add_usage("b", DAY, connection_seconds=10.0, cost=0.5)
    store.add_usage("a", DAY, seconds_sent=3.0)
    store.add_usage("a", date(2026, 11, 21), seconds_sent=100.0)
    before = written_bytes(path)
    store.add_usage("a", DAY)
    assert written_bytes(path) == before
    assert store.usage(DAY) == [Usage("a", DAY, 3.0, 0.0, 0.0), Usage("b", DAY, 1.5, 10.0, 0.75)]
    assert store.usage(date(2020, 1, 1)) == []


def test_notes_are_kept_by_name(store: Store, path: Path) -> None:
    assert store.meta("muted") is None
    store.set_meta("muted", "yes")
    before = written_bytes(path)
    store.set_meta("muted", "yes")
    assert written_bytes(path) == before
    store.set_meta("muted", "no")
    assert store.meta("muted") == "no"


def test_everything_is_there_after_closing_and_opening_again(store: Store, path: Path) -> None:
    start, unfinished = head(), head()
    store.add_utterance(start)
    store.commit_part(part(start.id), 17_000)
    store.end_utterance(start.id, tail())
    store.finish(start.id, UtteranceState.DONE, record(start.id))
    store.add_utterance(unfinished)
    store.set_cursor("jsonl", 1)
    store.close()
    store.close()
    again = Store.open(path)
    assert again.opening == StoreOpening()
    assert again.parts(start.id) == [part(start.id)]
    assert again.records_after(0, 9) == [(1, record(start.id))]
    assert [row.start for row in again.unfinished()] == [unfinished]
    assert again.cursor("jsonl") == 1
    again.close()


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(),
    confidence=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    microsecond=st.integers(0, 999_999),
    words=st.lists(
        st.builds(
            Word,
            st.text(),
            st.integers(0, 2**40),
            st.integers(0, 2**40),
            st.none() | st.floats(0, 1),
        ),
        max_size=4,
    ).map(tuple),
)
def test_parts_and_records_come_back_exact_to_the_microsecond_and_the_sample(
    memory_path: Path,
    text: str,
    confidence: float | None,
    microsecond: int,
    words: tuple[Word, ...],
) -> None:
    store = Store.open(memory_path / "store.db")
    start = head()
    moment = start.started_at.replace(microsecond=microsecond)
    store.add_utterance(start)
    made = part(start.id, text=text, confidence=confidence, words=words)
    store.commit_part(made, 1)
    final = record(start.id, text=text, confidence=confidence, words=words, start=moment)
    store.finish(start.id, UtteranceState.DONE, final)
    assert store.parts(start.id) == [made]
    assert [each for _, each in store.last_records(1)] == [final]
    store.close()


def test_text_that_is_no_unicode_is_stored_with_replacement_characters(store: Store) -> None:
    start = head()
    store.add_utterance(start)
    broken = "half \ud83c and whole \ud83c\udfa4"
    mended = "half \ufffd and whole 🎤"
    made = part(start.id, text=broken, words=(Word(broken, 1, 2),))
    for _ in range(2):
        store.commit_part(made, 1)
    store.finish(start.id, UtteranceState.DONE, record(start.id, text=broken))
    assert store.parts(start.id) == [part(start.id, text=mended, words=(Word(mended, 1, 2),))]
    assert [each.text for _, each in store.last_records(1)] == [mended]


def test_files_are_private_also_when_they_were_not(path: Path) -> None:
    store = Store.open(path)
    store.add_utterance(head())
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert len(list(path.parent.iterdir())) == 3
    store.close()
    path.chmod(0o644)
    Store.open(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_commit_is_durable_by_the_settings_of_the_connection(store: Store) -> None:
    pragma = store._database._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)
    assert pragma("PRAGMA busy_timeout").fetchone()[0] >= 1000


def test_a_store_that_is_full_says_so_loses_nothing_and_goes_on_when_there_is_room(
    store: Store,
) -> None:
    start = head()
    store.add_utterance(start)
    pragma = store._database._connection.execute
    pages = pragma("PRAGMA page_count").fetchone()[0]
    pragma(f"PRAGMA max_page_count = {pages}")
    big = part(start.id, text="word " * 10_000)
    with pytest.raises(StoreError, match="full") as caught:
        store.commit_part(big, 20_000)
    assert "Free space" in caught.value.remedy
    row = store.utterance(start.id)
    assert row is not None
    assert row.acked_sample == start.start
    assert store.parts(start.id) == []
    pragma("PRAGMA max_page_count = 1000000")
    assert store.commit_part(big, 20_000) == 20_000
    assert store.parts(start.id) == [big]


def test_a_store_another_program_holds_is_an_error_that_says_so(store: Store, path: Path) -> None:
    store._database._connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        store.add_utterance(head())
    assert "Another program" in caught.value.remedy
    other.close()
    store.add_utterance(head())


def test_a_reader_beside_the_daemon_sees_records_and_cannot_write(store: Store, path: Path) -> None:
    start = head()
    store.add_utterance(start)
    reader = Store.open_read_only(path)
    assert reader.last_records(5) == []
    store.finish(start.id, UtteranceState.DONE, record(start.id))
    assert [each.id for _, each in reader.last_records(5)] == [start.id]
    with pytest.raises(StoreError, match="readonly"):
        reader.set_cursor("jsonl", 1)
    reader.close()


def test_a_reader_where_there_is_no_store_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="There is no store"):
        Store.open_read_only(tmp_path / "store.db")
    assert list(tmp_path.iterdir()) == []
