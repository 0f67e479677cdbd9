"""``stt-edge status`` against a real control socket."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.cli.status import render
from stt_edge.errors import ExitCode
from stt_edge.service import paths
from stt_edge.service.status import EarStatus, StatusDocument
from tests.fakes.control import AnsweringDaemon
from tests.service.test_status import WELL


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnsweringDaemon:
    """A place for a daemon that commands find, and none there yet."""
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path / "nothing")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return AnsweringDaemon(tmp_path / "stt-edge" / "control.sock")


def answer(document: StatusDocument) -> dict[str, object]:
    return {"ok": True, "result": document.to_json()}


def test_a_healthy_daemon_is_shown_on_one_screen(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon.answering(answer(WELL)):
        assert main(["status"]) == ExitCode.OK
    assert daemon.asked == [{"command": "status"}]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 160
    text = "\n".join(lines)
    for said in (
        "stt-edge 0.1.0 on kitchen",
        "hearing for 2 min",
        "USB Audio at 48000 Hz",
        "level -48 dB, noise -60 dB",
        "now, for 3 s; 2 utterances (31 s) wait",
        "cloud up, not in use; today 31 s sent, 45 s billed, about 0.01",
        "pocketsphinx up",
        "12 records, the last 65 s ago; 2.5 of 64 MB",
        "jsonl ok, journal ok (1 wait)",
    ):
        assert said in text


def test_a_daemon_that_needs_attention_says_why_and_exits_1(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = replace(WELL, ear=EarStatus("absent"), problems=("No capture device. Plug one in.",))
    with daemon.answering(answer(lost)):
        assert main(["status"]) == ExitCode.FAILED
    assert "! No capture device. Plug one in." in capsys.readouterr().out


def test_json_is_the_document_as_the_daemon_has_it(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {**WELL.to_json(), "new_key": 1}
    with daemon.answering({"ok": True, "result": body}):
        assert main(["status", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(body))


def test_a_terminal_is_safe_from_what_devices_are_called(
    daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = replace(WELL, ear=EarStatus("hearing", device="\x1b[2Jmic", rate=1))
    with daemon.answering(answer(evil)):
        main(["status"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.usefixtures("daemon")
def test_no_daemon_is_69_and_says_how_to_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == ExitCode.UNAVAILABLE
    assert "systemctl start stt-edge" in capsys.readouterr().err


def test_an_instance_is_asked_where_it_lives(
    tmp_path: Path, daemon: AnsweringDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    hall = AnsweringDaemon(tmp_path / "stt-edge-hall" / "control.sock")
    with hall.answering(answer(WELL)):
        assert main(["status", "--instance", "hall"]) == ExitCode.OK
    with hall.answering(answer(WELL)):
        assert main(["status", "-c", "/etc/stt-edge/hall.yaml"]) == ExitCode.OK
    assert main(["status", "--instance", "../x"]) == ExitCode.FAILED
    assert "cannot name an instance" in capsys.readouterr().err


@pytest.mark.usefixtures("daemon")
def test_watching_goes_on_until_somebody_ends_it(
    daemon: AnsweringDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("stt_edge.cli.status.time.sleep", sleep)
    with daemon.answering(answer(WELL)):  # once; then it is gone, and that is shown
        assert main(["status", "--watch"]) == 130
    assert slept == [1.0, 1.0]
    shown = capsys.readouterr().out
    assert "stt-edge 0.1.0 on kitchen" in shown
    assert "\x1b" not in shown, "no screen to clear"


@pytest.mark.parametrize("seconds", ["0", "4000", "soon"])
def test_a_pace_that_makes_no_sense_is_refused(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--watch", seconds]) == ExitCode.USAGE
    assert "--watch" in capsys.readouterr().err


def test_states_have_a_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in "".join(render(WELL))
    monkeypatch.setattr("stt_edge.cli.common.is_terminal", lambda _: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = render(replace(WELL, ear=EarStatus("absent")))
    assert any("\x1b[31mabsent\x1b[0m for" in line for line in lines)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(render(WELL))


def test_an_overdriven_input_is_shown() -> None:
    clipped = replace(WELL, ear=replace(WELL.ear, clipped_ms=1200))
    assert any("overdriven for 1.2 s of a minute" in line for line in render(clipped))
