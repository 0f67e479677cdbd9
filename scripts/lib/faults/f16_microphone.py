"""F16: the microphone is unplugged and plugged in again, as far as a machine without one can."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
import wave
from pathlib import Path
from typing import Any, Final

from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.house import House, Speaker, service_of
from scripts.lib.fault_kit.tests_run import hold
from tests.pulse import SINK, PulseMicrophone
from tests.service.providers_room import sentence

NAME = "F16"
TITLE = "sound server killed and started again (a card's own gaps: system tests)"

HEARD_AGAIN_S: Final = 3.0
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 1
_AWAY_S: Final = 6.0
_WATCHDOG_S: Final = 6.0
_TESTS: Final = (
    "tests/ear/test_timeline.py",
    "tests/ear/test_capture.py",
    "tests/ear/test_capture_plan.py",
    "tests/service/test_keeper.py",
    "tests/service/test_ear_keeper.py",
)


def run(work: Path, quick: bool) -> str:
    """Unplug it while nobody speaks, see the watchdog fed, plug it in, and speak."""
    if shutil.which("pulseaudio") is None:
        raise FaultError("there is no pulseaudio to unplug")
    figures = asyncio.run(_unplug(work, QUICK_ROUNDS if quick else ROUNDS))
    return figures if quick else f"{figures}; {hold(*_TESTS)}"


async def _unplug(work: Path, rounds: int) -> str:
    house = House(work / "house", watchdog_s=_WATCHDOG_S)
    with PulseMicrophone(work / "pulse") as microphone:
        async with service_of() as service, house:
            house.heard_by(SINK, microphone.environment)
            house.furnish(service)
            await house.launch()
            await house.ready()
            await _until_ear(house, "hearing")
            speaker = Speaker(house, random.Random(1))
            await _spoken(house, microphone, speaker)
            found = [await _once(house, microphone, speaker) for _ in range(rounds)]
            await house.stop()
    slowest_s = max(again_s for again_s, _ in found)
    if slowest_s > HEARD_AGAIN_S:
        raise FaultError(f"heard again after {slowest_s:.1f} s")
    lost_s = ", ".join(f"{lost_s:.1f}" for _, lost_s in found)
    return (
        f"{rounds} times away for {_AWAY_S:.0f} s, heard again within {slowest_s:.1f} s, "
        f"counted as missing: {lost_s} s; the watchdog was fed throughout"
    )


async def _once(house: House, microphone: PulseMicrophone, speaker: Speaker) -> tuple[float, float]:
    """Return how long it took to be heard again, and how much was counted as missing."""
    microphone.end()
    gone_s = time.monotonic()
    status = await _until_ear(house, "absent")
    while time.monotonic() - gone_s < _AWAY_S:
        if time.monotonic() - house.manager.alive_at_s > _WATCHDOG_S:
            raise FaultError(f"the watchdog starves while there is no microphone: {status}")
        await asyncio.sleep(0.1)
    microphone.start()
    back_s = time.monotonic()
    await _until_ear(house, "hearing")
    again_s, away_s = time.monotonic() - back_s, time.monotonic() - gone_s
    progress(f"heard again after {again_s:.1f} s")
    record = await _spoken(house, microphone, speaker)
    lost_s = record["lost_ms"] / 1000
    if not _AWAY_S - 1 <= lost_s <= away_s + 1:
        raise FaultError(f"{away_s:.1f} s were missed and {lost_s:.1f} s counted")
    return again_s, lost_s


async def _spoken(house: House, microphone: PulseMicrophone, speaker: Speaker) -> dict[str, Any]:
    """Say something and return its record."""
    before = len(house.records)
    path = house.directory / "said.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sentence(speaker.sentence(3)) + bytes(32_000))
    await asyncio.to_thread(microphone.play, path)
    await house.until(lambda: len(house.records) > before)
    return house.records[-1]


async def _until_ear(house: House, state: str) -> dict[str, Any]:
    return await house.until_status(lambda status: status["ear"]["state"] == state)
