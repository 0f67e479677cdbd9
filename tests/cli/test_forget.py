"""``stt-edge forget``: what it says, what it asks, and what is gone without a daemon."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stt_edge.cli import forget as module
from stt_edge.cli.forget import moment
from stt_edge.cli.main import main
from stt_edge.errors import ExitCode, StoreError
from stt_edge.model import AudioSpan, UtteranceState
from stt_edge.service import paths
from stt_edge.store.lock import StateLock
from stt_edge.store.retention import Retention
from stt_edge.store.store import Store
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.control import AnsweringDaemon
from tests.store.making import head, part, record, tail

Capture = pytest.CaptureFixture[str]


class Home:
    """A state directory and a runtime directory of a daemon that does not run."""

    def __init__(self, directory: Path) -> None:
        self.runtime = directory / "run" / "stt-edge"
        self.state = directory / "state" / "stt-edge"
        self.database = self.state / "store.db"
        self.audio = self.runtime / "utterances"

    def said(self, days_ago: float, state: UtteranceState = UtteranceState.DONE) -> str:
        start = head(started_at=datetime.now(UTC) - timedelta(days=days_ago), clock_unsynced=False)
        with contextlib.closing(Store.open(self.database)) as store:
            store.add_utterance(start)
            store.commit_part(part(start.id), start.start)
            if state is UtteranceState.DONE:
                store.end_utterance(start.id, tail())
                store.finish(start.id, state, record(start.id, text="SECRET"))
        return start.id

    def heard(self, id_: str, days_ago: float, *, end: bool = True) -> None:
        """Leave audio of an utterance, as a daemon that was killed would."""
        log = UtteranceLog(self.audio)
        log.recover()
        started_at = datetime.now(UTC) - timedelta(days=days_ago)
        start = replace(head(), id=id_, started_at=started_at)
        log.start(start)
        log.append(id_, AudioSpan(start.start, bytes(3200)))
        if end:
            log.end(id_, tail(start.start + 1600))
        log.close()

    def ids(self) -> list[str]:
        with contextlib.closing(Store.open(self.database)) as store:
            return [record.id for _, record in store.last_records(99)]

    def audio_ids(self) -> list[str]:
        log = UtteranceLog(self.audio)
        found = [info.id for info in log.recover()]
        log.close()
        return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path / "nothing")
    monkeypatch.setattr(paths, "SYSTEM_STATE", tmp_path / "lib")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "run").mkdir()
    return Home(tmp_path)


@pytest.fixture
def daemon(home: Home) -> AnsweringDaemon:
    return AnsweringDaemon(home.runtime / "control.sock")


def answer(**changes: Any) -> dict[str, Any]:
    result = {
        "utterances": 3,
        "records": 2,
        "waiting": 1,
        "kept": 0,
        "more": False,
        "erased": True,
        "aside": [],
    }
    return {"ok": True, "result": result | changes}


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have somebody sit at a terminal and type."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    monkeypatch.setattr(module, "is_terminal", lambda _: True)


def test_it_says_what_is_gone_and_what_is_not(daemon: AnsweringDaemon, capsys: Capture) -> None:
    with daemon.answering(answer()):
        assert main(["forget", "--before", "2026-11-20T16:00Z", "-y"]) == ExitCode.OK
    assert daemon.asked == [{"command": "forget", "before": "2026-11-20T16:00:00+00:00"}]
    said = capsys.readouterr().out
    assert "Deleted 3 utterances with 2 records, and the audio of 1." in said
    assert "JSONL files, the journal, MQTT brokers and providers keep what they were" in said


def test_all_is_everything(daemon: AnsweringDaemon, capsys: Capture) -> None:
    with daemon.answering(answer(utterances=0, records=0, waiting=0)):
        assert main(["forget", "--all", "-y"]) == ExitCode.OK
    assert daemon.asked == [{"command": "forget", "before": None}]
    assert capsys.readouterr().out == "There was nothing to delete.\n"


def test_json_is_one_object(daemon: AnsweringDaemon, capsys: Capture) -> None:
    with daemon.answering(answer()):
        assert main(["forget", "--all", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"utterances", "records", "waiting", "kept", "erased", "aside"}


def test_what_could_not_be_done_is_said_and_exits_1(
    daemon: AnsweringDaemon, capsys: Capture
) -> None:
    with daemon.answering(answer(kept=1, erased=False, aside=["/var/lib/store.db.damaged-1"])):
        assert main(["forget", "--all", "-y"]) == ExitCode.FAILED
    said = capsys.readouterr().err
    for each in ("/var/lib/store.db.damaged-1", "write-ahead log", "1 utterance could not be"):
        assert each in said


def test_a_daemon_that_is_asked_in_pieces_is_asked_until_nothing_is_left(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [answer(more=True), answer(more=True), answer(utterances=1, records=0, waiting=0)]
    monkeypatch.setattr(
        "stt_edge.service.control_client.ask", lambda *_, **__: answers.pop(0)["result"]
    )
    assert main(["forget", "--all", "-y"]) == ExitCode.OK
    assert "Deleted 7 utterances with 4 records, and the audio of 2." in capsys.readouterr().out


@pytest.mark.parametrize("typed_text", ["\n", "n\n", "", "maybe\n"])
def test_on_a_terminal_it_asks_and_without_a_yes_nothing_is_deleted(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch, typed_text: str
) -> None:
    old = home.said(3)
    typed(monkeypatch, typed_text)
    assert main(["forget", "--before", "2d"]) == ExitCode.FAILED
    asked = capsys.readouterr().err
    assert "Delete 1 utterance said before" in asked
    assert "keep what they were given. [y/N]" in asked
    assert home.ids() == [old]


@pytest.mark.parametrize("typed_text", ["y\n", "Yes\n"])
def test_a_yes_is_enough(home: Home, monkeypatch: pytest.MonkeyPatch, typed_text: str) -> None:
    home.said(3)
    typed(monkeypatch, typed_text)
    assert main(["forget", "--before", "2d"]) == ExitCode.OK
    assert home.ids() == []


def test_without_a_daemon_the_files_are_worked_on(home: Home, capsys: Capture) -> None:
    home.said(3)
    young = home.said(1)
    assert main(["forget", "--before", "2d"]) == ExitCode.OK
    assert home.ids() == [young]
    assert "Deleted 1 utterance with 1 record." in capsys.readouterr().out
    assert main(["forget", "--all"]) == ExitCode.OK
    assert b"SECRET" not in home.database.read_bytes()
    assert not home.database.with_name("store.db-wal").exists()


def test_what_a_killed_daemon_left_goes_with_its_audio_also_what_the_store_never_knew(
    home: Home, capsys: Capture
) -> None:
    cut_off = home.said(2, UtteranceState.OPEN)
    home.heard(cut_off, 2, end=False)
    unknown, young = head().id, head().id
    home.heard(unknown, 2)
    home.heard(young, 0.5)
    assert main(["forget", "--before", "1d", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["utterances"], said["records"], said["waiting"]) == (2, 0, 2)
    assert home.audio_ids() == [young]
    with contextlib.closing(Store.open(home.database)) as store:
        assert store.unfinished() == []


@pytest.mark.parametrize("step", ["give_up", "forget", "truncate_log"])
@pytest.mark.parametrize("late", [False, True])
def test_wherever_it_is_cut_off_nothing_comes_of_what_it_had_begun_with(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, late: bool
) -> None:
    waiting = home.said(2, UtteranceState.OPEN)  # with a part of which a record could be made
    home.heard(waiting, 2, end=False)
    done = getattr(Retention, step)

    def cut_off(*arguments: Any) -> None:
        if late:
            done(*arguments)
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Retention, step, cut_off)
        assert main(["forget", "--all", "-y"]) == ExitCode.FAILED
    with contextlib.closing(Store.open(home.database)) as store:
        begun = step != "give_up" or late
        assert [row.id for row in store.unfinished()] == ([] if begun else [waiting])
        assert home.audio_ids() == ([waiting] if step == "give_up" else [])
    assert main(["forget", "--all", "-y"]) == ExitCode.OK
    assert home.audio_ids() == []
    assert waiting.encode() not in home.database.read_bytes()


def test_where_there_is_no_store_it_is_said(home: Home, capsys: Capture) -> None:
    assert main(["forget", "--all", "-y"]) == ExitCode.UNAVAILABLE
    assert "not running" in capsys.readouterr().err
    assert not home.state.exists()
    assert not home.runtime.exists()


def test_a_daemon_that_has_just_started_is_not_worked_against(home: Home, capsys: Capture) -> None:
    old = home.said(3)
    with StateLock.acquire(home.state):
        assert main(["forget", "--all", "-y"]) == ExitCode.UNAVAILABLE
    assert str(os.getpid()) in capsys.readouterr().err
    assert home.ids() == [old]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_works_as_the_owner_so_that_the_daemon_can_use_what_it_leaves(home: Home) -> None:
    home.said(3)
    nobody = 65534
    for path in (home.state, *home.state.iterdir()):
        os.chown(path, nobody, nobody)
    opened = [path for path in home.state.parents if not path.stat().st_mode & stat.S_IXOTH]
    modes = {path: path.stat().st_mode for path in opened}
    for path in opened:
        path.chmod(0o711)
    places = {"RUNTIME_DIRECTORY": str(home.runtime), "STATE_DIRECTORY": str(home.state)}
    done = subprocess.run(
        [sys.executable, "-m", "stt_edge.cli.main", "forget", "--all", "-y"],
        env={"PYTHONPATH": ":".join(sys.path), **places},
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.OK
    for path, mode in modes.items():
        path.chmod(mode)
    assert {path.stat().st_uid for path in home.state.iterdir()} == {nobody}
    assert home.ids() == []


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("90min", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        (" 1.5 d", timedelta(days=1.5)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_an_age_counts_from_now(text: str, age: timedelta) -> None:
    before = datetime.now(UTC) - age
    assert before <= moment(text) <= datetime.now(UTC) - age


def test_a_day_begins_by_the_clock_of_this_machine() -> None:
    assert moment("2026-11-20") == datetime(2026, 11, 20).astimezone()
    assert moment("2026-11-20T16:00") == datetime(2026, 11, 20, 16).astimezone()
    assert moment("2026-11-20T16:00:00.5+02:00") == datetime(
        2026, 11, 20, 14, 0, 0, 500_000, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7", "7 years", "-3d", "2026-13-01", "9" * 20 + "d"]
)
def test_what_is_no_moment_is_refused(text: str, capsys: Capture) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        moment(text)
    assert main(["forget", f"--before={text}", "-y"]) == ExitCode.USAGE


@pytest.mark.parametrize("words", [[], ["-y"], ["--all", "--before", "7d"]])
def test_it_wants_to_be_told_what(words: list[str]) -> None:
    assert main(["forget", *words]) == ExitCode.USAGE
