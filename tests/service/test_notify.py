"""What systemd is told, on real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.service.notify import Notifier


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def notifier(tmp_path: Path, manager: Manager) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})


def test_every_message_is_what_systemd_understands(notifier: Notifier, manager: Manager) -> None:
    notifier.ready()
    assert manager.heard() == "READY=1"
    notifier.alive()
    assert manager.heard() == "WATCHDOG=1"
    notifier.stopping()
    assert manager.heard() == "STOPPING=1"
    notifier.reloading()
    first, second = manager.heard().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()


def test_a_status_is_one_line_that_cannot_say_anything_else(
    notifier: Notifier, manager: Manager
) -> None:
    notifier.status("hearing\nREADY=0 " + "x" * 500)
    heard = manager.heard()
    assert heard.startswith("STATUS=hearing READY=0 x")
    assert "\n" not in heard
    assert len(heard) < 250


def test_an_abstract_socket_is_spoken_to() -> None:
    name = f"stt-edge-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert manager.heard() == "READY=1"
    manager.socket.close()


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "30000000"})
    assert not notifier.present
    assert notifier.watchdog_s is None
    notifier.ready()


def test_a_manager_that_is_gone_is_complained_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    for _ in range(5):
        notifier.alive()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_taken_from_the_environment_if_meant_for_us(
    environment: dict[str, str], expected: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/x", **environment}).watchdog_s == expected
