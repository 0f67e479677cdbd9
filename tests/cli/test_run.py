"""``stt-edge run``, as systemd sees it end."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.ear.settings import EarSettings
from stt_edge.errors import ExitCode
from stt_edge.service import garbage, landlock, logs
from stt_edge.service.daemon import Daemon
from stt_edge.service.ear_starter import EarStarter
from stt_edge.service.mute_switch import MuteSwitch
from stt_edge.store.schema import MIGRATIONS
from stt_edge.store.store import Store


def test_a_store_of_a_later_version_ends_it_with_78_and_is_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "state" / "store.db"
    Store.open(database).close()
    with contextlib.closing(sqlite3.connect(database)) as raw:
        raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = database.read_bytes()
    config = tmp_path / "stt-edge.yaml"
    config.write_text("audio: {command: [sleep, '60']}\nproviders: [{name: recording}]\n")
    places = {"RUNTIME": "run", "STATE": "state", "LOGS": "log"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.daemon", "run", "-c", str(config)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(sys.path),
            **{f"{name}_DIRECTORY": str(tmp_path / place) for name, place in places.items()},
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.CONFIG
    assert "was written by a later version" in done.stderr
    assert "Install that version again" in done.stderr
    assert database.read_bytes() == before


class Begun:
    """What ``stt-edge run`` does before the daemon runs, which is not let to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = folder / "state"
        self.order: list[str] = []
        self.ahead: list[EarSettings] = []
        self._config = folder / "stt-edge.yaml"
        monkeypatch.setenv("STATE_DIRECTORY", str(self.state))
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder / "run"))
        monkeypatch.setenv("LOGS_DIRECTORY", str(folder / "log"))
        monkeypatch.setattr(landlock, "shut_main_out", lambda: self.order.append("shut out"))
        monkeypatch.setattr(garbage, "put_off", lambda: self.order.append("put off"))
        monkeypatch.setattr(logs, "configure", lambda _: None)
        monkeypatch.setattr(logs, "flush", lambda: None)
        monkeypatch.setattr(EarStarter, "prepare", lambda _: self.order.append("ear"))
        monkeypatch.setattr(EarStarter, "begin_ahead", lambda _, settings: self._begin(settings))
        monkeypatch.setattr(EarStarter, "drop", lambda _: self.order.append("end"))
        monkeypatch.setattr(Daemon, "run", self._daemon)

    def run(self, audio: str) -> None:
        self._config.write_text(f"audio: {audio}\nvad: {{hangover_ms: 700}}\n")
        assert main(["run", "-c", str(self._config)]) == 0

    def _begin(self, settings: EarSettings) -> None:
        self.order.append("begin")
        self.ahead.append(settings)

    async def _daemon(self) -> int:
        self.order.append("daemon")
        return 0


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    return Begun(tmp_path, monkeypatch)


def test_the_microphone_is_opened_before_the_daemon_is_ready_to_run(begun: Begun) -> None:
    begun.run("{device: kitchen}")
    assert begun.order == ["ear", "put off", "begin", "shut out", "daemon", "end"]
    (settings,) = begun.ahead
    assert settings.source.device == "kitchen"
    assert settings.gate.hangover_ms == 700


def test_no_microphone_is_opened_while_it_is_muted(begun: Begun) -> None:
    MuteSwitch(begun.state).path.parent.mkdir()
    MuteSwitch(begun.state).set(on=True)
    begun.run("{device: kitchen}")
    assert begun.order == ["ear", "put off", "shut out", "daemon", "end"]


@pytest.mark.parametrize("audio", ["{file: /tmp/a.wav}", "{command: [sleep, '60']}"])
def test_sound_that_waits_is_not_begun_before_its_turn(begun: Begun, audio: str) -> None:
    begun.run(audio)
    assert begun.order == ["ear", "put off", "shut out", "daemon", "end"]


def test_a_configuration_that_is_wrong_leaves_no_ear_behind(begun: Begun) -> None:
    with pytest.raises(AssertionError):
        begun.run("{device: 3.5}")
    assert begun.order == ["ear", "put off", "end"]
