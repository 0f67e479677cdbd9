"""Two daemons never work on one state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stt_edge.errors import ExitCode, StoreError, UnavailableError
from stt_edge.store.lock import StateLock

HOLDER = """
import sys, time
from pathlib import Path
from stt_edge.store.lock import StateLock
lock = StateLock.acquire(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def test_a_second_daemon_is_told_which_process_holds_the_directory(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UnavailableError, match=f"process {holder.pid}") as caught:
            StateLock.acquire(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "Stop it first" in caught.value.remedy
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
        holder.kill()
    StateLock.acquire(tmp_path).release()


def test_a_lock_is_free_again_when_it_is_released_and_names_its_new_holder(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "stt-edge"
    with StateLock.acquire(directory):
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "lock").stat().st_mode & 0o777 == 0o600
        with pytest.raises(UnavailableError, match=f"process {os.getpid()}"):
            StateLock.acquire(directory)
    lock = StateLock.acquire(directory)
    lock.release()
    lock.release()


def test_children_that_are_started_do_not_keep_the_lock(tmp_path: Path) -> None:
    lock = StateLock.acquire(tmp_path)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    lock.release()
    StateLock.acquire(tmp_path).release()
    assert child.poll() is None, "it was there all the time"
    child.kill()
    child.wait()


def test_a_directory_that_cannot_be_used_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="Cannot use the state directory") as caught:
        StateLock.acquire(blocked)
    assert str(blocked) in caught.value.remedy


def test_whatever_an_old_lock_file_says_is_overwritten_and_a_strange_one_not_believed(
    tmp_path: Path,
) -> None:
    (tmp_path / "lock").write_text("no number, and a long text at that: " * 9)
    with StateLock.acquire(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        (tmp_path / "lock").write_text("\xff\xfe strange")
        with pytest.raises(UnavailableError, match="its process is just starting"):
            StateLock.acquire(tmp_path)
