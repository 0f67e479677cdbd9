"""Opening a store that is old, new, foreign, forbidden or damaged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stt_edge.errors import ExitCode, StoreError, SttEdgeError
from stt_edge.model import UtteranceState
from stt_edge.store import schema
from stt_edge.store.opening import StoreOpening
from stt_edge.store.store import Store
from tests.fakes.disk import run_on_small_disk
from tests.store.making import head, part, record, tail

COUNT = 60


def fill(path: Path, count: int = COUNT) -> list[str]:
    """Write finished utterances and one unfinished, and close in good order; returns the ids."""
    store = Store.open(path)
    ids = []
    for number in range(count):
        start = head()
        store.add_utterance(start)
        store.commit_part(part(start.id), 17_001)
        store.end_utterance(start.id, tail())
        text = f"record {number} " + "word " * 60
        store.finish(start.id, UtteranceState.DONE, record(start.id, text=text))
        ids.append(start.id)
    last = head()
    store.add_utterance(last)
    store.commit_part(part(last.id), 17_001)
    store.set_cursor("jsonl", count)
    store.close()
    return [*ids, last.id]


def check_usable(store: Store) -> None:
    """Do everything a daemon does."""
    start = head()
    before = store.last_seq()
    store.add_utterance(start)
    store.commit_part(part(start.id), 17_001)
    store.end_utterance(start.id, tail())
    assert store.finish(start.id, UtteranceState.DONE, record(start.id)) == before + 1
    assert store.records_after(before, 10) == [(before + 1, record(start.id))]


def test_a_new_store_is_made_with_its_directories(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "a" / "b" / "store.db")
    assert store.opening == StoreOpening()
    check_usable(store)
    store.close()


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_content(path: Path) -> None:
    ids = fill(path, 3)
    later = (*schema.MIGRATIONS, ("ALTER TABLE records ADD COLUMN later TEXT",))
    connection = schema.connect(path)
    schema.migrate(connection, path, later)
    assert schema.check_version(connection, path, later) == len(schema.MIGRATIONS) + 1
    rows = connection.execute("SELECT id, later FROM records").fetchall()
    assert rows == [(id_, None) for id_ in ids[:-1]]
    schema.migrate(connection, path, later)
    connection.close()


def test_a_migration_that_fails_leaves_everything_as_it_was(path: Path) -> None:
    fill(path, 3)
    bad = (*schema.MIGRATIONS, ("CREATE TABLE extra (a)", "this is no SQL"))
    connection = schema.connect(path)
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        schema.migrate(connection, path, bad)
    connection.close()
    store = Store.open(path)
    assert store.opening == StoreOpening()
    assert len(store.records_after(0, 10)) == 3
    store.close()


def test_a_newer_schema_is_refused_with_exit_78_and_left_untouched(path: Path) -> None:
    fill(path, 3)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    for opening in (Store.open, Store.open_read_only):
        with pytest.raises(SttEdgeError, match="later version") as caught:
            opening(path)
        assert caught.value.exit_code == ExitCode.CONFIG
        assert "Install that version" in caught.value.remedy
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_untouched(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (thing)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program") as caught:
        Store.open(path)
    assert "Move it away" in caught.value.remedy
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_a_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "store.db"
    folder.mkdir()
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (folder, blocked / "store.db"):
        with pytest.raises(StoreError, match="Cannot open") as caught:
            Store.open(path)
        assert str(path.parent) in caught.value.remedy


OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from stt_edge.errors import StoreError
from stt_edge.store.store import Store
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("exists", [True, False])
def test_a_store_without_permission_is_an_error_with_a_remedy(path: Path, exists: bool) -> None:
    if exists:
        fill(path, 1)
    for each in (path.parents[2], path.parents[1]):
        each.chmod(0o755)
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "Permission denied" in done.stdout
    assert f"Give {path.parent} to the user that runs stt-edge" in done.stdout


OPEN_ON_FULL_DISK = """
import sys
from pathlib import Path
from stt_edge.errors import StoreError
from stt_edge.store.store import Store

disk = Path(sys.argv[1])
try:
    Store.open(disk / "store.db")
except StoreError as error:
    print(error)
