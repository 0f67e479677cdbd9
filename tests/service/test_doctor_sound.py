"""The checks device, rate and level: each cause of not hearing well is told from the others."""

from __future__ import annotations

import functools
import os
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.config.settings import AudioSection, Config
from stt_edge.ear import wire
from stt_edge.errors import FaultKind, TemporaryError
from stt_edge.service.device_level import Heard, listen
from stt_edge.service.doctor import sound
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.finding import Finding, Level
from stt_edge.service.doctor.sound import check_sound, hardware_rate, rate_finding
from stt_edge.service.mute_switch import MuteSwitch
from tests.fakes.ear import Act, FakeEar, fault
from tests.marks import needs_pulse
from tests.pulse import PulseMicrophone
from tests.service.doctoring import HEARING, case, found, levels, only, running, unit

OPENED = wire.Opened("stream", "Yeti", 16_000, 1, 0, 12)
HEALTH = wire.Health(30, 0, 0, 0, -40.0, -60.0, 0.0, 1, 0, 0, 48_000)


def never(*_: object, **__: object) -> Heard:
    raise AssertionError("not to be opened")


def hears(health: wire.Health) -> Callable[..., Heard]:
    return lambda *_, **__: Heard(OPENED, health)


def with_command(directory: Path, *command: str) -> Case:
    """A source that is no device, so that nothing is asked of this machine's sound cards."""
    return case(directory, config=Config(node="here", audio=AudioSection(command=command)))


# Of our own


@pytest.mark.parametrize(
    "kind", [FaultKind.ABSENT, FaultKind.BUSY, FaultKind.AMBIGUOUS, FaultKind.DENIED]
)
def test_why_a_device_cannot_be_opened_is_what_the_ear_says(
    kind: FaultKind, tmp_path: Path
) -> None:
    life: list[Act] = [fault(kind, "It will not.")]
    by_ear = functools.partial(listen, ear_command=FakeEar(tmp_path / "ear", life).command)
    finding = only(check_sound(case(tmp_path), by_ear))
    assert (finding.name, finding.level, finding.message) == ("device", Level.FAIL, "It will not.")
    assert finding.remedy == "Do something."


def test_a_device_that_is_not_there_fails_with_what_there_is(tmp_path: Path) -> None:
    absent = Config(node="here", audio=AudioSection(device="no-such-device"))
    finding = only(check_sound(case(tmp_path, config=absent)))
    assert (finding.name, finding.level) == ("device", Level.FAIL)
    assert "no-such-device" in finding.message


def test_a_command_that_cannot_be_run_fails(tmp_path: Path) -> None:
    finding = only(check_sound(with_command(tmp_path, "/no/such/program")))
    assert (finding.name, finding.level) == ("device", Level.FAIL)


def test_nothing_but_zeros_is_a_doubt_about_the_mixer(tmp_path: Path) -> None:
    zeros = "import sys\nwhile True: sys.stdout.buffer.write(bytes(3200))"
    device, level = found(check_sound(with_command(tmp_path, "python3", "-c", zeros)))
    assert device.level is Level.OK
    assert (level.name, level.level) == ("level", Level.WARN)
    assert "exactly zero" in level.message
    assert "alsamixer" in level.remedy


@pytest.mark.parametrize(
    ("health", "told"),
    [
        (replace(HEALTH, clipped_ms=1200), "1.2 s of the last minute reach full scale"),
        (replace(HEALTH, noise_db=-12.0), "noise floor is -12 dB"),
    ],
)
def test_too_loud_is_a_doubt_about_the_gain(health: wire.Health, told: str, tmp_path: Path) -> None:
    _, level = found(check_sound(with_command(tmp_path, "x"), hears(health)))
    assert (level.name, level.level) == ("level", Level.WARN)
    assert told in level.message
    assert "down" in level.remedy


def test_a_good_level_is_shown(tmp_path: Path) -> None:
    _, level = found(check_sound(with_command(tmp_path, "x"), hears(HEALTH)))
    assert level.message == "-40 dB over 3 s, noise floor -60 dB."


def test_muted_it_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    MuteSwitch(tmp_path / "state").set(on=True)
    assert "muted" in only(check_sound(case(tmp_path), never)).message


@pytest.mark.sound
@needs_pulse
def test_a_real_microphone_is_heard_and_its_faults_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = case(tmp_path, config=Config(node="here", audio=AudioSection(device="mic")))
    with PulseMicrophone(tmp_path) as mic:
        for name, value in mic.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "daemon"))
        device, rate, level = found(check_sound(there))
        assert (device.message, rate.level, level.level) == ("mic.", Level.OK, Level.WARN)
        assert "exactly zero" in level.message
        mic.start_playing(square_wave(tmp_path / "square.wav", seconds=30))
        *_, level = found(check_sound(there))
        assert "full scale" in level.message
    assert only(check_sound(there)).level is Level.FAIL


