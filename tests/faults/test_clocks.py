"""Wall clocks that jump: nothing but the time of day follows them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from scripts.lib.fault_kit.house import LAUNCHERS, House, service_of

from stt_edge.clock import SystemClock
from tests.service.providers_room import sentence, text

YEAR_S = 365 * 86_400.0
HOUR_S = 3600.0


class WrongClock:
    """The wall clock of a daemon, off by what a file says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.off_by(0)

    def off_by(self, seconds: float) -> None:
        self.path.write_text(str(seconds))

    def unset(self) -> None:
        """Set it to where a machine without a clock of its own begins."""
        self.off_by(-time.time())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path / "house") as made:
        yield made


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path / "clock")


async def start(house: House, clock: WrongClock) -> None:
    await house.launch(LAUNCHERS, STT_EDGE_WALL_CLOCK=str(clock.path))
    await house.ready()


async def say(house: House, *words: int) -> dict[str, Any]:
    """Say something and return its record."""
    before = len(house.records)
    await house.voice.say(sentence(words))
    await house.until(lambda: len(house.records) > before)
    return house.records[-1]


def moment(record: dict[str, Any], key: str) -> datetime:
    return datetime.fromisoformat(record[key])


async def test_a_clock_that_jumps_spoils_no_duration_no_id_and_no_record(
    house: House, clock: WrongClock
) -> None:
    async with service_of() as service:
        house.furnish(service)
        clock.unset()
        await start(house, clock)
        unset = await say(house, 0, 1)
        clock.off_by(0)  # NTP has an answer
        right = await say(house, 2, 3)
        clock.off_by(YEAR_S)
        ahead = await say(house, 4, 5)
        clock.off_by(-HOUR_S)
        behind = await say(house, 6, 7)
        await house.stop()
    records = [unset, right, ahead, behind]
    assert house.records == records
    assert [record["text"] for record in records] == [text([n, n + 1]) for n in (0, 2, 4, 6)]
    ids = [record["id"] for record in records]
    assert ids == sorted(set(ids))
    for record in records:
        assert 500 <= record["duration_ms"] <= 5000
        assert 0 <= record["speech_ms"] <= record["duration_ms"]
        assert 0 <= record["latency_ms"] < 20_000
        lasted_s = (moment(record, "end") - moment(record, "start")).total_seconds()
        assert lasted_s * 1000 == pytest.approx(record["duration_ms"], abs=2)
        assert record["lost_ms"] == 0
        assert record["delayed"] is False
    assert unset["clock_unsynced"] is True
    # The clock began at the epoch; what is kept from before the first word lies before it.
    assert moment(unset, "start").year in (1969, 1970)
    assert right["clock_unsynced"] is not SystemClock().synchronized()
    now = datetime.now(UTC)
    assert now - timedelta(minutes=5) < moment(right, "start") < now
    assert moment(ahead, "start") > now + timedelta(days=360)
    assert moment(behind, "start") < now - timedelta(minutes=50)


async def test_what_waits_is_transcribed_in_the_order_it_was_said_whatever_the_clock_said(
    house: House, clock: WrongClock
) -> None:
    service = service_of()
    await service.start()
    house.furnish(service)
    await service.stop()
    await start(house, clock)
    await waiting(house, 1, sentence([0, 1]))
    await house.kill()
    clock.unset()
    await start(house, clock)
    await waiting(house, 2, sentence([2, 3]))
    await house.kill()
    async with service:
        await start(house, clock)
        await house.until(lambda: len(house.records) == 2)
        await house.stop()
    assert house.texts == [text([0, 1]), text([2, 3])]
    assert [record["delayed"] for record in house.records] == [True, True]


async def waiting(house: House, count: int, pcm: bytes) -> None:
    """Say something, and wait until so many utterances wait for the provider."""
    await house.voice.say(pcm)
    await house.until_status(lambda status: status["backlog"]["utterances"] == count)
