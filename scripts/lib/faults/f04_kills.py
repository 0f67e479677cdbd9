"""F4: the daemon is killed at any moment, again and again, while somebody speaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit import broker
from scripts.lib.fault_kit.evidence import Evidence
from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.house import House, Speaker, service_of, together

NAME = "F4"
TITLE = "killed with SIGKILL at a random moment, while somebody speaks"

ROUNDS: Final = 500
QUICK_ROUNDS: Final = 8
HOUSES: Final = 2
"""Daemons that are killed side by side."""
READY_P95_S: Final = 2.0
_BEFORE_READY_S: Final = 0.8
_AFTER_READY_S: Final = 1.8


def run(work: Path, quick: bool) -> str:
    """Kill ``ROUNDS`` daemons; nothing committed may be lost or doubled."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return asyncio.run(_soak(work, rounds, check_time=not quick))


async def _soak(work: Path, rounds: int, *, check_time: bool) -> str:
    with contextlib.ExitStack() as stack:
        mosquitto = None
        if broker.can_be_had():
            mosquitto = stack.enter_context(broker.Broker(work / "broker"))
        each = [rounds // HOUSES + (number < rounds % HOUSES) for number in range(HOUSES)]
        kills = [_Kills(work / f"house-{number}", mosquitto, number) for number in range(HOUSES)]
        await together(*(one.go(count) for one, count in zip(kills, each, strict=True)))
    ready_s = [took for one in kills for took in one.ready_s]
    p95 = statistics.quantiles(ready_s, n=20)[-1] if len(ready_s) > 1 else max(ready_s)
    records = sum(len(one.evidence.records) for one in kills)
    parts = sum(len(one.evidence.parts) for one in kills)
    if check_time and p95 >= READY_P95_S:
        raise FaultError(f"restart to READY p95 {p95:.2f} s")
    if not records:
        raise FaultError("nothing was ever committed")
    published = "every id published" if mosquitto else "no MQTT sink here"
    return (
        f"{rounds} kills, {records} records and {parts} parts committed, 0 lost, 0 ids twice, "
        f"{published}, start to READY median {statistics.median(ready_s):.2f} s p95 {p95:.2f} s"
    )


class _Kills:
    """One house whose daemon is killed."""

    def __init__(self, directory: Path, mosquitto: broker.Broker | None, seed: int) -> None:
        self.evidence = Evidence()
        self.ready_s: list[float] = []
        self._directory = directory
        self._broker = mosquitto
        self._rng = random.Random(seed)

    async def go(self, rounds: int) -> None:
        """Kill so many daemons, then let one finish what there is, and look at everything."""
        house = House(self._directory)
        house.broker = self._broker
        async with service_of() as service, house:
            house.furnish(service)
            speaker = Speaker(house, self._rng)
            talking = asyncio.create_task(speaker.talk())
            for number in range(rounds):
                await self._one(house)
                if number % 25 == 24:
                    progress(f"{number + 1} kills, {len(self.evidence.records)} records")
            talking.cancel()
            await self._finish(house)

    async def _one(self, house: House) -> None:
        await house.launch()
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.uniform(0, _BEFORE_READY_S))
        else:
            self.ready_s.append(await house.ready())
            await asyncio.sleep(self._rng.uniform(0, _AFTER_READY_S))
        await house.kill()
        await self._look(house)
        house.miss()

    async def _finish(self, house: House) -> None:
        await house.launch()
        self.ready_s.append(await house.ready())
        await settle(house)
        await self._look(house)
        verify(self.evidence, house)

    async def _look(self, house: House) -> None:
        await asyncio.to_thread(self.evidence.look, house.directory)


async def settle(house: House) -> None:
    """Let a daemon transcribe and hand over all there is, and end it in good order."""
    await house.until_status(
        lambda status: not status["backlog"]["utterances"] and status["ear"]["state"] == "hearing"
    )
    await house.stop()


def verify(evidence: Evidence, house: House) -> None:
    """See that all that was committed has arrived, once. Raises FaultError."""
    evidence.check_end(house.directory)
    evidence.check_words()
    evidence.check_file(house.jsonl)
    if house.broker is not None:
        evidence.check_messages(house.broker.ids())
