"""``stt-edge devices``: the table, the JSON, and what each state of a device looks like."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from pathlib import Path

import pytest

from stt_edge.cli import devices
from stt_edge.cli.main import main
from stt_edge.ear import survey
from stt_edge.ear.alsa import COMMON_RATES, AlsaError, Formats
from stt_edge.ear.capture import refusal
from stt_edge.ear.cards import Card
from stt_edge.ear.device import Target
from stt_edge.ear.survey import Found
from stt_edge.errors import DeviceError, ExitCode, FaultKind
from stt_edge.service import paths
from stt_edge.service.device_level import Level, measure
from stt_edge.service.status import EarStatus
from tests.fakes.control import AnsweringDaemon
from tests.marks import needs_pulse
from tests.pulse import PulseMicrophone

YETI = Card(2, "Yeti", (0, 1), "1-1.4", "Blue Yeti")
TARGET = Target("plughw:CARD=Yeti,DEV=0", YETI.label, YETI, 0)
FOUND = Found(TARGET, Formats((44100, 48000), 1, 2))
SERVER = Found(Target("pulse", "pulse"), Formats(COMMON_RATES, 1, 32))
BUSY = Found(TARGET, None, is_busy=True, problem=refusal(TARGET, errno.EBUSY))


def quiet(_pcm: str, _seconds: float) -> Level:
    return Level(-41.6, -63.2)


def never(_pcm: str, _seconds: float) -> Level:
    raise AssertionError("not to be opened")


def test_a_device_is_shown_with_what_names_it_what_it_can_and_how_loud_it_is() -> None:
    head, yeti, pulse = devices.render(
        [devices.look(FOUND, [], quiet, 1.0), devices.look(SERVER, [], quiet, 1.0)]
    )
    assert head.split()[0] == "device"
    assert yeti.split("  ")[0] == "Yeti"
    assert [cell.strip() for cell in yeti.split("  ") if cell] == [
        "Yeti",
        "Yeti (Blue Yeti, USB 1-1.4)",
        "44.1 48",
        "1-2",
        "-42 dB",
        "-63 dB",
    ]
    assert "any" in pulse
    assert "1-32" in pulse


def test_json_has_everything_under_names_that_stay() -> None:
    assert devices.as_json(devices.look(FOUND, [], quiet, 1.0)) == {
        "device": "Yeti",
        "description": "Yeti (Blue Yeti, USB 1-1.4)",
        "pcm": "plughw:CARD=Yeti,DEV=0",
        "card_id": "Yeti",
        "card_number": 2,
        "usb_path": "1-1.4",
        "rates": [44100, 48000],
        "channels": [1, 2],
        "converts": False,
        "state": "ok",
        "level_db": -41.6,
        "noise_db": -63.2,
        "problem": None,
    }


def test_what_is_written_into_the_configuration_is_the_shortest_name_that_is_enough() -> None:
    second = Found(Target("plughw:CARD=Yeti,DEV=1", "Yeti, device 1", YETI, 1))
    assert (FOUND.name_to_set, second.name_to_set) == ("Yeti", "plughw:CARD=Yeti,DEV=1")
    assert SERVER.name_to_set == "pulse"


def test_a_busy_device_is_marked_so_and_not_opened() -> None:
    row = devices.look(BUSY, [], never, 1.0)
    assert (row.state, row.level_db) == ("busy", None)
    lines = devices.render([row])
    assert lines[1].endswith("busy")
    assert "in use by another program" in lines[2]


def test_the_level_of_the_daemons_own_device_is_the_daemons() -> None:
    ear = EarStatus("hearing", device=YETI.label, rate=48_000, level_db=-50.0, noise_db=-70.0)
    row = devices.look(BUSY, [EarStatus(), ear], never, 1.0)
    assert (row.state, row.level_db, row.noise_db) == ("in use by stt-edge", -50.0, -70.0)
    assert devices.look(SERVER, [ear], quiet, 1.0).state == "ok"


@pytest.mark.parametrize(
    ("kind", "state"), [(FaultKind.BUSY, "busy"), (FaultKind.FORMAT, "failed")]
)
def test_a_device_that_cannot_be_heard_is_listed_with_the_reason(
    kind: FaultKind, state: str
) -> None:
    def fail(_pcm: str, _seconds: float) -> Level:
        raise DeviceError(kind, "It will not.", "Ask nicely.")

    row = devices.look(FOUND, [], fail, 1.0)
    assert (row.state, row.problem) == (state, "It will not. Ask nicely.")


def test_without_level_nothing_is_opened() -> None:
    assert devices.look(FOUND, [], None, 1.0).state == "ok"


def test_no_device_at_all_is_exit_69(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(survey, "survey", list)
    assert main(["devices", "--json"]) == ExitCode.UNAVAILABLE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Nothing here can be captured." in printed.err
    assert "Plug in a microphone" in printed.err


@pytest.mark.parametrize("seconds", ["0", "-1", "601", "many"])
def test_a_length_that_makes_no_sense_is_refused(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", "--seconds", seconds]) == ExitCode.USAGE
    assert "--seconds" in capsys.readouterr().err


def test_a_daemon_that_does_not_answer_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path)
    args = argparse.Namespace(config=None, instance="nobody")
    assert devices.daemon_ears(args) == []


def test_every_instance_is_asked_what_it_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    answer = {"ok": True, "result": {"ear": {"state": "hearing", "device": "Yeti"}}}
    hall = AnsweringDaemon(tmp_path / "stt-edge-hall" / "control.sock")
    with hall.answering(answer):
        (ear,) = devices.daemon_ears(argparse.Namespace(config=None, instance=None))
    assert ear.device == "Yeti"


def test_a_device_that_a_daemon_has_lost_is_not_its_own() -> None:
    lost = EarStatus("absent", device=YETI.label)
    assert devices.look(BUSY, [lost], never, 1.0).state == "busy"


def test_an_error_of_alsa_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pcm: str) -> Formats:
        raise AlsaError(errno.EACCES)

    monkeypatch.setattr("stt_edge.ear.alsa.probe", refuse)
    found = survey._look_at(TARGET)
    assert (found.is_busy, found.formats) == (False, None)
    assert found.problem is not None
    assert found.problem.kind is FaultKind.DENIED


def test_a_device_that_opens_and_stays_silent_for_ever_is_given_up() -> None:
    silent = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(DeviceError, match="no sound has come"):
        measure("slow", 0.1, patience_s=0.2, ear_command=silent)


def test_an_ear_that_dies_is_said_to_have_died() -> None:
    with pytest.raises(DeviceError, match="ended without a word"):
        measure("deadly", 0.1, ear_command=(sys.executable, "-c", "pass"))


@pytest.mark.sound
@needs_pulse
def test_a_real_device_is_listed_with_its_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with PulseMicrophone(tmp_path) as mic:
        for name, value in mic.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "daemon"))
        assert main(["devices", "--json", "--seconds", "0.5"]) == ExitCode.OK
    printed = capfd.readouterr()
    assert printed.err == ""
    found = {row["device"]: row for row in json.loads(printed.out)["devices"]}
    assert found["mic"]["state"] == "ok"
    assert found["mic"]["level_db"] == -120.0
    assert found["mic"]["converts"] is True
