"""F5: the daemon dies at each named point of its work, once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit import broker
from scripts.lib.fault_kit.evidence import Evidence, lines_of
from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.house import LAUNCHERS, House, Speaker, service_of, together
from scripts.lib.faults.f04_kills import settle, verify
from tests.fakes.crash_points import POINTS, CrashPoint

NAME = "F5"
TITLE = "dies at each named point of its work"

LEAST_POINTS: Final = 25
HOUSES: Final = 2
QUICK: Final = (
    "after UtteranceLog.append (2)",
    "after Store.finish",
    "half of os.write within _append_durably",
    "after UtteranceLog.recover",
)
_DEATH_S: Final = 15.0


def run(work: Path, quick: bool) -> str:
    """Let a daemon die at each point, and see that the next one puts everything right."""
    points = [point for point in POINTS if not quick or short(point) in QUICK]
    assert len(points) == len(QUICK) if quick else len(points) >= LEAST_POINTS
    evidence = asyncio.run(_die_at(points, work))
    records = sum(len(each.records) for each in evidence)
    return f"{len(points)} points, {records} records, 0 committed lost, 0 ids twice"


def short(point: CrashPoint) -> str:
    """Return the name of a point without its module."""
    return re.sub(r" \w+\.(?=[A-Z_]\w)", " ", point.name)


async def _die_at(points: Sequence[CrashPoint], work: Path) -> list[Evidence]:
    waiting = list(enumerate(points))[::-1]
    evidence: list[Evidence] = []
    with contextlib.ExitStack() as stack:
        mosquitto = None
        if broker.can_be_had():
            mosquitto = stack.enter_context(broker.Broker(work / "broker"))
        elif any("Mqtt" in point.function for point in points):
            raise FaultError("there is no mosquitto, or no mosquitto_sub")

        async def one_after_the_other() -> None:
            while waiting:
                number, point = waiting.pop()
                house = House(work / f"point-{number}")
                house.broker = mosquitto
                try:
                    evidence.append(await _die_once(house, point))
                except (FaultError, AssertionError) as error:
                    raise FaultError(f"{point.name}: {error}") from error
                progress(point.name)

        await together(*(one_after_the_other() for _ in range(HOUSES)))
    return evidence


async def _die_once(house: House, point: CrashPoint) -> Evidence:
    """Let one daemon die at a point while somebody speaks, then let the next put it right."""
    evidence = Evidence()
    async with service_of() as service, house:
        if point.durable:
            house.furnish(service, spool={"durable": "always", "keep_free_mb": 0})
        else:
            house.furnish(service)
        speaker = Speaker(house, random.Random(1))
        if point.next_start:
            await _crash_in_speech(house, speaker)
        talking = asyncio.create_task(speaker.talk())
        await house.launch(LAUNCHERS, STT_EDGE_CRASH_AT=point.name)
        code = await house.ending(_DEATH_S)
        talking.cancel()
        if code != -signal.SIGKILL:
            raise FaultError(f"it was never reached (exit code {code})\n{house.tail}")
        evidence.look(house.directory)
        await house.launch()
        await house.ready()
        await speaker.say(2)
        await house.until(lambda: lines_of(house.jsonl))
        await settle(house)
        evidence.look(house.directory)
        verify(evidence, house)
    return evidence


async def _crash_in_speech(house: House, speaker: Speaker) -> None:
    """Leave behind what a daemon leaves that is killed with a part committed, in mid-sentence."""
    await house.launch()
    await house.ready()
    await speaker.say(3)
    saying = asyncio.create_task(speaker.say(4))
    await asyncio.sleep(0.8)
    await house.kill()
    saying.cancel()
