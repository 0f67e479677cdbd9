"""The checks daemon, muted, budget, paths and sinks, each seen failing for its cause."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge import systemd_python
from stt_edge.config.settings import BudgetSection, Config, SinkEntry
from stt_edge.errors import PermissionDeniedError, TemporaryError
from stt_edge.service.doctor.case import Case, look_around
from stt_edge.service.doctor.finding import Finding, Level
from stt_edge.service.doctor.ownership import check_paths
from stt_edge.service.doctor.people import User
from stt_edge.service.doctor.running import check_budget, check_daemon, check_muted
from stt_edge.service.doctor.sinks import check_sinks
from stt_edge.service.mute_switch import MuteSwitch
from stt_edge.service.paths import Paths
from stt_edge.service.status import ProviderStatus, SinkStatus
from stt_edge.sinks import registry
from tests.fakes.control import AnsweringDaemon
from tests.service.doctoring import STRANGER, case, found, levels, only, running, unit

# daemon


def test_a_running_daemon_says_how_it_is(tmp_path: Path) -> None:
    finding = only(check_daemon(case(tmp_path, status=running())))
    assert (finding.name, finding.level) == ("daemon", Level.OK)
    assert "process 4711" in finding.message


def test_what_a_running_daemon_complains_of_is_passed_on(tmp_path: Path) -> None:
    ill = running(problems=("Sink jsonl is down: the disk is full.",))
    _, finding = found(check_daemon(case(tmp_path, status=ill)))
    assert (finding.level, finding.message) == (Level.WARN, ill.problems[0])


def test_an_upgrade_that_is_not_restarted_yet_is_a_doubt(tmp_path: Path) -> None:
    _, finding = found(check_daemon(case(tmp_path, status=running(version="0.0.1"))))
    assert "What runs is version 0.0.1" in finding.message
    assert "restart" in finding.remedy


def test_an_installed_service_that_does_not_run_fails(tmp_path: Path) -> None:
    stopped = unit(ActiveState="inactive")
    finding = only(check_daemon(case(tmp_path, unit=stopped)))
    assert (finding.level, finding.remedy) == (
        Level.FAIL,
        "sudo systemctl start stt-edge.service",
    )
    assert levels(check_daemon(case(tmp_path))) == ["ok"]


def test_who_may_not_ask_is_told_how_to(tmp_path: Path) -> None:
    silent = case(tmp_path, silence=PermissionDeniedError("You may not.", "Join the group."))
    finding = only(check_daemon(silent))
    assert (finding.level, finding.remedy) == (Level.WARN, "Join the group.")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("LOGS_DIRECTORY", str(tmp_path / "logs"))
    return Paths(tmp_path / "run", tmp_path / "state", tmp_path / "logs")


def test_a_daemon_is_found_with_its_user_and_its_directories(places: Paths) -> None:
    status = {"pid": os.getpid(), "version": "1", "ear": {"state": "hearing"}}
    daemon = AnsweringDaemon(places.control_socket)
    with daemon.answering({"ok": True, "result": status}):
        there = look_around(Config(node="here"), None)
    assert there.status is not None
    assert there.status.ear.state == "hearing"
    assert (there.user, there.paths) == (User.this(), places)
    assert daemon.asked == [{"command": "status"}]


def test_a_daemon_that_hangs_is_a_failure(places: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_edge.service.doctor.case._PATIENCE_S", 0.2)
    places.runtime.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(places.control_socket))
        listener.listen()  # and never answers
        there = look_around(Config(node="here"), None)
    assert isinstance(there.silence, TemporaryError)
    finding = only(check_daemon(there))
    assert (finding.level, "has not answered" in finding.message) == (Level.FAIL, True)


def test_a_credential_of_the_unit_is_found_where_systemd_has_put_it(
    places: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "none yet")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr("stt_edge.service.doctor.case.CREDENTIALS", tmp_path)
    look_around(Config(node="here"), None)
    assert "CREDENTIALS_DIRECTORY" not in os.environ
    (tmp_path / "stt-edge.service").mkdir()
    look_around(Config(node="here"), None)
    assert os.environ["CREDENTIALS_DIRECTORY"] == str(tmp_path / "stt-edge.service")


def test_no_daemon_is_none(places: Paths) -> None:
    there = look_around(Config(node="here"), None)
    assert (there.runs, there.paths) == (False, places)


# muted and budget


def test_muted_is_a_doubt_running_or_not(tmp_path: Path) -> None:
    assert levels(check_muted(case(tmp_path))) == ["ok"]
    assert levels(check_muted(case(tmp_path, status=running(muted=True)))) == ["warn"]
    (tmp_path / "state").mkdir()
    MuteSwitch(tmp_path / "state").set(on=True)
    finding = only(check_muted(case(tmp_path)))
    assert (finding.name, finding.remedy) == ("muted", "stt-edge unmute")


def test_a_budget_that_is_spent_is_a_doubt(tmp_path: Path) -> None:
    limited = Config(node="here", budget=BudgetSection(seconds_per_day=600))
    used = (ProviderStatus("deepgram", billed_s=600.0),)
    spent = running(budget_spent=True, providers=used)
    finding = only(check_budget(case(tmp_path, config=limited, status=spent)))
    assert (finding.name, finding.level) == ("budget", Level.WARN)
    left = replace(spent, budget_spent=False)
    finding = only(check_budget(case(tmp_path, config=limited, status=left)))
    assert finding.message == "is not spent; 600 s are billed today."
    assert list(check_budget(case(tmp_path, status=left))) == []


# paths


@pytest.fixture
def installed(open_place: Path) -> Case:
    """An installation whose owners and modes are as they should be, in a place all may enter."""
    there = case(open_place)
    for directory, mode in (("run", 0o750), ("state", 0o700), ("logs", 0o2750), ("keys", 0o750)):
        (open_place / directory).mkdir()
        (open_place / directory).chmod(mode)
    (open_place / "keys" / "deepgram").touch(0o640)
    (open_place / "stt-edge.yaml").touch(0o644)
    config = Config(node="here", path=str(open_place / "stt-edge.yaml"))
    return replace(there, config=config)


def look(there: Case) -> list[Finding]:
    return found(check_paths(there, there.paths.state.parent / "keys"))


def test_an_installation_as_it_should_be_is_well(installed: Case) -> None:
    assert [finding.level for finding in look(installed)] == [Level.OK]


@pytest.mark.parametrize(
    ("name", "mode", "level", "remedy"),
    [
        ("stt-edge.yaml", 0o666, Level.FAIL, "chmod o-w"),
        ("keys", 0o755, Level.WARN, "chmod o="),
        ("keys/deepgram", 0o644, Level.FAIL, "chmod 0640"),
        ("state", 0o755, Level.WARN, "chmod 0700"),
        ("run", 0o755, Level.WARN, "chmod 0750"),
        ("logs", 0o755, Level.WARN, "chmod 2750"),
    ],
)
def test_what_is_open_to_everybody_is_named(
    name: str, mode: int, level: Level, remedy: str, installed: Case
) -> None:
    path = installed.paths.state.parent / name
    path.chmod(mode)
    (finding,) = look(installed)
    assert (finding.name, finding.level) == ("paths", level)
    assert str(path) in finding.message
    assert remedy in finding.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_somebody_else_left_behind_is_named(installed: Case) -> None:
    service = replace(installed, user=STRANGER)
    for directory in ("run", "state", "logs"):
        os.chown(installed.paths.state.parent / directory, STRANGER.uid, STRANGER.uid)
    os.chown(installed.paths.state.parent / "keys", 0, STRANGER.uid)
    os.chown(installed.paths.state.parent / "keys" / "deepgram", 0, STRANGER.uid)
    assert [finding.level for finding in look(service)] == [Level.OK]
    (installed.paths.state / "store.db").touch()  # by a `sudo stt-edge run`, say
    (finding,) = look(service)
    assert (finding.level, "store.db" in finding.message) == (Level.FAIL, True)
    assert finding.remedy == f"sudo chown -R stranger {installed.paths.state}"


def test_what_the_service_may_not_read_is_named(installed: Case) -> None:
    config = Path(str(installed.config.path))
    config.chmod(0o600)
    told = {finding.message for finding in look(replace(installed, user=STRANGER))}
    assert any(text.startswith(f"stranger may not read {config}") for text in told)
    assert any("deepgram" in text for text in told) or os.geteuid() != 0


def test_a_socket_that_is_open_to_everybody_is_named(installed: Case) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(installed.paths.control_socket))
        installed.paths.control_socket.chmod(0o666)
        (finding,) = look(replace(installed, status=running()))
        assert "lets everybody mute and ask" in finding.message
        installed.paths.control_socket.chmod(0o660)
        (finding,) = look(replace(installed, status=running(), unit=unit()))
        assert "not of the group stt-edge" in finding.message


# sinks


def with_jsonl(there: Case, path: Path | None = None) -> Case:
    options = registry.options("jsonl")
    assert options is not None
    entry = SinkEntry("jsonl", options(path=None if path is None else str(path)))
    return replace(there, config=Config(node="here", sinks=(entry,)))


async def sinks(there: Case) -> list[Finding]:
    return found([finding async for finding in check_sinks(there)])


async def test_a_file_that_can_be_written_is_well(installed: Case) -> None:
    (finding,) = await sinks(with_jsonl(installed))
    assert (finding.name, finding.level) == ("sink-jsonl", Level.OK)


async def test_a_directory_that_is_missing_fails(installed: Case, tmp_path: Path) -> None:
    (finding,) = await sinks(with_jsonl(installed, tmp_path / "none" / "x.jsonl"))
    assert (finding.level, "There is no directory" in finding.message) == (Level.FAIL, True)


async def test_a_file_or_directory_that_the_service_may_not_write_fails(open_place: Path) -> None:
    there = replace(with_jsonl(case(open_place), open_place / "x.jsonl"), user=STRANGER)
    (finding,) = await sinks(there)
    assert finding.message.startswith(f"stranger may not write to {open_place} (")
    open_place.chmod(0o777)
    (open_place / "x.jsonl").touch(0o644)
    (finding,) = await sinks(there)
    assert finding.message.startswith(f"stranger may not write to {open_place / 'x.jsonl'} (")
    (open_place / "x.jsonl").unlink()
    (open_place / "x.jsonl").mkdir()
    (finding,) = await sinks(there)
    assert "is no file" in finding.message


@pytest.mark.parametrize(
    ("place", "told", "remedy"),
    [
        ("/srv", "ProtectSystem=strict", "ReadWritePaths=/srv"),
        ("/tmp", "PrivateTmp=yes", "Name a file in"),
        ("/home", "ProtectHome=yes", "Name a file in"),
    ],
)
async def test_a_file_that_the_sandbox_of_the_unit_shuts_out_fails(
    place: str, told: str, remedy: str, tmp_path: Path
) -> None:
    root = User("root", 0, frozenset((0,)))
    there = replace(with_jsonl(case(tmp_path), Path(place) / "x.jsonl"), user=root, unit=unit())
    (finding,) = await sinks(there)
    assert finding.level is Level.FAIL
    assert told in finding.message
    assert remedy in finding.remedy
    opened = replace(there, unit=unit(ReadWritePaths=f"-/opt {place}"))
    assert [finding.level for finding in await sinks(opened)] == [Level.OK]


async def test_a_machine_without_a_journal_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = case(tmp_path, config=Config(node="here", sinks=(SinkEntry("journal", None),)))
    monkeypatch.setattr(systemd_python, "MISSING", "No module named 'systemd'")
    (finding,) = await sinks(there)
    assert (finding.name, finding.level) == ("sink-journal", Level.FAIL)
    assert "systemd-python" in finding.message
    monkeypatch.setattr(systemd_python, "MISSING", "")
    monkeypatch.setattr(systemd_python, "JOURNAL_SOCKET", tmp_path / "socket")
    (finding,) = await sinks(there)
    assert "There is no journal" in finding.message
    (tmp_path / "socket").touch()
    assert [finding.level for finding in await sinks(there)] == [Level.OK]


async def test_a_sink_that_is_down_is_told_by_the_running_service(installed: Case) -> None:
    down = running(sinks={"jsonl": SinkStatus("down", 7, "the disk is full.")})
    told, own = await sinks(replace(with_jsonl(installed), status=down))
    assert (told.level, own.level) == (Level.WARN, Level.OK)
    assert told.message == "is down, 7 records wait: the disk is full."


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A kind of sink whose module examines its other side; set what it finds."""
    monkeypatch.setitem(registry._MODULES, "pigeon", "tests.fakes.examined_sink")
    return lambda level: monkeypatch.setenv("PIGEON", level)


@pytest.mark.parametrize("level", ["ok", "warn", "fail"])
async def test_a_sink_may_examine_its_other_side_itself(
    level: str, tmp_path: Path, broker: Callable[[str], None]
) -> None:
    broker(level)
    there = case(tmp_path, config=Config(node="here", sinks=(SinkEntry("pigeon", None),)))
    (finding,) = await sinks(there)
    assert (finding.name, finding.level.value) == ("sink-pigeon: loft", level)
    assert finding.message == f"{there.paths.logs} has a pigeon."
