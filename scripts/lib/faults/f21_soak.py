"""F21: the daemon at work for hours, at five times what people say in a day."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit import broker
from scripts.lib.fault_kit.command import MINUTES_VARIABLE
from scripts.lib.fault_kit.evidence import Evidence
from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.house import House, Speaker, service_of
from scripts.lib.faults.f04_kills import settle, verify
from scripts.lib.process_cost import descendants
from tests.simulators.core import Faults, Simulator

NAME = "F21"
TITLE = "soak: half the time somebody speaks, the provider drops now and then"

MINUTES: Final = 60.0
QUICK_MINUTES: Final = 0.3
WARM_UP_MINUTES: Final = 15.0
MOST_GROWTH_MIB: Final = 1.0
_EVERY_S: Final = 10.0
_WINDOW: Final = 30
"""Samples that a median is taken of: five minutes."""
_CONNECTIONS: Final = 100_000
_DROP_AFTER_S: Final = 40.0
"""Of audio: each connection breaks in the middle of a sentence, more than once a minute."""
_WORDS: Final = (3, 7)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon has of the machine at a moment."""

    minute: float
    main_mib: float
    """Memory of its own, not what it shares with programs that come and go."""
    ear_mib: float
    descriptors: int
    """Of main."""
    threads: int
    """Of main."""


def run(work: Path, quick: bool) -> str:
    """Let it work for an hour, or as long as asked; ``samples.csv`` grows meanwhile."""
    minutes = float(os.environ.get(MINUTES_VARIABLE, QUICK_MINUTES if quick else MINUTES))
    samples, summary = asyncio.run(_soak(work, minutes))
    if minutes <= WARM_UP_MINUTES:
        return f"{summary}; too short to say how memory grows"
    return f"{summary}; {_judge(samples)}"


async def _soak(work: Path, minutes: float) -> tuple[list[Sample], str]:
    house = House(work / "house")
    service = service_of(faults=Faults(drop_s=(_DROP_AFTER_S,) * _CONNECTIONS))
    with contextlib.ExitStack() as stack:
        if broker.can_be_had():
            house.broker = stack.enter_context(broker.Broker(work / "broker"))
        async with service, house:
            house.furnish(service)
            speaker = Speaker(house, random.Random(1), words=_WORDS)
            await house.launch()
            await house.ready()
            talking = asyncio.create_task(speaker.talk())
            samples = await _watch(house, service, work / "samples.csv", minutes)
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
            await settle(house)
            summary = _check(house, speaker, minutes)
    return samples, summary


async def _watch(house: House, service: Simulator, path: Path, minutes: float) -> list[Sample]:
    """Take a sample every ten seconds, and write each down at once."""
    _note(path, [field.name for field in fields(Sample)])
    samples: list[Sample] = []
    begun_s = time.monotonic()
    while (passed_s := time.monotonic() - begun_s) < 60 * minutes:
        if house.ended is not None:
            raise FaultError(f"the daemon ended: {house.ended}\n{house.tail}")
        samples.append(_sample(house.pid, passed_s / 60))
        _note(path, astuple(samples[-1]))
        if len(samples) % 30 == 1:
            progress(str(samples[-1]))
        del service.sessions[:-8]  # what this process keeps is not measured, but need not be kept
        await asyncio.sleep(min(_EVERY_S, 60 * minutes - passed_s))
    return samples


def _note(path: Path, values: Sequence[object]) -> None:
    with path.open("a") as file:
        file.write(",".join(map(str, values)) + "\n")


def _sample(pid: int, minute: float) -> Sample:
    process = Path(f"/proc/{pid}")
    ear, *_ = (child for child in descendants(pid) if child != pid)
    return Sample(
        round(minute, 2),
        _own_mib(pid),
        _own_mib(ear),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )


def _own_mib(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return round(int(re.findall(r"^Anonymous:\s+(\d+) kB", rollup, re.MULTILINE)[0]) / 1024, 2)


def _check(house: House, speaker: Speaker, minutes: float) -> str:
    """See that all that was said is there, and nothing counted as lost. Raises FaultError."""
    evidence = Evidence()
    evidence.look(house.directory)
    verify(evidence, house)
    records = house.records
    lost_ms = sum(record["lost_ms"] for record in records)
    if lost_ms:
        raise FaultError(f"{lost_ms} ms were lost")
    spoken_ms = sum(record["speech_ms"] for record in records)
    reconnects = sum(record["reconnects"] for record in records)
    if len(records) < speaker.said:
        raise FaultError(f"{speaker.said} sentences were said, {len(records)} records are there")
    return (
        f"{minutes:.1f} min, {len(records)} records, {spoken_ms / 600 / minutes:.0f} % speech, "
        f"{reconnects} drops, 0 ms lost"
    )


def _judge(samples: list[Sample]) -> str:
    """Compare the first and the last minutes after the warm-up. Raises FaultError."""
    warm = [sample for sample in samples if sample.minute >= WARM_UP_MINUTES]
    window = max(1, min(_WINDOW, len(warm) // 2))
    first, last = warm[:window], warm[-window:]
    main = _median(last, "main_mib") - _median(first, "main_mib")
    ear = _median(last, "ear_mib") - _median(first, "ear_mib")
    descriptors = _median(last, "descriptors") - _median(first, "descriptors")
    threads = _median(last, "threads") - _median(first, "threads")
    figures = (
        f"from minute {WARM_UP_MINUTES:.0f} on: main {_median(last, 'main_mib'):.1f} MiB "
        f"({main:+.2f}), ear {_median(last, 'ear_mib'):.1f} MiB ({ear:+.2f}), descriptors "
        f"{_median(last, 'descriptors'):.0f} "
        f"({descriptors:+.0f}), threads {threads:+.0f}"
    )
    if main + ear >= MOST_GROWTH_MIB or descriptors > 0 or threads > 0:
        raise FaultError(figures)
    return figures


def _median(samples: list[Sample], name: str) -> float:
    return float(statistics.median(getattr(sample, name) for sample in samples))