def square_wave(path: Path, seconds: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        high, low = (32_767).to_bytes(2, "little"), (-32_768).to_bytes(2, "little", signed=True)
        file.writeframes((high * 40 + low * 40) * (200 * seconds))
    return path


# Of a running service's


def ask(directory: Path, **changes: object) -> list[Finding]:
    status = running(replace(HEARING, **changes))  # type: ignore[arg-type]
    return found(check_sound(replace(with_command(directory, "x"), status=status), never))


def test_a_running_service_is_asked_and_the_device_is_not_opened(tmp_path: Path) -> None:
    device, level = ask(tmp_path)
    assert device.message == "Yeti (asked of the running stt-edge, not opened here)."
    assert level.message == "-42 dB over the last second, noise floor -63 dB."


@pytest.mark.parametrize(
    ("changes", "level", "told"),
    [
        ({"silent_s": 90.0}, Level.WARN, "exactly zero"),
        ({"silent_s": 7.0}, Level.OK, "noise floor"),
        ({"clipped_ms": 900}, Level.WARN, "full scale"),
    ],
)
def test_what_it_hears_is_judged_too(
    changes: dict[str, object], level: Level, told: str, tmp_path: Path
) -> None:
    _, finding = ask(tmp_path, **changes)
    assert finding.level is level
    assert told in finding.message


@pytest.mark.parametrize(
    ("state", "expected"), [("absent", "fail"), ("busy", "fail"), ("starting", "warn")]
)
def test_what_keeps_it_from_hearing_is_passed_on(state: str, expected: str, tmp_path: Path) -> None:
    (finding,) = ask(tmp_path, state=state, trouble="It is unplugged.")
    assert finding.level.value == expected
    assert finding.message.startswith("It is unplugged.")


def test_a_device_denied_to_a_unit_is_settled_by_a_restart(tmp_path: Path) -> None:
    status = running(replace(HEARING, state="faulted", fault="denied", trouble="It may not."))
    denied = case(tmp_path, status=status, unit=unit())
    assert "restart" in only(check_sound(denied, never)).remedy


def test_a_muted_service_is_no_fault(tmp_path: Path) -> None:
    (finding,) = ask(tmp_path, state="muted")
    assert finding.level is Level.OK


def test_a_service_that_does_not_answer_still_has_the_device(tmp_path: Path) -> None:
    silent = case(tmp_path, silence=TemporaryError("It does not answer.", "Wait."))
    assert levels(check_sound(silent, never)) == ["warn"]


# Rates


@pytest.mark.parametrize(
    ("opened_at", "hardware", "well_converted", "level", "told"),
    [
        (16_000, 16_000, False, Level.OK, "as it is wanted"),
        (16_000, None, False, Level.OK, "as it is wanted"),
        (48_000, 48_000, False, Level.OK, "converted to 16000 Hz here, by soxr"),
        (16_000, 48_000, True, Level.OK, "of the device's 48000 Hz"),
        (16_000, 48_000, False, Level.WARN, "linear interpolation"),
        (16_000, 8_000, True, Level.WARN, "above 4000 Hz"),
    ],
)
def test_the_rate_says_how_sixteen_kilohertz_come_about(
    opened_at: int, hardware: int | None, well_converted: bool, level: Level, told: str
) -> None:
    finding = rate_finding(opened_at, hardware, well_converted=well_converted)
    assert finding.level is level
    assert told in finding.message


def test_a_card_in_use_tells_its_rate_in_proc(tmp_path: Path) -> None:
    seen = {"rates": None, "card": 1, "number": 0}
    assert hardware_rate(seen, tmp_path) is None
    folder = tmp_path / "card1" / "pcm0c" / "sub0"
    folder.mkdir(parents=True)
    (folder / "hw_params").write_text("closed\n")
    assert hardware_rate(seen, tmp_path) is None
    (folder / "hw_params").write_text("access: RW_INTERLEAVED\nrate: 48000 (48000/1)\n")
    assert hardware_rate(seen, tmp_path) == 48_000


def test_a_card_that_is_free_runs_at_its_lowest_rate_that_is_enough() -> None:
    assert hardware_rate({"rates": [8000, 44_100, 48_000], "card": None}) == 44_100
    assert hardware_rate({"rates": [8000], "card": None}) == 8000
    assert hardware_rate({"rates": None, "card": None}) is None


def test_a_card_named_by_its_number_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = {"warning": "hw:1 may change.", "rates": [16_000], "card": 1, "converts_well": True}
    monkeypatch.setattr(sound, "run_module", lambda *_, **__: looked)
    device, warning, *_ = found(check_sound(case(tmp_path), hears(HEALTH)))
    assert (device.level, warning.name, warning.level) == (Level.OK, "device", Level.WARN)


def test_a_driver_that_hangs_is_a_doubt_about_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging_module.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    said = sound.run_module("hanging_module", "auto", limit_s=0.5)
    assert said == "no answer within 0.5 s"
    monkeypatch.setattr(sound, "run_module", lambda *_, **__: said)
    _, rate, _ = found(check_sound(case(tmp_path), hears(HEALTH)))
    assert (rate.name, rate.level) == ("rate", Level.WARN)
