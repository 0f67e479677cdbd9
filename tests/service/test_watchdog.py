"""When the watchdog is fed."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.service.notify import Notifier
from stt_edge.service.watchdog import Vitals, Watchdog, feed_every_s


class Daemon:
    """A daemon's vitals, as a test wants them, and what systemd hears of it."""

    def __init__(self, directory: Path, watchdog_usec: int = 30_000_000) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "notify"))
        self.socket.setblocking(False)
        self.dead: list[str] = []
        self.overdue_s = 0.0
        self.line = "hearing"
        environment = {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": str(watchdog_usec),
        }
        self.watchdog = Watchdog(
            Notifier(environment),
            dead_tasks=lambda: self.dead,
            keeper_overdue_s=lambda: self.overdue_s,
            status_line=lambda: self.line,
        )

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.socket.close()


def test_good_vitals_feed_it() -> None:
    assert Vitals().failures() == []
    assert Vitals(lag_s=1.0, keeper_overdue_s=3.0).failures() == []


@pytest.mark.parametrize(
    ("vitals", "said"),
    [
        (Vitals(lag_s=1.1), "loop has not turned"),
        (Vitals(dead_tasks=("sinks", "store")), "died: sinks, store"),
        (Vitals(keeper_overdue_s=3.1), "keeper of the ear is late"),
        (Vitals(keeper_overdue_s=float("inf")), "keeper of the ear is late"),
    ],
)
def test_each_failure_starves_it_and_is_named(vitals: Vitals, said: str) -> None:
    (failure,) = vitals.failures()
    assert said in failure


def test_it_is_fed_only_while_all_is_well(daemon: Daemon) -> None:
    assert daemon.watchdog.feed(0.0)
    assert daemon.heard() == ["WATCHDOG=1"]
    daemon.dead.append("sinks")
    assert not daemon.watchdog.feed(0.0)
    daemon.dead.clear()
    daemon.overdue_s = 60.0
    assert not daemon.watchdog.feed(0.0)
    assert not daemon.watchdog.feed(5.0)
    assert daemon.heard() == []


def test_starving_it_is_logged_once_an_episode(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for overdue_s in (9.0, 10.0, 11.0, 0.0, 0.0):
        daemon.overdue_s = overdue_s
        daemon.watchdog.feed(0.0)
    assert len(caplog.records) == 2


def test_status_is_sent_when_it_changes(daemon: Daemon) -> None:
    daemon.watchdog.tell_status()
    daemon.watchdog.tell_status()
    daemon.line = "absent"
    daemon.watchdog.tell_status()
    assert daemon.heard() == ["STATUS=hearing", "STATUS=absent"]


def test_the_shipped_watchdog_stands_twenty_seconds_of_stillness_at_any_moment() -> None:
    unit = Path(__file__).resolve().parents[2] / "systemd" / "stt-edge.service"
    seconds = re.search(r"^WatchdogSec=(\d+)s$", unit.read_text(), re.MULTILINE)
    assert seconds is not None
    watchdog_s = float(seconds[1])
    last_feed_s = feed_every_s(watchdog_s)
    assert last_feed_s + 20 < watchdog_s
    assert 1 / last_feed_s <= 0.2, "wake-ups a second that it costs"


async def test_it_is_fed_again_and_again(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, watchdog_usec=300_000)
    feeding = asyncio.create_task(daemon.watchdog.run())
    heard: list[str] = []
    async with asyncio.timeout(10):
        while heard.count("WATCHDOG=1") < 4:
            await asyncio.sleep(0.02)
            heard += daemon.heard()
    feeding.cancel()
    daemon.socket.close()


async def test_a_stall_starves_it_and_the_first_turn_after_it_feeds_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Daemon(tmp_path, watchdog_usec=30_000_000)
    feeding = asyncio.create_task(daemon.watchdog.run())
    daemon.watchdog._notifier.watchdog_s = 0.3
    await asyncio.sleep(0.05)
    daemon.heard()
    time.sleep(1.4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "WATCHDOG=1" not in daemon.heard(), "the loop did not turn"
    async with asyncio.timeout(5):
        while "WATCHDOG=1" not in daemon.heard():
            await asyncio.sleep(0.01)
    assert "has not turned for" in caplog.text
    feeding.cancel()
    daemon.socket.close()


async def test_without_a_service_manager_it_costs_nothing() -> None:
    idle = Watchdog(
        Notifier({}),
        dead_tasks=list,
        keeper_overdue_s=lambda: 0.0,
        status_line=lambda: "hearing",
    )
    async with asyncio.timeout(1):
        await idle.run()
