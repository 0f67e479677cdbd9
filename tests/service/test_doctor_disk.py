"""The checks disk and store, with disks that are really full, read-only, or out of inodes."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.errors import PermissionDeniedError
from stt_edge.service.doctor import store as module
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.disk import Place, check_disk, look_at, places
from stt_edge.service.doctor.files import file_system_of, mount_of
from stt_edge.service.doctor.finding import Level
from stt_edge.service.doctor.people import User
from stt_edge.service.doctor.store import check_store
from stt_edge.store.store import Store
from tests.fakes.disk import run_on_small_disk
from tests.service.doctoring import STRANGER, case, found, levels, only, running

# disk

LOOK = """
import subprocess, sys
from pathlib import Path
from stt_edge.service.doctor.disk import Place, look_at
from stt_edge.service.doctor.people import User
mount = Path(sys.argv[1])
{prepare}
for finding in look_at(Place(mount, "results", {needs_mb}, {wants_mb}), User.this(), runs=False):
    print(finding.level.value, finding.message, finding.remedy)
"""


def on_a_small_disk(
    mount: Path, prepare: str = "", *, needs_mb: int = 1, wants_mb: int = 2, size_kib: int = 4096
) -> str:
    script = LOOK.format(prepare=prepare, needs_mb=needs_mb, wants_mb=wants_mb)
    return run_on_small_disk(script, mount, size_kib).strip()


def test_a_disk_with_room_is_well(tmp_path: Path) -> None:
    assert on_a_small_disk(tmp_path / "disk").startswith("ok ")


def test_a_full_disk_fails_and_a_filling_one_is_a_doubt(tmp_path: Path) -> None:
    fill = '(mount / "big").write_bytes(bytes(3_500_000))'
    said = on_a_small_disk(tmp_path / "disk", fill)
    assert said.startswith("fail ")
    assert "0 MB free, and needs 1" in said
    assert f"du -xh {tmp_path / 'disk'}" in said
    said = on_a_small_disk(tmp_path / "disk", wants_mb=100)
    assert said.startswith("warn ")
    assert "an outage may need 100" in said


def test_a_disk_that_has_become_read_only_fails(tmp_path: Path) -> None:
    remount = 'subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)'
    said = on_a_small_disk(tmp_path / "disk", remount)
    assert said.startswith("fail ")
    assert "mounted read-only" in said


def test_a_disk_without_inodes_fails(tmp_path: Path) -> None:
    remount = 'subprocess.run(["mount", "-o", "remount,nr_inodes=20", str(mount)], check=True)'
    said = on_a_small_disk(tmp_path / "disk", remount)
    assert said.startswith("fail ")
    assert "inodes left of 20" in said


def test_a_directory_of_somebody_else_fails(open_place: Path) -> None:
    home = Place(open_place / "state", "results", 0, 0)
    home.path.mkdir(mode=0o755)
    finding = only(look_at(home, STRANGER, runs=True))
    assert (finding.name, finding.level) == ("disk", Level.FAIL)
    assert finding.message == f"stranger may not write to {home.path}."
    assert finding.remedy == f"sudo chown -R stranger {home.path}"


def test_a_directory_that_is_missing_counts_only_while_something_runs(tmp_path: Path) -> None:
    home = Place(tmp_path / "state", "results", 0, 0)
    assert levels(look_at(home, User.this(), runs=False)) == ["ok", "ok"]
    assert levels(look_at(home, User.this(), runs=True)) == ["fail"]
    home.path.touch()
    assert "is no directory" in only(look_at(home, User.this(), runs=True)).message


def test_speech_of_the_moment_belongs_into_memory(tmp_path: Path) -> None:
    if file_system_of(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("temporary files are in memory here already")
    on_disk = Place(tmp_path, "speech of the moment", 0, 0, in_memory=True)
    assert "not in memory" in only(look_at(on_disk, User.this(), runs=True)).message
    shm = replace(on_disk, path=Path("/dev/shm"))
    assert levels(look_at(shm, User.this(), runs=True)) == ["ok"]


def test_each_directory_is_looked_at_once(tmp_path: Path) -> None:
    there = case(tmp_path)
    assert len(places(there)) == 3
    same = replace(there.paths, logs=there.paths.state)
    assert len(places(replace(there, paths=same))) == 2
    assert {finding.name for finding in found(check_disk(there))} == {"disk"}


def test_where_a_file_system_begins_is_known() -> None:
    assert mount_of(Path("/proc/self/status")) == Path("/proc")
    assert file_system_of(Path("/proc/self")) == "proc"


# store


@pytest.fixture
def there(tmp_path: Path) -> Case:
    """A case with a store that holds nothing yet."""
    found = case(tmp_path)
    Store.open(found.paths.database).close()
    return found


def names(there: Case) -> set[str]:
    return {path.name for path in there.paths.state.iterdir()}


def test_a_sound_store_is_well_and_nothing_is_left_beside_it(there: Case) -> None:
    before = names(there)
    finding = only(check_store(there))
    assert (finding.name, finding.level) == ("store", Level.OK)
    assert "is sound: schema " in finding.message
    assert names(there) == before


def test_a_store_in_use_is_read_beside_its_owner(there: Case) -> None:
    with contextlib.closing(sqlite3.connect(there.paths.database)) as owner:
        owner.execute("PRAGMA journal_mode = WAL")
        owner.execute("INSERT INTO meta VALUES ('a', 'b')")
        owner.commit()
        in_use = replace(there, status=running())
        assert levels(check_store(in_use)) == ["ok"]
        owner.execute("INSERT INTO meta VALUES ('c', 'd')")  # it is not locked
        owner.commit()


def test_a_store_that_is_not_the_services_is_left_alone(there: Case) -> None:
    finding = only(check_store(replace(there, status=running(), user=STRANGER)))
    assert finding.level is Level.WARN
    assert "is not stranger's" in finding.message


def test_no_store_is_well(tmp_path: Path) -> None:
    assert levels(check_store(case(tmp_path))) == ["ok"]


def test_a_store_with_garbage_in_it_fails(there: Case) -> None:
    content = bytearray(there.paths.database.read_bytes())
    content[4096:8192] = b"\xa5" * 4096
    there.paths.database.write_bytes(content)
    finding = only(check_store(there))
    assert finding.level is Level.FAIL
    assert "store.db" in finding.message


def test_a_file_that_is_no_database_fails(there: Case) -> None:
    there.paths.database.write_bytes(b"not a database, and quite long" * 200)
    assert only(check_store(there)).level is Level.FAIL


def test_a_store_of_a_later_version_fails_with_what_to_install(there: Case) -> None:
    with contextlib.closing(sqlite3.connect(there.paths.database)) as later:
        later.execute("PRAGMA user_version = 40")
    finding = only(check_store(there))
    assert finding.level is Level.FAIL
    assert "later version" in finding.message
    assert "Install that version" in finding.remedy


def test_a_store_left_by_a_crash_is_not_looked_into(there: Case) -> None:
    there.paths.database.with_name("store.db-wal").write_bytes(b"rest")
    finding = only(check_store(there))
    assert finding.level is Level.WARN
    assert "systemctl start" in finding.remedy


def test_a_store_that_takes_too_long_is_given_up(
    there: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LIMIT_S", -1.0)
    monkeypatch.setattr(module, "_STEPS", 1)
    finding = only(check_store(there))
    assert finding.level is Level.WARN
    assert "could not be read through" in finding.message


def test_a_store_behind_a_service_that_may_not_be_asked_is_read_as_one_in_use(
    there: Case,
) -> None:
    assert replace(there, silence=PermissionDeniedError("You may not.", "Join.")).runs
