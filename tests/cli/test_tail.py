"""``stt-edge tail`` over a real store, with and without somebody who writes to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stt_edge.cli import tail
from stt_edge.cli.main import main
from stt_edge.model import EndReason, Record, UtteranceEnd, UtteranceStart, UtteranceState
from stt_edge.record_json import record_to_json
from stt_edge.store.store import Store
from tests.sinks.namespaces import environment_of, run_python
from tests.sinks.samples import record
from tests.sinks.screen import Terminal


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RUNTIME_DIRECTORY", "LOGS_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "state").mkdir(0o700)
    return tmp_path / "state"


def commit(store: Store, *records: Record) -> None:
    """Store records the way the daemon does."""
    for each in records:
        store.add_utterance(UtteranceStart(each.id, each.stream, each.start_sample, each.start, 0))
        store.end_utterance(
            each.id, UtteranceEnd(each.end_sample, EndReason.SILENCE, each.end_sample, 16_000)
        )
        store.finish(each.id, UtteranceState.DONE, each)


@contextmanager
def daemon(state: Path) -> Iterator[Store]:
    """Hold the store open as the daemon does."""
    store = Store.open(state / "store.db")
    try:
        yield store
    finally:
        store.close()


def texts(output: str) -> list[str]:
    return [json.loads(line)["text"] for line in output.splitlines()]


@contextmanager
def tail_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stt_edge", "tail", *arguments],
        env=environment_of(PYTHONUNBUFFERED=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("running", [True, False])
def test_the_last_records_are_printed_in_order_whether_or_not_the_daemon_runs(
    state: Path, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    with daemon(state) as store:
        commit(store, *(record(f"text {number}") for number in range(15)))
        if running:
            assert main(["tail"]) == 0
    if not running:
        assert main(["tail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"text {number}" for number in range(5, 15)]
    assert lines[0].endswith("  (pocketsphinx 0.93)")


@pytest.mark.parametrize(("count", "shown"), [("0", 0), ("1", 1), ("2", 2), ("99", 3)])
def test_n_says_how_many(
    state: Path, capsys: pytest.CaptureFixture[str], count: str, shown: int
) -> None:
    with daemon(state) as store:
        commit(store, *(record(f"text {number}") for number in range(3)))
    assert main(["tail", "--json", "-n", count]) == 0
    assert texts(capsys.readouterr().out) == [f"text {number}" for number in range(3 - shown, 3)]


@pytest.mark.parametrize("count", ["-1", "many"])
def test_n_that_is_no_number_of_lines_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], count: str
) -> None:
    assert main(["tail", f"-n={count}"]) == 2
    assert "-n" in capsys.readouterr().err


def test_json_is_the_record_as_the_jsonl_file_has_it(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = record("Opnaðu gluggann", lost_ms=3)
    with daemon(state) as store:
        commit(store, said)
    assert main(["tail", "--json"]) == 0
    output = capsys.readouterr().out
    assert "Opnaðu" in output
    assert json.loads(output) == record_to_json(said)


def test_following_prints_each_new_record_once_as_it_is_committed(state: Path) -> None:
    with daemon(state) as store:
        commit(store, record("old"), record("last"))
        with tail_process("-f", "--json", "-n", "1") as process:
            assert texts(line_of(process)) == ["last"]
            for number in range(5):
                commit(store, record(f"new {number}"))
                assert texts(line_of(process)) == [f"new {number}"]


def test_following_goes_on_when_the_daemon_ends_and_starts_again(state: Path) -> None:
    with daemon(state) as store:
        commit(store, record("first"))
    with tail_process("-f", "--json") as process:
        assert texts(line_of(process)) == ["first"]
        for number in range(2):
            with daemon(state) as store:
                commit(store, record(f"run {number}"))
                assert texts(line_of(process)) == [f"run {number}"]


def test_following_goes_on_with_the_store_that_replaces_a_damaged_one(state: Path) -> None:
    with daemon(state) as store:
        commit(store, record("first"), record("second"))
    with tail_process("-f", "--json", "-n", "1") as process:
        assert texts(line_of(process)) == ["second"]
        (state / "store.db").rename(state / "damaged.db")
        with daemon(state) as store:
            commit(store, record("after"))
            assert texts(line_of(process)) == ["after"]


def test_following_ends_when_nobody_reads_any_more_though_nothing_is_said(state: Path) -> None:
    with daemon(state) as store:
        commit(store, record("only"))
        with tail_process("-f") as process:
            assert "only" in line_of(process)
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait(30) == 141
            assert process.stderr is not None
            assert process.stderr.read() == ""
            process.stdout = None


def test_a_store_that_is_not_there_is_an_error_that_says_what_to_do(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail"]) == 69
    assert f"no store at {state / 'store.db'}" in capsys.readouterr().err


AS_NOBODY = """
import os, sys
from stt_edge.cli.main import main
main(["tail", "-n", "0"])  # imports what may lie where only root can read
os.setgid(65534)
os.setuid(65534)
sys.exit(main(["tail"]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_a_store_of_somebody_else_is_a_question_of_permission(closed: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        with daemon(Path(directory)) as store:
            commit(store, record("not for you"))
        Path(directory).chmod(0o700 if closed == "directory" else 0o755)
        done = run_python(AS_NOBODY, STATE_DIRECTORY=directory)
    assert done.returncode == 77, done.stderr
    assert f"You may not read {directory}/store.db." in done.stderr
    assert "sudo" in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_no_store_is_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "store.db").write_bytes(b"not a database at all, but long enough to be one" * 100)
    assert main(["tail"]) == 1
    assert str(state / "store.db") in capsys.readouterr().err


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_only_on_a_terminal_that_wants_them(
    state: Path, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    with daemon(state) as store:
        commit(store, record("look"))
    with Terminal(columns=80) as terminal:
        subprocess.run(
            [sys.executable, "-m", "stt_edge", "tail"],
            env=environment_of(TERM="xterm", NO_COLOR=no_color),
            stdout=terminal.descriptor,
            check=True,
        )
        assert "look" in terminal.look()[0]
        assert bool(terminal.screen.colours) is coloured


def test_the_store_of_a_daemon_that_the_user_runs_is_found_by_its_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("stt_edge.service.paths.SYSTEM_STATE", tmp_path / "system")
    (tmp_path / "system" / "stt-edge-attic").mkdir(parents=True)
    assert tail.database_of("attic") == tmp_path / "system" / "stt-edge-attic" / "store.db"
    socket = tmp_path / "run" / "stt-edge-attic" / "control.sock"
    socket.parent.mkdir(parents=True)
    socket.touch()
    assert tail.database_of("attic") == tmp_path / "state" / "stt-edge-attic" / "store.db"


def test_tail_imports_neither_asyncio_nor_yaml() -> None:
    code = (
        "import sys; from stt_edge.cli import tail; import stt_edge.store.store, "
        "stt_edge.sinks.terminal, stt_edge.service.paths, stt_edge.record_json; "
        "print([m for m in ('asyncio', 'yaml', 'sounddevice', 'logging') if m in sys.modules])"
    )
    done = run_python(code)
    assert done.stdout.strip() == "[]"
