"""F18: the configuration is read again, good or bad, while somebody speaks."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
from pathlib import Path
from typing import Any, Final

from scripts.lib.fault_kit.fault import FaultError
from scripts.lib.fault_kit.house import House, Speaker, service_of
from scripts.lib.fault_kit.tests_run import hold

NAME = "F18"
TITLE = "SIGHUP with bad YAML, and with good, while audio is streamed"

_ROUNDS: Final = 6
_QUICK_ROUNDS: Final = 2
_WATCHDOG_S: Final = 3.0


def run(work: Path, quick: bool) -> str:
    """Reload in mid-sentence and see that no sample is missing from what the provider was given."""
    figures = asyncio.run(_reload(work, _QUICK_ROUNDS if quick else _ROUNDS))
    return figures if quick else f"{figures}; {hold('tests/service/test_daemon.py')}"


async def _reload(work: Path, rounds: int) -> str:
    house = House(work / "house", watchdog_s=_WATCHDOG_S)
    async with service_of() as service, house:
        house.furnish(service)
        good = house.configuration.read_text()
        speaker = Speaker(house, random.Random(1))
        await house.launch()
        await house.ready()
        for number in range(rounds):
            await _one(house, speaker, good, number)
        await house.stop()
        given = sum(len(session.pcm) // 2 for session in service.sessions)
        said = sum(record["end_sample"] - record["start_sample"] for record in house.records)
        if given != said:
            raise FaultError(f"{said} samples were heard and {given} sent")
        _check_records(house.records, 2 * rounds)
    return f"{2 * rounds} reloads in mid-sentence, {said} samples heard and sent, 0 lost"


async def _one(house: House, speaker: Speaker, good: str, number: int) -> None:
    """One sentence with a bad file, one with a good one that changes something."""
    house.configuration.write_text(good[:-1] + "\n  , sinks: {jsonl: {path: }\n")
    rejected = house.log.count("configuration rejected")
    await _hang_up_in_speech(house, speaker)
    await house.until(lambda: house.log.count("configuration rejected") > rejected)
    line = [line for line in house.log.splitlines() if "configuration rejected" in line][-1]
    if not re.search(rf"{re.escape(str(house.configuration))}:\d+:\d+: ", line):
        raise FaultError(f"no file:line:column in: {line}")
    changed = json.loads(good)
    changed["vad"]["pre_roll_ms"] = 300 + 10 * number
    house.configuration.write_text(json.dumps(changed))
    taken = house.log.count("the configuration was read again")
    await _hang_up_in_speech(house, speaker)
    await house.until(lambda: house.log.count("the configuration was read again") > taken)
    await house.until(lambda: len(house.records) == 2 * (number + 1))
    told_s = house.manager.alive_at_s
    await house.until(lambda: house.manager.alive_at_s > told_s)


async def _hang_up_in_speech(house: House, speaker: Speaker) -> None:
    saying = asyncio.create_task(speaker.say(4))
    await asyncio.sleep(0.7)
    house.send(signal.SIGHUP)
    await saying


def _check_records(records: list[dict[str, Any]], count: int) -> None:
    if len(records) != count:
        raise FaultError(f"{len(records)} records of {count} sentences")
    for record in records:
        if record["lost_ms"] or record["truncated"] or len(record["text"].split()) != 4:
            raise FaultError(f"something is missing: {record}")
