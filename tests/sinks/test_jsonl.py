"""The JSONL sink: one whole line a record, each id once, whatever the disk does."""

from __future__ import annotations

import asyncio
import errno
import getpass
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from stt_edge.model import Record
from stt_edge.record_json import record_from_json, record_to_json
from stt_edge.sinks import jsonl_file, registry
from stt_edge.sinks.base import SinkContext, SinkUnavailableError
from stt_edge.sinks.jsonl import JsonlSink, Options
from stt_edge.sinks.jsonl_file import JsonlFile
from tests.sinks.namespaces import environment_of, needs_mounts, run_in_namespace, run_python
from tests.sinks.samples import record


async def write(path: Path, *records: Record) -> None:
    sink = JsonlSink(path)
    await sink.open()
    for each in records:
        await sink.write(each)
    await sink.close()


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def line_of(record_id: str) -> bytes:
    return json.dumps({"id": record_id}).encode() + b"\n"


async def test_a_record_is_one_line_of_utf8_that_reads_back_as_the_record(tmp_path: Path) -> None:
    path = tmp_path / "transcripts.jsonl"
    said = record('Opnaðu gluggann, 窓を開けて, 🪟\nzwei\u2028Zeilen\x00 "so"')
    await write(path, said)
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert "gluggann, 窓を開けて, 🪟".encode() in data
    assert record_from_json(json.loads(data)) == said
    assert json.loads(data) == record_to_json(said)


async def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    await write(tmp_path / "t.jsonl", record("half a pair: \ud83e"), record("next"))
    lines = (tmp_path / "t.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["half a pair: ?", "next"]


async def test_file_and_directories_are_made_with_their_modes_whatever_the_umask(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log" / "stt-edge" / "transcripts.jsonl"
    before = os.umask(0o077)
    try:
        await write(path, record())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


async def test_an_existing_file_keeps_its_mode_and_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line_of("old"))
    path.chmod(0o604)
    await write(path, new := record())
    assert ids_in(path) == ["old", new.id]
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


async def test_each_line_is_synced_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.jsonl"
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    await write(path, record(), record())
    first, second = (len(line) + 1 for line in path.read_bytes().splitlines())
    assert synced == [first, first + second]


async def test_an_id_in_the_live_file_or_its_predecessor_is_not_written_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    rotated, live, fresh = record(), record(), record()
    await write(path, rotated)
    path.rename(tmp_path / "t.jsonl.1")
    await write(path, live)
    await write(path, rotated, live, fresh, fresh)
    assert ids_in(path) == [live.id, fresh.id]


async def test_a_torn_last_line_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    torn, after = record(), record()
    await write(path, record(), torn)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    await write(path, torn, after)
    lines = path.read_bytes().splitlines()
    assert lines[1] == whole[:-20].splitlines()[1], "what was torn stays as it is"
    assert [json.loads(line)["id"] for line in lines[2:]] == [torn.id, after.id]


async def test_zeros_left_by_a_power_cut_cost_one_bad_line_and_no_record(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line_of("old") + b"\0" * 4096)
    await write(path, new := record())
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[2])["id"] == new.id


def test_reading_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.jsonl"
    lines = [line_of(f"{number:08}") for number in range(1000)]
    path.write_bytes(b"".join(lines))
    monkeypatch.setattr(jsonl_file, "READ_BACK_BYTES", 10 * len(lines[0]))
    file = JsonlFile(path)
    file.open()
    assert not file.append("00000990", lines[990])
    assert file.append("00000989", lines[989]), "further back than is read"
    file.close()


def test_an_id_is_remembered_across_many_lines_and_memory_is_bounded(tmp_path: Path) -> None:
    file = JsonlFile(tmp_path / "t.jsonl")
    file.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: None)
        for number in range(jsonl_file.REMEMBERED_IDS + 10):
            file.append(str(number), line_of(str(number)))
    assert len(file._ids) == jsonl_file.REMEMBERED_IDS
    assert not file.append("10", line_of("10"))
    file.close()