"""


def test_a_full_file_system_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    said = run_on_small_disk(OPEN_ON_FULL_DISK, tmp_path / "small", 16)
    assert said.startswith("Cannot open the store")
    assert "space" in said


@pytest.mark.parametrize(
    "content", [b"garbage", b"\xff" * 100_000, b"SQLite format 3\0" + b"x" * 8000]
)
def test_garbage_is_kept_aside_and_a_new_store_begun(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = Store.open(path)
    opening = store.opening
    assert opening.damaged_path is not None
    assert opening.damaged_path.read_bytes() == content
    assert opening.damaged_path.name.startswith("store.db.damaged-2")
    assert opening.reason
    assert opening.salvaged_records == 0
    check_usable(store)
    store.close()
    again = Store.open(path)
    assert again.opening == StoreOpening()
    assert len(again.records_after(0, 10)) == 1
    again.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "store.db",
        opening.damaged_path.name,
    ]


def test_a_second_damage_within_the_same_second_is_kept_too(path: Path) -> None:
    path.parent.mkdir()
    kept = []
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        store = Store.open(path)
        assert store.opening.damaged_path is not None
        kept.append(store.opening.damaged_path)
        store.close()
    assert [each.read_bytes() for each in kept] == [b"one", b"two", b"three"]


def test_one_bad_page_costs_the_rows_on_it_and_everything_else_is_salvaged(path: Path) -> None:
    ids = fill(path)
    pages = leaf_pages(path, "records")
    spoil(path, pages[len(pages) // 2])
    damaged = path.read_bytes()
    store = Store.open(path)
    opening = store.opening
    assert opening.damaged_path is not None
    assert opening.damaged_path.read_bytes() == damaged
    assert COUNT - 10 <= opening.salvaged_records < COUNT
    assert opening.salvaged_utterances == len(ids)
    assert opening.salvaged_parts == len(ids)
    records = store.records_after(0, 100)
    assert len(records) == opening.salvaged_records
    for seq, each in records:
        assert each.id == ids[seq - 1]
        assert each.text.startswith(f"record {seq - 1} word")
    (unfinished,) = store.unfinished()
    assert (unfinished.id, unfinished.acked_sample) == (ids[-1], 17_001)
    assert store.parts(ids[-1]) == [part(ids[-1])]
    assert (store.cursor("jsonl"), store.last_seq()) == (COUNT, COUNT)
    check_usable(store)
    store.close()


def test_a_salvaged_utterance_whose_record_is_lost_is_not_done_again(path: Path) -> None:
    ids = fill(path)
    for page in leaf_pages(path, "records"):
        spoil(path, page)
    store = Store.open(path)
    assert store.opening.salvaged_records < COUNT
    assert [row.id for row in store.unfinished()] == [ids[-1]]
    assert store.last_seq() == COUNT, "behind every cursor, or a sink would miss what comes"
    check_usable(store)
    store.close()


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_store_gives_what_is_left_of_it(path: Path, keep: float) -> None:
    fill(path)
    size = path.stat().st_size
    os.truncate(path, int(size * keep) // 4096 * 4096 + (100 if keep else 0))
    store = Store.open(path)
    assert store.opening.damaged_path is not None or keep == 0
    if keep >= 0.9:
        assert store.opening.salvaged_records > COUNT // 2
    check_usable(store)
    store.close()


def test_random_damage_anywhere_never_stops_a_start(path: Path) -> None:
    ids = fill(path)
    sound = path.parent / "sound.db"
    shutil.copy(path, sound)
    chance = random.Random(4)
    for round_ in range(40):
        for old in path.parent.glob("store.db*"):
            old.unlink()
        data = bytearray(sound.read_bytes())
        for _ in range(1 + round_ % 5):
            at = chance.randrange(len(data))
            length = chance.choice([1, 8, 512, 4096])
            data[at : at + length] = chance.randbytes(len(data[at : at + length]))
        path.write_bytes(data)
        store = Store.open(path)
        records = store.records_after(0, 1000)
        assert all(seq <= COUNT for seq, _ in records)
        # SQLite has no checksums: damage that hits an id, and leaves it text, is not seen.
        assert sum(each.id not in ids for _, each in records) <= 1 + round_ % 5
        store.unfinished()
        check_usable(store)
        store.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CREATE TABLE utterances", b"CREATE TABL\xff utterances"),
        (b"speech_samples INTEGER", b"speech_sample5 INTEGER"),
        (b"tableutterances", b"tableutterance5"),
    ],
)
def test_a_damaged_description_of_a_table_is_damage_and_costs_at_most_that_table(
    path: Path, old: bytes, new: bytes
) -> None:
    fill(path, 5)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    store = Store.open(path)
    assert store.opening.damaged_path is not None
    assert store.opening.reason
    check_usable(store)
    store.close()


def test_a_file_format_sqlite_does_not_know_is_damage(path: Path) -> None:
    fill(path, 5)
    data = bytearray(path.read_bytes())
    data[44:48] = b"\0\0\0\x09"
    path.write_bytes(data)
    store = Store.open(path)
    assert store.opening.reason == "unsupported file format"
    check_usable(store)
    store.close()


def test_tables_and_indexes_somebody_added_do_no_harm(path: Path) -> None:
    fill(path, 5)
    connection = sqlite3.connect(path)
    connection.execute("CREATE INDEX mine ON records (body)")
    connection.execute("ANALYZE")
    connection.close()
    store = Store.open(path)
    assert store.opening == StoreOpening()
    assert len(store.records_after(0, 10)) == 5
    store.close()


@pytest.mark.parametrize("at", [60, 61, 63, 68, 71])
def test_a_header_that_contradicts_the_tables_is_damage_and_costs_no_record(
    path: Path, at: int
) -> None:
    fill(path, 5)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x41
    path.write_bytes(data)
    store = Store.open(path)
    assert store.opening.salvaged_records == 5
    assert store.opening.salvaged_utterances == 6
    store.close()


@pytest.mark.parametrize("junk", [b"\xde\xad\xbe\xef" * 2000, b"x"])
def test_a_garbage_wal_is_kept_aside_and_the_store_goes_on(path: Path, junk: bytes) -> None:
    ids = fill(path)
    path.with_name("store.db-wal").write_bytes(junk)
    store = Store.open(path)
    assert store.opening.damaged_path is not None
    assert store.opening.damaged_path.read_bytes() == junk
    assert "write-ahead log" in store.opening.reason
    assert len(store.records_after(0, 100)) == COUNT
    assert [row.id for row in store.unfinished()] == [ids[-1]]
    check_usable(store)
    store.close()


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_wal_with_a_torn_end_loses_at_most_the_commits_that_are_torn(
    path: Path, cut: int
) -> None:
    store = Store.open(path)
    ids = []
    for _ in range(5):
        start = head()
        store.add_utterance(start)
        ids.append(start.id)
    copy = path.parent / "copy" / "store.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    wal = path.with_name("store.db-wal").read_bytes()
    copy.with_name("store.db-wal").write_bytes(wal[:-cut])
    store.close()
    torn = Store.open(copy)
    found = [row.id for row in torn.unfinished()]
    assert torn.opening == StoreOpening()
    assert found == ids[: len(found)]
    assert len(found) >= 3
    torn.close()


def test_commits_that_only_the_wal_holds_are_salvaged_with_the_rest(path: Path) -> None:
    fill(path)
    store = Store.open(path)
    start = head()
    store.add_utterance(start)
    store.finish(start.id, UtteranceState.DONE, record(start.id))
    copy = path.parent / "copy" / "store.db"
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    store.close()
    spoil(copy, leaf_pages(path, "parts")[0])
    again = Store.open(copy)
    assert again.opening.damaged_path is not None
    assert again.opening.salvaged_records == COUNT + 1
    assert again.last_records(1) == [(COUNT + 1, record(start.id))]
    again.close()


def test_a_replacement_that_a_crash_interrupted_is_finished_or_begun_anew(path: Path) -> None:
    fill(path, 4)
    fresh = path.with_name("store.db.new")
    path.rename(fresh)
    store = Store.open(path)
    assert len(store.records_after(0, 10)) == 4
    store.close()

    fresh.write_bytes(b"half written")
    path.write_bytes(b"damaged")
    store = Store.open(path)
    assert store.opening.damaged_path is not None
    check_usable(store)
    store.close()
    assert not fresh.exists()


def leaf_pages(path: Path, table: str) -> list[int]:
    """Return the numbers of the pages that hold a table's rows, as SQLite's own records say."""
    connection = sqlite3.connect(path)
    root = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
    ).fetchone()[0]
    connection.close()
    data = path.read_bytes()
    return _leaves(data, root)


def _leaves(data: bytes, page: int) -> list[int]:
    at = (page - 1) * 4096
    if data[at] == 0x0D:
        return [page]
    assert data[at] == 0x05
    cells = int.from_bytes(data[at + 3 : at + 5])
    pointers = [int.from_bytes(data[at + 12 + 2 * n : at + 14 + 2 * n]) for n in range(cells)]
    children = [int.from_bytes(data[at + pointer : at + pointer + 4]) for pointer in pointers]
    children.append(int.from_bytes(data[at + 8 : at + 12]))
    return [leaf for child in children for leaf in _leaves(data, child)]


def spoil(path: Path, page: int) -> None:
    """Overwrite a page with what is no page."""
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xaa" * 4096)
