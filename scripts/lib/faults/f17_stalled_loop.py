"""F17: the event loop stands still, and the service manager ends the daemon for it."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.house import LAUNCHERS, House, Speaker, service_of
from tests.service.providers_room import WORDS

NAME = "F17"
TITLE = "event loop blocked while somebody speaks, until the watchdog ends the daemon"

_LOST_WORDS: Final = 2
"""300 ms of the open utterance may be lost, which is two words at the most."""


@dataclass(frozen=True, slots=True)
class _Times:
    watchdog_s: float
    stall_s: float


FULL: Final = _Times(watchdog_s=30.0, stall_s=40.0)
QUICK: Final = _Times(watchdog_s=3.0, stall_s=10.0)


def run(work: Path, quick: bool) -> str:
    """Block the loop for longer than the watchdog waits."""
    return asyncio.run(_stall(work, QUICK if quick else FULL))


async def _stall(work: Path, times: _Times) -> str:
    house = House(work / "house", watchdog_s=times.watchdog_s)
    async with service_of() as service, house:
        house.furnish(service)
        speaker = Speaker(house, random.Random(1))
        await house.launch(LAUNCHERS, STT_EDGE_STALL_S=str(times.stall_s))
        await house.ready()
        await speaker.say(3)
        await house.until(lambda: len(house.records) == 1)
        house.send(signal.SIGUSR1)
        progress(f"blocked for {times.stall_s:.0f} s")
        spoken = await _speak_until_starved(house, speaker, times)
        restarts = await _restart_as_the_manager_does(house, times)
        await house.until(lambda: _words(house) >= 3 + spoken - _LOST_WORDS)
        await speaker.say(2)
        await house.until(lambda: _words(house) >= 3 + spoken - _LOST_WORDS + 2)
        _check_order(house)
        await house.stop()
        lost = 3 + spoken + 2 - _words(house)
    return (
        f"{restarts} restart, {spoken} words said in {times.watchdog_s:.0f} s of stall, "
        f"{lost} lost, {len(house.records)} records"
    )


async def _speak_until_starved(house: House, speaker: Speaker, times: _Times) -> int:
    """Speak until the watchdog has waited long enough; return how many words were said."""
    words = 0
    while time.monotonic() - house.manager.alive_at_s < times.watchdog_s:
        if house.ended is not None:
            raise FaultError(f"the daemon ended by itself: {house.ended}\n{house.tail}")
        await speaker.say(3)
        words += 3
    return words


async def _restart_as_the_manager_does(house: House, times: _Times) -> int:
    """End the daemon as WatchdogSec= and Restart=always do; return how often that was needed."""
    restarts = 0
    while True:
        house.send(signal.SIGABRT)
        if await house.ending(5) != -signal.SIGABRT:
            raise FaultError(f"SIGABRT does not end it: {house.ended}\n{house.tail}")
        restarts += 1
        await house.launch()
        await house.ready()
        await asyncio.sleep(times.watchdog_s / 2)
        if time.monotonic() - house.manager.alive_at_s < times.watchdog_s:
            return restarts
        if restarts > 3:
            raise FaultError("restarted again and again")


def _words(house: House) -> int:
    return sum(len(text.split()) for text in house.texts)


def _check_order(house: House) -> None:
    """See that within each record the words follow one another, none twice."""
    for text in house.texts:
        numbers = [WORDS.index(word) for word in text.split()]
        steps = {(after - before) % len(WORDS) for before, after in itertools.pairwise(numbers)}
        if not steps <= {1}:
            raise FaultError(f"words are missing or doubled: {text}")