def test_a_line_that_cannot_be_synced_is_cut_off_and_written_once_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.jsonl"
    file = JsonlFile(path)
    file.open()
    file.append("a", line_of("a"))

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            file.append("b", line_of("b"))
    assert ids_in(path) == ["a"]
    assert file.append("b", line_of("b"))
    assert ids_in(path) == ["a", "b"]
    file.close()


SHORT_WRITE = """
import asyncio, errno, resource, sys
from pathlib import Path
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.jsonl import JsonlSink
from tests.sinks.samples import record

async def main(path):
    sink, first, second = JsonlSink(path), record("one"), record("two")
    await sink.open()
    await sink.write(first)
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
    try:
        await sink.write(second)
    except SinkUnavailableError as error:
        print(error)
    assert path.stat().st_size == size, path.read_bytes()[size:]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await sink.close()
    await sink.open()
    await sink.write(second)
    await sink.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_short_write_is_cut_back_and_the_line_written_whole_later(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    done = run_python(SHORT_WRITE, path)
    assert done.returncode == 0, done.stderr
    assert "only 10 of" in done.stdout
    assert [json.loads(line)["text"] for line in path.read_bytes().splitlines()] == ["one", "two"]


FULL_DISK = """
import asyncio, os
from pathlib import Path
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.jsonl import JsonlSink
from tests.sinks.samples import record

async def main(directory):
    path, refused = directory / "t.jsonl", None
    sink = JsonlSink(path)
    await sink.open()
    texts = [f"{number}: " + "word " * 300 for number in range(100)]
    taken = []
    for text in texts:
        said = record(text)
        try:
            await sink.write(said)
        except SinkUnavailableError as error:
            refused = said
            print(error)
            break
        taken.append(said.text)
    assert refused is not None and path.read_bytes().endswith(b"\\n")
    (directory / "ballast").unlink()
    await sink.close()
    await sink.open()
    await sink.write(refused)
    await sink.close()
    import json
    assert [json.loads(l)["text"] for l in path.read_bytes().splitlines()] == [*taken, refused.text]

asyncio.run(main(Path("/mnt")))
"""


@needs_mounts
def test_a_full_disk_is_named_with_its_remedy_and_loses_nothing() -> None:
    done = run_in_namespace(
        "mount -t tmpfs -o size=128k tmpfs /mnt\nhead -c 65536 /dev/zero >/mnt/ballast\nrun",
        FULL_DISK,
    )
    assert "/mnt/t.jsonl cannot be written: " in done.stdout
    assert "Free space there" in done.stdout


READ_ONLY_DISK = """
import asyncio, os, subprocess
from pathlib import Path
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.jsonl import JsonlSink
from tests.sinks.samples import record

async def main(path):
    sink = JsonlSink(path)
    subprocess.run(["mount", "-o", "remount,ro", "/mnt"], check=True)
    try:
        await sink.open()
    except SinkUnavailableError as error:
        print(error)
    subprocess.run(["mount", "-o", "remount,rw", "/mnt"], check=True)
    await sink.open()
    await sink.write(record())
    await sink.close()

asyncio.run(main(Path("/mnt/t.jsonl")))
"""


@needs_mounts
def test_a_disk_that_is_read_only_is_named_with_its_remedy_and_used_again_later() -> None:
    done = run_in_namespace("mount -t tmpfs tmpfs /mnt\nrun", READ_ONLY_DISK)
    assert "Read-only file system. Make the file system writable" in done.stdout


NOBODY = """
import asyncio, os, sys
from pathlib import Path
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.jsonl import JsonlSink

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(JsonlSink(Path(sys.argv[1])).open())
except SinkUnavailableError as error:
    print(error)
