"""What the store lets go of by itself, and what it deletes when it is told to."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_edge.model import UtteranceState
from stt_edge.store import schema
from stt_edge.store.retention import Forgotten, RetentionRules
from stt_edge.store.store import Store
from tests.store.making import head, part, record, tail

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
ROOMY = RetentionRules(max_bytes=1 << 30, oldest=NOW - MONTH)


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with contextlib.closing(Store.open(path)) as opened:
        yield opened


def said(
    store: Store,
    days_ago: float,
    state: UtteranceState = UtteranceState.DONE,
    *,
    synced: bool = True,
    text: str = "turn the light on",
    with_record: bool = True,
) -> str:
    """Store an utterance with a part and a record, as far as its state goes."""
    started_at = NOW - timedelta(days=days_ago)
    start = head(started_at=started_at, clock_unsynced=not synced)
    store.add_utterance(start)
    store.commit_part(part(start.id, text=text), start.start)
    if state is not UtteranceState.OPEN:
        store.end_utterance(start.id, tail())
    if state in (UtteranceState.DONE, UtteranceState.DROPPED, UtteranceState.POISONED):
        made = record(start.id, text=text, start=started_at, clock_unsynced=not synced)
        has_record = with_record and state is UtteranceState.DONE
        store.finish(start.id, state, made if has_record else None)
    return start.id


def expire(store: Store, rules: RetentionRules, audio: tuple[str, ...] = ()) -> list[str]:
    """Delete all that may be deleted now; returns the ids in order."""
    gone: list[str] = []
    while ids := store.retention.expired(rules, audio, 3):
        store.retention.forget(ids)
        gone += ids
    return gone


def path_of(store: Store) -> Path:
    return store.retention._database.path


def there(store: Store) -> set[str]:
    """The ids that are found anywhere in the store."""
    ids: set[str] = set()
    with contextlib.closing(sqlite3.connect(path_of(store))) as raw:
        for query in (
            "SELECT id FROM utterances",
            "SELECT utterance_id FROM parts",
            "SELECT utterance_id FROM records",
        ):
            ids |= {row[0] for row in raw.execute(query)}
    return ids


def test_what_is_old_and_finished_goes_and_nothing_else(store: Store) -> None:
    old = said(store, 31)
    dropped = said(store, 40, UtteranceState.DROPPED)
    young = said(store, 29)
    unfinished = [said(store, 50, state) for state in (UtteranceState.OPEN, UtteranceState.ENDED)]
    assert expire(store, ROOMY) == [dropped, old]
    assert there(store) == {young, *unfinished}


def test_a_poisoned_one_stays_as_long_as_its_audio(store: Store) -> None:
    poisoned = said(store, 40, UtteranceState.POISONED)
    assert expire(store, ROOMY, (poisoned,)) == []
    assert expire(store, ROOMY, ("another",)) == [poisoned]


def test_nothing_is_too_old_while_nobody_knows_what_time_it_is(store: Store) -> None:
    old = said(store, 1000)
    assert expire(store, replace(ROOMY, oldest=None)) == []
    assert there(store) == {old}


def test_what_was_stamped_by_a_clock_not_known_to_be_right_never_counts_as_old(
    store: Store,
) -> None:
    said(store, 20_000, synced=False)
    assert expire(store, ROOMY) == []


def test_beyond_the_room_allowed_the_oldest_go_in_the_order_of_the_store(store: Store) -> None:
    ids = [said(store, days, synced=days != 3, text="x" * 3000) for days in (1, 9, 3, 7, 2, 5)]
    room = store.retention.used_bytes() - 1
    gone = expire(store, RetentionRules(max_bytes=room))
    assert gone == ids[: len(gone)]
    assert 0 < len(gone) < len(ids)
    assert store.retention.used_bytes() <= room


def test_what_a_configured_sink_has_not_been_given_stays_whatever_its_age_and_size(
    store: Store,
) -> None:
    ids = [said(store, 31 + number, text="x" * 3000) for number in range(6)]
    store.set_cursor("jsonl", 6)
    store.set_cursor("mqtt", 2)
    tiny = replace(ROOMY, max_bytes=1, sinks=frozenset(("jsonl", "mqtt")))
    assert sorted(expire(store, tiny)) == sorted(ids[:2])
    assert store.retention.behind(tiny) == ["mqtt"]
    without = replace(tiny, sinks=frozenset(("jsonl",)))
    assert store.retention.behind(without) == []
    assert sorted(expire(store, without)) == sorted(ids[2:])


def test_a_sink_without_a_cursor_holds_back_from_where_it_stands(store: Store) -> None:
    ids = [said(store, 40), said(store, 39)]
    rules = replace(ROOMY, sinks=frozenset(("stdout",)), positions={"stdout": 1, "gone": 0})
    assert expire(store, rules) == ids[:1]
    assert store.retention.behind(rules) == ["stdout"]


def test_numbers_are_not_given_twice(store: Store) -> None:
    for days in (40, 39, 38):
        said(store, days)
    assert store.last_seq() == 3
    assert len(expire(store, ROOMY)) == 3
    assert store.last_seq() == 3
    said(store, 1)
    assert store.last_seq() == 4
    assert [seq for seq, _ in store.records_after(3, 9)] == [4]


def test_forgetting_twice_is_no_error_and_an_unfinished_one_is_given_up_first(
    store: Store,
) -> None:
    waiting, other = said(store, 1, UtteranceState.ENDED), said(store, 1, UtteranceState.ENDED)
    done = said(store, 1)
    assert store.retention.forget([waiting, done]) == Forgotten(1, 1)
    assert store.retention.forget([waiting, done]) == Forgotten(0, 0)
    assert there(store) == {waiting, other}
    store.retention.give_up([waiting, done, "unheard of"])
    assert [row.id for row in store.unfinished()] == [other]
    assert store.retention.forget([waiting]) == Forgotten(1, 0)
    assert there(store) == {other}


def test_what_was_said_before_a_moment_is_everything_but_the_open_one(store: Store) -> None:
    ids = [said(store, 3), said(store, 2, UtteranceState.ENDED), said(store, 2, synced=False)]
    poisoned = said(store, 2, UtteranceState.POISONED)
    unsynced = said(store, -9, synced=False)  # a clock ahead of its time: its place tells
    said(store, 1.5, UtteranceState.OPEN)
    last = said(store, 1.25)
    said(store, 0.5)
    before = NOW - timedelta(days=1)
    retention = store.retention
    found = retention.said_before(before, 99)
    assert found == [*ids, poisoned, unsynced, last]
    assert retention.said_before(before, 2) == found[:2]
    assert retention.count_before(before) == Forgotten(6, 4)
    assert len(retention.said_before(None, 99)) == 7
    assert len(retention.said_before(None, 99, with_open=True)) == 8
    assert retention.count_before(None, with_open=True) == Forgotten(8, 5)


def test_what_a_damage_left_of_an_utterance_goes_too(store: Store) -> None:
    ids = [said(store, 2), said(store, 1), said(store, 1, synced=False)]
    with contextlib.closing(sqlite3.connect(path_of(store), isolation_level=None)) as raw:
        raw.execute("DELETE FROM utterances")
        raw.execute("DELETE FROM records WHERE utterance_id = ?", (ids[0],))
    later = datetime.now(UTC) + timedelta(hours=1)  # their ids were made now
    rules = RetentionRules(max_bytes=1 << 30, oldest=later, sinks=frozenset(("jsonl",)))
    retention = store.retention
    assert retention.strays(replace(rules, oldest=later - MONTH), 9) == []
    assert retention.strays(replace(rules, oldest=None), 9) == []
    assert set(retention.strays(rules, 9)) == set(ids[:2])
    store.set_cursor("jsonl", 0)
    assert retention.strays(rules, 9) == ids[:1]
    assert set(retention.said_before(later, 9)) == set(ids)
    assert retention.count_before(later) == Forgotten(3, 2)
    assert retention.said_before(later - MONTH, 9) == []
    assert set(expire(store, RetentionRules(max_bytes=1))) == set(ids)


def test_what_providers_were_used_for_is_forgotten_by_the_day(store: Store) -> None:
    days = [date(2026, 1, 1), date(2026, 1, 2)]
    for day in days:
        store.add_usage("cloud", day, seconds_sent=1)
    store.retention.forget_usage(days[1])
    assert [len(store.usage(day)) for day in days] == [0, 1]


# Secrets

SIZES = st.integers(0, 9000)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=60), data=st.data())
def test_what_is_forgotten_is_in_no_byte_of_the_files(
    memory_path: Path, sizes: list[tuple[int, bool]], data: st.DataObject
) -> None:
    path = memory_path / "secrets" / "store.db"
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(Store.open(path)) as store:
        ids = [
            said(store, 1, text=f"SECRET-{number:03d}" + "y" * size)
            for number, (size, _) in enumerate(sizes)
        ]
        forgotten = [n for n, (_, goes) in enumerate(sizes) if goes]
        for number in data.draw(st.permutations(forgotten)):
            store.retention.forget([ids[number]])
        assert store.retention.truncate_log()
        content = b"".join(
            file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")
        )
        for number in range(len(sizes)):
            assert (f"SECRET-{number:03d}".encode() in content) is (number not in forgotten)


def test_a_reader_in_the_way_is_told_and_the_next_attempt_succeeds(store: Store) -> None:
    secret = said(store, 1, text="SECRET")
    with contextlib.closing(sqlite3.connect(path_of(store), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchall()
        store.retention.forget([secret])
        assert not store.retention.truncate_log()
        reader.execute("COMMIT")
        assert store.retention.truncate_log()
    assert b"SECRET" not in path_of(store).with_name("store.db-wal").read_bytes()
    assert b"SECRET" not in path_of(store).read_bytes()


def test_a_store_of_the_schema_before_is_migrated_and_loses_nothing(path: Path) -> None:
    with contextlib.closing(Store.open(path)) as store:
        old, young = said(store, 40), said(store, 1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("DROP INDEX utterances_by_age")
        raw.execute("PRAGMA user_version = 2")
    with contextlib.closing(Store.open(path)) as store:
        assert store.opening.damaged_path is None
        assert there(store) == {old, young}
        assert expire(store, ROOMY) == [old]
    with contextlib.closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
        plan = raw.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM utterances WHERE state IN"
            " ('done', 'dropped', 'poisoned') AND clock_unsynced = 0 AND started_at < '2026'"
        ).fetchall()
    assert "utterances_by_age" in str(plan)


# The rules, against a model that is as plain as can be

STATES = st.sampled_from(list(UtteranceState))


@dataclass
class Modelled:
    """An utterance as the rules see it."""

    id: str
    days: int
    state: UtteranceState
    synced: bool
    seq: int
    """Of its record; 0 where it has none."""
    audio: bool

    def free(self, reached: int) -> bool:
        finished = self.state in (UtteranceState.DONE, UtteranceState.DROPPED)
        aside = self.state is UtteranceState.POISONED and not self.audio
        return (finished or aside) and self.seq <= reached


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    history=st.lists(
        st.tuples(st.integers(0, 60), STATES, st.booleans(), st.booleans(), st.booleans()),
        max_size=25,
    ),
    cursors=st.dictionaries(st.sampled_from("abc"), st.integers(0, 25)),
    configured=st.frozensets(st.sampled_from("abc")),
    knows_time=st.booleans(),
    share=st.floats(0, 1.2),
    limit=st.integers(1, 7),
)
def test_what_must_stay_stays_and_what_must_go_goes(
    memory_path: Path,
    *,
    history: list[tuple[int, UtteranceState, bool, bool, bool]],
    cursors: dict[str, int],
    configured: frozenset[str],
    knows_time: bool,
    share: float,
    limit: int,
) -> None:
    path = memory_path / "model" / "store.db"
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(Store.open(path)) as store:
        modelled = []
        for days, state, synced, has_record, audio in history:
            before = store.last_seq()
            id_ = said(
                store, days, state, synced=synced, with_record=has_record, text="x" * 100 * days
            )
            seq = store.last_seq() if store.last_seq() > before else 0
            modelled.append(Modelled(id_, days, state, synced, seq, audio))
        for sink, seq in cursors.items():
            store.set_cursor(sink, seq)
        last_seq = store.last_seq()
        reached = min((seq for sink, seq in cursors.items() if sink in configured), default=1000)
        room = round(store.retention.used_bytes() * share)
        oldest = NOW - MONTH if knows_time else None
        rules = RetentionRules(max_bytes=room, oldest=oldest, sinks=configured)
        audio_ids = [each.id for each in modelled if each.audio]

        gone: list[str] = []
        while ids := store.retention.expired(rules, audio_ids, limit):
            assert len(ids) <= limit
            store.retention.forget(ids)
            gone += ids

        free = [each for each in modelled if each.free(reached)]
        too_old = {each.id for each in free if knows_time and each.synced and each.days > 30}
        assert set(gone[: len(too_old)]) == too_old
        for_room = gone[len(too_old) :]
        rest = [each.id for each in free if each.id not in too_old]
        assert for_room == rest[: len(for_room)]
        assert store.retention.used_bytes() <= room or len(for_room) == len(rest)
        assert there(store) == {each.id for each in modelled} - set(gone)
        assert store.last_seq() == last_seq
