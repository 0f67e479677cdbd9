"""An hour without the provider, on a simulated clock: everything is transcribed, live speech first.

The dispatcher, its connections and their pacing are the real ones; the event loop's clock jumps
from one event to the next.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from stt_edge.model import AudioSpan, UtteranceState
from stt_edge.providers import base
from stt_edge.providers.base import Capabilities, Pacing, PartTimes
from stt_edge.session.dispatcher import Dispatcher
from tests.fakes.clock import FakeClock
from tests.session.scripted import MemoryAudio, MemoryListener, MemoryResults, head, tail
from tests.session.test_long_outage import Protocol, Service, Transport, run

OFFLINE_S = 3600
EVERY_S = 20
SPOKEN_S = 4
ANSWER_S = 0.4
RATE = 2.0
LIVE_P95_S = 2.0
SECOND = b"\x01\x00" * 16_000


class SlowTransport(Transport):
    """Answers a goodbye as a service does, which is not at once."""

    async def send(self, message: base.Outgoing) -> None:
        if message == "goodbye":
            await asyncio.sleep(ANSWER_S)
        await super().send(message)


class PacedService(Service):
    """Takes audio at twice the speed of speech."""

    def __init__(self, connections: int) -> None:
        super().__init__(refuses=True)
        self.connections = connections

    def provider(self, part_times: PartTimes) -> base.Provider:
        capabilities = Capabilities(
            part_times=part_times,
            max_connections=self.connections,
            pacing=Pacing(rate=RATE, burst_s=1.0),
        )
        return base.Provider("service", capabilities, Protocol, lambda: SlowTransport(self))


class TimedResults(MemoryResults):
    """Notes when an utterance was done."""

    def __init__(self) -> None:
        super().__init__()
        self.done_s: dict[str, float] = {}

    def finish(self, utterance_id: str, *rest: object) -> None:
        super().finish(utterance_id, *rest)  # type: ignore[arg-type]
        self.done_s[utterance_id] = asyncio.get_running_loop().time()


@dataclass
class Hour:
    """Somebody who says something of four seconds every twenty."""

    service: PacedService
    audio: MemoryAudio = field(default_factory=MemoryAudio)
    results: TimedResults = field(default_factory=TimedResults)
    ended_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(
            [self.service.provider(PartTimes.NONE)],
            self.audio,
            self.results,
            MemoryListener(),
            FakeClock(),
            node="here",
            rng=random.Random(5),
        )

    async def speak(self) -> str:
        """Say something in real time."""
        name = f"{len(self.ended_s):04d}"
        self.audio.spans[name] = []
        self.dispatcher.opened(head(name))
        for second in range(SPOKEN_S):
            await asyncio.sleep(1)
            self.audio.spans[name].append(AudioSpan(16_000 * second, SECOND))
            self.dispatcher.grew(name)
        self.dispatcher.ended(name, tail(16_000 * SPOKEN_S))
        self.ended_s[name] = asyncio.get_running_loop().time()
        return name

    async def speak_for(self, seconds: float) -> list[str]:
        """Say something every so often."""
        said = []
        for _ in range(int(seconds / EVERY_S)):
            said.append(await self.speak())
            await asyncio.sleep(EVERY_S - SPOKEN_S)
        return said


@pytest.mark.parametrize("connections", [1, 2])
def test_an_hour_offline_is_transcribed_in_order_and_live_speech_is_not_held_up(
    connections: int, record_property: Callable[[str, object], None]
) -> None:
    async def live() -> None:
        service = PacedService(connections)
        hour = Hour(service)
        offline = await hour.speak_for(OFFLINE_S)
        assert hour.results.finished == []
        service.well = True
        online: list[str] = []
        while not set(offline) <= hour.results.done_s.keys():
            assert len(online) < len(offline), "the backlog is never done"
            online += await hour.speak_for(EVERY_S)
        replayed = len(online)
        assert replayed > 5, "it was over before live speech could be held up"
        assert await hour.dispatcher.drain(3600)
        await hour.dispatcher.aclose()
        done = [name for name, _, _ in hour.results.finished]
        # The first to be said after the return may count as late: it ended the wait.
        assert [name for name in done if name in offline] == offline
        assert [name for name in done if name in online] == online
        assert {state for _, state, _ in hour.results.finished} == {UtteranceState.DONE}
        records = {record.id: record for record in hour.results.records}
        assert all(records[name].delayed for name in offline)
        assert not any(records[name].delayed for name in online)
        waits = [hour.results.done_s[name] - hour.ended_s[name] for name in online]
        p95 = statistics.quantiles(waits, n=20)[-1]
        figure = f"{len(offline)} late, {replayed} live meanwhile, live p95 {p95:.2f} s"
        record_property("figure", f"{connections} at a time: {figure}")
        assert p95 < LIVE_P95_S

    run(live())