"""


def test_a_directory_of_somebody_else_is_named_with_the_user_that_needs_it() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o500)
        done = run_python(NOBODY, f"{directory}/t.jsonl")
    assert done.returncode == 0, done.stderr
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    assert f"Permission denied. Let user {user} write there" in done.stdout


async def test_a_directory_that_vanishes_makes_the_sink_unavailable_until_it_is_opened_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log" / "t.jsonl"
    sink = JsonlSink(path)
    await sink.open()
    await sink.write(record())
    path.unlink()
    path.parent.rmdir()
    lost = record()
    with pytest.raises(SinkUnavailableError, match="Create the directory"):
        await sink.write(lost)
    await sink.close()
    await sink.open()
    await sink.write(lost)
    await sink.close()
    assert ids_in(path) == [lost.id]


@pytest.mark.parametrize("kind", ["directory", "pipe", "pipe that was rotated"])
async def test_a_path_that_is_no_file_is_refused_without_waiting_for_it(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "t.jsonl"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path if kind == "pipe" else tmp_path / "t.jsonl.1")
    with pytest.raises(SinkUnavailableError, match=r"Name a (regular )?file"):
        await JsonlSink(path).open()


async def test_a_file_that_was_deleted_is_made_anew_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    sink = JsonlSink(path)
    await sink.open()
    await sink.write(record())
    path.unlink()
    await sink.write(new := record())
    await sink.close()
    assert ids_in(path) == [new.id]


async def test_the_event_loop_turns_while_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda fd: disk.wait(30))
    sink = JsonlSink(tmp_path / "t.jsonl")
    await sink.open()
    writing = asyncio.create_task(sink.write(record()))
    while not (tmp_path / "t.jsonl").stat().st_size:
        await asyncio.sleep(0.001)
    assert not writing.done()
    disk.set()
    await writing
    await sink.close()


async def test_closing_does_not_take_the_file_from_under_a_write_that_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, results = threading.Event(), []

    def slow(descriptor: int) -> None:
        disk.wait(30)
        results.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fdatasync", slow)
    path = tmp_path / "t.jsonl"
    sink = JsonlSink(path)
    await sink.open()
    writing = asyncio.create_task(sink.write(record()))
    while not path.stat().st_size:
        await asyncio.sleep(0.001)
    writing.cancel()
    closing = asyncio.create_task(sink.close())
    await asyncio.sleep(0.01)
    disk.set()
    await closing
    assert results == [path.stat().st_ino]


def test_the_registry_builds_it_with_its_own_path_or_the_default_one(tmp_path: Path) -> None:
    context = SinkContext(logs_directory=tmp_path)
    default = registry.build("jsonl", None, context)
    chosen = registry.build("jsonl", Options(path="/srv/said.jsonl"), context)
    assert isinstance(default, JsonlSink)
    assert isinstance(chosen, JsonlSink)
    assert default.path == tmp_path / "transcripts.jsonl"
    assert chosen.path == Path("/srv/said.jsonl")


KILLED = """
import asyncio, sys
from pathlib import Path
from stt_edge.sinks.jsonl import JsonlSink
from tests.sinks.samples import record

async def main(path, first):
    sink = JsonlSink(path)
    await sink.open()
    for number in range(first, 100_000):
        await sink.write(record("word " * 50, id=f"id-{number:06}"))
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_killed_at_any_moment_nothing_acknowledged_is_missing_and_no_id_is_there_twice(
    tmp_path: Path,
) -> None:
    path, acknowledged = tmp_path / "t.jsonl", -1
    for round_number in range(6):
        repeat_from = max(0, acknowledged - 5)  # as a cursor that is behind would
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(repeat_from)],
            env=environment_of(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        for _ in range(10 + 7 * round_number):
            acknowledged = max(acknowledged, int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        acknowledged = max([acknowledged, *map(int, rest)])
        writer.wait()
        writer.stdout.close()
    ids = []
    for line in path.read_bytes().split(b"\n"):
        try:
            ids.append(json.loads(line)["id"])
        except ValueError:
            continue
    assert len(ids) == len(set(ids))
    assert set(ids) >= {f"id-{number:06}" for number in range(acknowledged + 1)}
