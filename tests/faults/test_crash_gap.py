"""What is said while nobody hears, between a crash and the next start, is known to be missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scripts.lib.fault_kit.house import House, service_of

from tests.service.providers_room import sentence, text


async def test_the_time_between_a_crash_in_speech_and_the_next_start_is_lost_and_counted(
    tmp_path: Path,
) -> None:
    async with service_of() as service, House(tmp_path / "house") as house:
        house.furnish(service)
        await house.launch()
        await house.ready()
        saying = asyncio.create_task(house.voice.say(sentence([0, 1, 2, 3, 4, 5, 6, 7])))
        await house.until(lambda: sum(len(one.pcm) for one in service.sessions) > 32_000)
        await house.kill()
        await saying
        house.miss()
        await house.launch()
        await house.ready()
        await house.voice.say(sentence([0, 1]))
        await house.until(lambda: len(house.records) == 2)
        cut, behind = sorted(house.records, key=lambda record: record["start"])
        await house.stop()
    assert cut["truncated"]
    assert cut["lost_ms"] <= 300
    assert behind["text"] == text([0, 1])
    assert behind["lost_ms"] > 300
