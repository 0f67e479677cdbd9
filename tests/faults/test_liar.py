"""A service that lies to the whole daemon: memory stays, and nothing is doubled."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from scripts.lib.fault_kit.house import House, Speaker, service_of

from tests.simulators.core import Faults

LIES = {
    "huge": Faults(huge=True),
    "invalid UTF-8": Faults(invalid_utf8=True),
    "garbage": Faults(garbage=True),
    "twice": Faults(duplicate_finals=True),
}
MOST_GROWTH_KIB = 20 << 10
SPOKEN = 3


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize("lie", LIES)
async def test_a_daemon_that_is_lied_to_keeps_its_memory_and_the_truth(
    lie: str, tmp_path: Path
) -> None:
    async with service_of() as service, House(tmp_path / "house") as house:
        house.furnish(service, session={"hold_s": 0})
        speaker = Speaker(house, random.Random(1))
        await house.launch()
        await house.ready()
        await speaker.say(2)
        await house.until(lambda: len(house.records) == 1)
        before_kib = resident_kib(house.pid)
        service.faults = LIES[lie]
        for _ in range(SPOKEN):
            await speaker.say(2)
        if lie == "twice":
            await house.until(lambda: len(house.records) == 1 + SPOKEN)
        else:
            await house.until_status(lambda status: status["provider"]["state"] != "up")
        assert resident_kib(house.pid) - before_kib < MOST_GROWTH_KIB
        service.faults = Faults()
        await speaker.say(2)  # which ends the wait for the next attempt
        await house.until(lambda: len(house.records) == 2 + SPOKEN)
        await house.stop()
    ids = [record["id"] for record in house.records]
    assert len(set(ids)) == len(ids)
    for text in house.texts:
        assert len(text.split()) == len(set(text.split())) == 2, house.texts
