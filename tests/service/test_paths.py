"""Where things are kept, and where a command finds the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stt_edge.errors import InputError, PermissionDeniedError, UnavailableError
from stt_edge.service import paths
from stt_edge.service.paths import (
    Paths,
    daemon_paths,
    find_sockets,
    find_state,
    instance_of,
)

HOME = {"HOME": "/home/ann", "XDG_RUNTIME_DIR": "/run/user/1000"}
UNIT = {
    "RUNTIME_DIRECTORY": "/run/stt-edge",
    "STATE_DIRECTORY": "/var/lib/stt-edge",
    "LOGS_DIRECTORY": "/var/log/stt-edge",
}


def test_a_unit_says_where() -> None:
    found = daemon_paths(None, {**HOME, **UNIT})
    assert found == Paths(
        Path("/run/stt-edge"), Path("/var/lib/stt-edge"), Path("/var/log/stt-edge")
    )
    assert found.control_socket == Path("/run/stt-edge/control.sock")


def test_of_several_directories_of_a_unit_the_first_is_used() -> None:
    found = daemon_paths(None, {**UNIT, "STATE_DIRECTORY": "/var/lib/stt-edge:/var/lib/more"})
    assert found.state == Path("/var/lib/stt-edge")


def test_a_user_has_the_xdg_directories() -> None:
    found = daemon_paths(None, HOME)
    assert found.runtime == Path("/run/user/1000/stt-edge")
    assert found.state == found.logs == Path("/home/ann/.local/state/stt-edge")
    assert daemon_paths(None, {**HOME, "XDG_STATE_HOME": "/s"}).state == Path("/s/stt-edge")
    assert daemon_paths(None, {**HOME, "XDG_STATE_HOME": "relative"}).state == found.state


def test_without_a_runtime_directory_there_is_one_of_our_own_in_tmp() -> None:
    found = daemon_paths("desk", {"HOME": "/home/ann"})
    assert found.runtime == Path(f"/tmp/stt-edge-desk-{os.getuid()}")


def test_an_instance_has_directories_of_its_own_everywhere() -> None:
    found = daemon_paths("kitchen", HOME)
    assert found.runtime == Path("/run/user/1000/stt-edge-kitchen")
    assert found.state == Path("/home/ann/.local/state/stt-edge-kitchen")


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (None, None, None),
        ("/etc/stt-edge.yaml", None, None),
        ("/etc/stt-edge/kitchen.yaml", None, "kitchen"),
        ("/home/ann/.config/stt-edge/desk.yaml", None, "desk"),
        ("/etc/stt-edge/kitchen.yaml", "hall", "hall"),
        ("/tmp/demo.yaml", None, None),
        ("/tmp/demo.yaml", "demo", "demo"),
    ],
)
def test_the_instance_follows_from_the_options(
    config: str | None, given: str | None, expected: str | None
) -> None:
    assert instance_of(Path(config) if config else None, given) == expected


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".", "-x", "x" * 65, "a b"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name an instance"):
        instance_of(None, name)


def test_a_command_looks_for_the_service_first_and_then_for_ones_own_daemon() -> None:
    assert find_sockets(None, HOME) == [
        Path("/run/stt-edge/control.sock"),
        Path("/run/user/1000/stt-edge/control.sock"),
    ]
    assert find_sockets("kitchen", HOME)[0] == Path("/run/stt-edge-kitchen/control.sock")
    assert find_sockets(None, {"RUNTIME_DIRECTORY": "/r"})[0] == Path("/r/control.sock")


def test_a_command_and_a_daemon_in_the_same_environment_find_each_other() -> None:
    for environment in (HOME, {**HOME, **UNIT}, {"HOME": "/home/ann"}):
        for instance in (None, "kitchen"):
            place = daemon_paths(instance, environment).control_socket
            assert place in find_sockets(instance, environment)


def test_the_state_of_the_installed_service_is_found_before_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SYSTEM_STATE", tmp_path)
    assert find_state(None, HOME) == Path("/home/ann/.local/state/stt-edge")
    (tmp_path / "stt-edge").mkdir()
    assert find_state(None, HOME) == tmp_path / "stt-edge"
    assert find_state("desk", HOME) == Path("/home/ann/.local/state/stt-edge-desk")
    assert find_state(None, UNIT) == Path("/var/lib/stt-edge")


# Making them


def below(root: Path) -> Paths:
    return Paths(root / "a" / "run", root / "b" / "state", root / "b" / "logs")


def test_directories_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    made = below(tmp_path)
    made.create()
    made.create()
    for directory in (made.runtime, made.state, made.logs):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_what_systemd_made_is_left_as_it_is(tmp_path: Path) -> None:
    made = below(tmp_path)
    made.runtime.mkdir(parents=True)
    made.runtime.chmod(0o750)
    made.create()
    assert made.runtime.stat().st_mode & 0o777 == 0o750


def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UnavailableError, match="Free that path"):
        below(tmp_path).create()


def test_a_directory_that_may_not_be_made_or_written_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionDeniedError, match="Give it to the user"):
        below(tmp_path).create()

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionDeniedError, match="write access to"):
        below(tmp_path).create()


def test_what_others_put_into_tmp_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    trap = tmp_path / "elsewhere"
    trap.mkdir()
    (tmp_path / "run").symlink_to(trap)
    with pytest.raises(PermissionDeniedError, match="belongs to somebody else"):
        Paths(tmp_path / "run", trap / "s", trap / "l").create()
    assert list(trap.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_in_tmp_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 65534, 65534)
    with pytest.raises(PermissionDeniedError, match="belongs to somebody else"):
        Paths(tmp_path / "run", tmp_path / "s", tmp_path / "l").create()
