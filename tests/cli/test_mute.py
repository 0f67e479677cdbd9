"""``stt-edge mute`` and ``unmute``."""

from __future__ import annotations

from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.errors import ExitCode
from stt_edge.service import paths
from stt_edge.service.mute_switch import MuteSwitch
from tests.fakes.control import AnsweringDaemon


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnsweringDaemon:
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path / "nothing")
    monkeypatch.setattr(paths, "SYSTEM_STATE", tmp_path / "lib")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return AnsweringDaemon(tmp_path / "stt-edge" / "control.sock")


def result(*, muted: bool, changed: bool, warning: str = "") -> dict[str, object]:
    return {"ok": True, "result": {"muted": muted, "changed": changed, "warning": warning}}


@pytest.mark.parametrize(
    ("command", "changed", "said"),
    [
        ("mute", True, "Muted: the microphone is closed."),
        ("mute", False, "Muted already."),
        ("unmute", True, "Unmuted: the microphone is opened."),
        ("unmute", False, "It was not muted."),
    ],
)
def test_it_says_what_happened(
    daemon: AnsweringDaemon,
    capsys: pytest.CaptureFixture[str],
    command: str,
    changed: bool,
    said: str,
) -> None:
    with daemon.answering(result(muted=command == "mute", changed=changed)):
        assert main([command]) == ExitCode.OK
    assert daemon.asked == [{"command": command}]
    assert capsys.readouterr().out.strip() == said


def test_a_mute_that_will_not_last_is_said(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon.answering(result(muted=True, changed=True, warning="It will not last.")):
        assert main(["mute"]) == ExitCode.OK
    assert "It will not last." in capsys.readouterr().err


def test_a_device_that_cannot_be_closed_is_an_error_with_its_exit_code(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {"ok": False, "error": "Not closed yet.", "remedy": "Unplug it.", "code": 75}
    with daemon.answering(refusal):
        assert main(["mute"]) == ExitCode.TEMPORARY
    said = capsys.readouterr()
    assert "Muted" not in said.out
    assert "Unplug it." in said.err


@pytest.mark.usefixtures("daemon")
def test_without_a_daemon_it_is_kept_for_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "lib" / "stt-edge"
    state.mkdir(parents=True)
    assert main(["mute"]) == ExitCode.OK
    assert MuteSwitch(state).is_on()
    assert f"will start muted (kept in {state})" in capsys.readouterr().out
    assert main(["unmute"]) == ExitCode.OK
    assert not MuteSwitch(state).is_on()


@pytest.mark.usefixtures("daemon")
def test_where_no_daemon_ever_ran_nothing_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mute"]) == ExitCode.UNAVAILABLE
    said = capsys.readouterr()
    assert said.out == ""
    assert "not running" in said.err
    assert list(tmp_path.rglob("muted")) == []


@pytest.mark.usefixtures("daemon")
def test_a_state_directory_that_may_not_be_written_is_77(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "stt-edge").mkdir(parents=True)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stt_edge.service.mute_switch.os.open", refuse)
    assert main(["mute"]) == ExitCode.PERMISSION
