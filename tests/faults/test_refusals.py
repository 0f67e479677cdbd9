"""A service that refuses: the daemon hears on, keeps what is said, and says so once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from scripts.lib.fault_kit.house import House, Speaker, service_of

from tests.simulators.core import Faults

SPOKEN = 2


@pytest.mark.parametrize(
    ("status", "retry_after", "state", "wait_s"),
    [
        (401, None, "blocked", range(250, 301)),
        (402, None, "blocked", range(250, 301)),
        (429, None, "backing-off", range(15, 61)),
        (503, "90", "backing-off", range(70, 91)),
    ],
)
async def test_a_refusal_stops_neither_the_hearing_nor_the_keeping(
    status: int, retry_after: str | None, state: str, wait_s: range, tmp_path: Path
) -> None:
    refusing = service_of(faults=Faults(http_status=status, retry_after=retry_after))
    async with refusing as service, House(tmp_path / "house") as house:
        house.furnish(service)
        await house.launch()
        await house.ready()
        speaker = Speaker(house, random.Random(1))
        for _ in range(SPOKEN):
            await speaker.say(1)
        found = await house.until_status(
            lambda status: (
                status["backlog"]["utterances"] == SPOKEN and status["provider"]["state"] == state
            )
        )
        assert round(found["provider"]["retry_in_s"]) in wait_s
        assert found["ear"]["state"] == "hearing"
        assert house.ended is None
        told = [line for line in house.log.splitlines() if "provider deepgram is" in line]
        assert len(told) == 1, told
        await house.stop()
    assert house.records == []
