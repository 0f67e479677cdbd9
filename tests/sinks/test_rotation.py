"""Rotation of the JSONL file by others while it is written: nothing lost, nothing doubled."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stt_edge.sinks.jsonl_file import LINGER_S, JsonlFile
from tests.sinks.namespaces import ROOT

LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
SHIPPED = ROOT / "config" / "logrotate"

needs_logrotate = pytest.mark.skipif(
    LOGROTATE is None or os.geteuid() != 0,
    reason="no logrotate here" if LOGROTATE is None else "logrotate's su needs root",
)


def line(number: int) -> bytes:
    return json.dumps({"id": f"id-{number}"}).encode() + b"\n"


def ids(data: bytes) -> list[str]:
    return [json.loads(each)["id"] for each in data.splitlines()]


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_line_between_rename_and_create_goes_to_the_file_that_was_moved(tmp_path: Path) -> None:
    path, moved, clock = tmp_path / "t.jsonl", tmp_path / "t.jsonl.1", Clock()
    file = JsonlFile(path, clock_s=clock)
    file.open()
    file.append("id-0", line(0))
    path.rename(moved)
    file.append("id-1", line(1))
    assert not path.exists(), "logrotate takes a file that is in its way aside"
    path.touch()
    file.append("id-2", line(2))
    file.close()
    assert ids(moved.read_bytes()) == ["id-0", "id-1"]
    assert ids(path.read_bytes()) == ["id-2"]


def test_where_nobody_creates_the_new_file_it_is_created_after_a_moment(tmp_path: Path) -> None:
    path, clock = tmp_path / "t.jsonl", Clock()
    file = JsonlFile(path, clock_s=clock)
    file.open()
    for number in range(2):
        path.rename(tmp_path / f"moved-{number}")
        file.append(f"id-{3 * number}", line(3 * number))
        clock.now_s += LINGER_S / 2
        file.append(f"id-{3 * number + 1}", line(3 * number + 1))
        assert not path.exists()
        clock.now_s += LINGER_S
        file.append(f"id-{3 * number + 2}", line(3 * number + 2))
        assert ids(path.read_bytes()) == [f"id-{3 * number + 2}"]
    file.close()


def test_reopen_creates_the_new_file_at_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = JsonlFile(path)
    file.open()
    path.rename(tmp_path / "moved")
    file.reopen()
    file.append("id-0", line(0))
    file.close()
    assert ids(path.read_bytes()) == ["id-0"]
    assert (tmp_path / "moved").read_bytes() == b""


def test_a_successor_that_may_not_be_opened_yet_does_not_stop_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, moved = tmp_path / "t.jsonl", tmp_path / "moved"
    file = JsonlFile(path, clock_s=Clock())
    file.open()
    path.rename(moved)
    path.touch()
    really = os.open

    def refuse(name: object, flags: int, mode: int = 0o777) -> int:
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(os, "open", refuse)  # created by root, not given away yet
    file.append("id-0", line(0))
    monkeypatch.setattr(os, "open", really)
    file.append("id-1", line(1))
    file.close()
    assert ids(moved.read_bytes()) == ["id-0"]
    assert ids(path.read_bytes()) == ["id-1"]


def test_copytruncate_leaves_no_hole_and_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = JsonlFile(path)
    file.open()
    for number in range(5):
        file.append(f"id-{number}", line(number))
        if number == 2:
            os.truncate(path, 0)
    file.close()
    assert ids(path.read_bytes()) == ["id-3", "id-4"]


def shipped_configuration(directory: Path, user: str = "root", group: str = "root") -> str:
    text = SHIPPED.read_text()
    assert "su stt-edge adm" in text
    assert "create 0640 stt-edge adm" in text
    text = text.replace("/var/log/stt-edge", str(directory))
    return text.replace("stt-edge adm", f"{user} {group}")


def logrotate(option: str, configuration: Path) -> subprocess.CompletedProcess[str]:
    assert LOGROTATE is not None
    return subprocess.run(
        [LOGROTATE, option, "--state", configuration.with_name("state"), configuration],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )


class Writer(threading.Thread):
    """Appends lines as fast as the disk takes them, until it is told to stop."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = JsonlFile(path)
        self._file.open()
        self._stop_asked = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self._file.append(f"id-{self.count}", line(self.count))
            self.count += 1
        self._file.close()

    def finish(self) -> None:
        self._stop_asked.set()
        self.join()

    def wait_for(self, more: int) -> None:
        wanted = self.count + more
        while self.count < wanted:
            assert self.is_alive()
            time.sleep(0.0005)


@needs_logrotate
def test_logrotate_with_the_shipped_configuration_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    logs = tmp_path / "log"
    logs.mkdir(0o750)
    configuration = tmp_path / "logrotate"
    configuration.write_text(shipped_configuration(logs))
    configuration.chmod(0o644)
    rotations = 12
    writer = Writer(logs / "transcripts.jsonl")
    writer.start()
    try:
        for _ in range(rotations):
            writer.wait_for(more=20)
            done = logrotate("--force", configuration)
            assert (done.returncode, done.stderr) == (0, "")
    finally:
        writer.finish()
    files = sorted(
        logs.iterdir(), key=lambda path: int((path.name + ".0").split("jsonl.")[1].split(".")[0])
    )
    assert len(files) == rotations + 1, files
    assert [path.suffix for path in files[:3]] == [".jsonl", ".1", ".gz"]
    written: list[str] = []
    for path in reversed(files):
        data = path.read_bytes()
        written += ids(gzip.decompress(data) if path.suffix == ".gz" else data)
    assert written == [f"id-{number}" for number in range(writer.count)]


@needs_logrotate
def test_logrotate_accepts_the_shipped_file_as_it_is(tmp_path: Path) -> None:
    """Only the user is one that exists here."""
    configuration = tmp_path / "stt-edge"
    configuration.write_text(SHIPPED.read_text().replace("stt-edge adm", "nobody adm"))
    configuration.chmod(0o644)
    done = logrotate("--debug", configuration)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()


MAX_RENAMES = 300

RENAMER = """
import os, sys, time
path = sys.argv[1]
for number in range(int(sys.argv[2])):
    os.rename(path, f"{path}.{number}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640))
    time.sleep(0.002)
"""


def test_hundreds_of_rotations_at_any_moment_lose_nothing_and_find_no_file_in_their_way(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    writer = Writer(path)
    writer.start()
    try:
        subprocess.run(
            [sys.executable, "-c", RENAMER, str(path), str(MAX_RENAMES)],
            check=True,  # O_EXCL fails where the writer has created the file itself
        )
        writer.wait_for(more=5)
    finally:
        writer.finish()
    files = [*(tmp_path / f"t.jsonl.{number}" for number in range(MAX_RENAMES)), path]
    written = [each for file in files for each in ids(file.read_bytes())]
    assert written == [f"id-{number}" for number in range(writer.count)]
