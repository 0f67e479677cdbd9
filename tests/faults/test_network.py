"""A bad network between the real session and a service: it is waited out, and leaves nothing."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from stt_edge.clock import SystemClock
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import AudioSpan
from stt_edge.providers.base import PartTimes, Provider
from stt_edge.session.chain import SessionRules
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.standing import Standing
from tests.fakes.clock import FakeClock
from tests.providers.network import HOST, Relay, free_port
from tests.providers.test_every_provider import UNPACED, AtOnce, built
from tests.session.scripted import MemoryAudio, MemoryListener, MemoryResults, head, tail
from tests.session.test_long_outage import Service, Transport, run
from tests.simulators.core import Faults, Simulator
from tests.simulators.registry import simulator_class
from tests.simulators.speech import ENGLISH, say, text_of

IN_FULL: Final = bool(os.environ.get("STT_EDGE_FAULTS_IN_FULL"))
"""Latencies and rounds are those of the matrix; otherwise a tenth."""
LATENCY_S: Final = 3.0 if IN_FULL else 0.1
UTTERANCES: Final = 40 if IN_FULL else 12
RESETS: Final = 0.3


class BadRelay(Relay):
    """Passes connections on late, and resets some of them in the middle."""

    def __init__(self, to_port: int, latency_s: float) -> None:
        super().__init__(to_port)
        self.resets = 0
        self._latency_s = latency_s
        self._rng = random.Random(4)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._latency_s)
        if self._rng.random() < RESETS:
            self.resets += 1
            asyncio.get_running_loop().call_later(0.02, writer.transport.abort)
        await super().serve(reader, writer)


@dataclass
class Talk:
    """Somebody who talks to a provider over the real session."""

    provider: Provider
    audio: MemoryAudio = field(default_factory=MemoryAudio)
    results: MemoryResults = field(default_factory=MemoryResults)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(
            [self.provider],
            self.audio,
            self.results,
            MemoryListener(),
            SystemClock(),
            node="here",
            rules=SessionRules(hold_s=0),
            rng=AtOnce(),
        )

    def say(self, name: str, words: list[int]) -> None:
        pcm = say(words)
        self.audio.spans[name] = [AudioSpan(0, pcm)]
        self.dispatcher.opened(head(name))
        self.dispatcher.ended(name, tail(len(pcm) // 2))

    def texts(self) -> dict[str, str]:
        return {record.id: record.text for record in self.results.records}


@asynccontextmanager
async def talk(
    service: Simulator, port: int, directory: Path, connect_s: float = 20.0
) -> AsyncIterator[Talk]:
    """Yield somebody who reaches a service by another port than its own."""
    options = service.options(directory)
    options["url"] = options["url"].replace(f":{service.port}", f":{port}")
    provider = built("deepgram", {**options, "rate": 50}, directory)
    shortened = replace(provider.capabilities, connect_timeout_s=connect_s)
    made = Talk(replace(provider, capabilities=shortened))
    yield made
    await made.dispatcher.aclose()


def deepgram(faults: Faults | None = None) -> Simulator:
    return simulator_class("deepgram")(replace(faults or Faults(), other=UNPACED))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_late_and_broken_connections_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with deepgram() as service, BadRelay(service.port, LATENCY_S) as relay:
        async with talk(service, relay.port, tmp_path) as talking:
            said = {f"{number:02d}": [number % 8, 1, 2] for number in range(UTTERANCES)}
            for name, words in said.items():
                talking.say(name, words)
            assert await talking.dispatcher.drain(60 + UTTERANCES * LATENCY_S)
            opened = descriptors()
        assert relay.resets > UTTERANCES * RESETS / 3
        assert talking.texts() == {name: text_of(words, ENGLISH) for name, words in said.items()}
        assert len(talking.results.records) == UTTERANCES
    assert asyncio.all_tasks() == before
    assert descriptors() < opened


async def test_a_byte_a_second_is_no_connection_and_is_left_behind(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with deepgram() as service, Relay(service.port) as relay:
        relay.throttle(1)
        async with talk(service, relay.port, tmp_path, connect_s=0.3) as talking:
            talking.say("a", [0, 1, 2])
            async with asyncio.timeout(20):
                while talking.dispatcher.status().lanes[0].health == "up":
                    await asyncio.sleep(0.01)
            relay.throttle(1 << 30)
            assert await talking.dispatcher.drain(20)
        assert talking.texts() == {"a": text_of([0, 1, 2], ENGLISH)}
    assert asyncio.all_tasks() == before


async def test_a_service_behind_a_port_nobody_listens_on_is_found_when_somebody_does(
    tmp_path: Path,
) -> None:
    before = asyncio.all_tasks()
    service = deepgram()
    service.port = free_port()
    async with talk(service, service.port, tmp_path) as talking:
        talking.say("a", [3, 1])
        async with asyncio.timeout(20):
            while talking.dispatcher.status().lanes[0].health == "up":
                await asyncio.sleep(0.01)
        async with service:
            assert await talking.dispatcher.drain(20)
    assert talking.texts() == {"a": text_of([3, 1], ENGLISH)}
    assert asyncio.all_tasks() == before


async def test_a_name_that_cannot_be_resolved_costs_nothing_but_time(tmp_path: Path) -> None:
    service = deepgram()
    before = asyncio.all_tasks()
    options = {**service.options(tmp_path), "url": "ws://nowhere.invalid/v1/listen"}
    talking = Talk(built("deepgram", options, tmp_path))
    talking.say("a", [1])
    async with asyncio.timeout(30):
        while talking.dispatcher.status().lanes[0].health == "up":
            await asyncio.sleep(0.01)
    (lane,) = talking.dispatcher.status().lanes
    assert lane.health == "backing-off"
    assert "cannot be resolved" in lane.message
    await talking.dispatcher.aclose()
    assert asyncio.all_tasks() == before
    assert HOST not in lane.message


class FailingTransport(Transport):
    """Fails each connection after a while, in one way."""

    def __init__(self, service: FailingService) -> None:
        super().__init__(service)
        self._failing = service

    async def connect(self) -> None:
        self._failing.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(CONNECTING_S)
        raise self._failing.failure


class FailingService(Service):
    """Is never well."""

    def __init__(self, failure: ProviderError) -> None:
        super().__init__(refuses=True)
        self.failure = failure

    def provider(self, part_times: PartTimes) -> Provider:
        return replace(super().provider(part_times), make_transport=lambda: FailingTransport(self))


CONNECTING_S: Final = 0.05
ATTEMPTS: Final = 40


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "failure",
    [
        ProviderError(FailureKind.CONNECT, "connection refused"),
        ProviderError(FailureKind.TIMEOUT, "no answer"),
        ProviderError(FailureKind.SERVER, "503"),
        ProviderError(FailureKind.OVERLOADED, "429", retry_after_s=50.0),
        ProviderError(FailureKind.DENIED, "401"),
    ],
    ids=lambda failure: failure.kind.value if isinstance(failure, ProviderError) else None,
)
def test_the_waits_between_attempts_are_those_of_the_back_off(
    failure: ProviderError, seed: int
) -> None:
    async def live() -> None:
        service = FailingService(failure)
        audio = MemoryAudio()
        dispatcher = Dispatcher(
            [service.provider(PartTimes.NONE)],
            audio,
            MemoryResults(),
            MemoryListener(),
            FakeClock(),
            node="here",
            rng=random.Random(seed),
        )
        audio.spans["a"] = [AudioSpan(0, bytes(3200))]
        dispatcher.opened(head("a"))
        dispatcher.ended("a", tail(1600))
        while len(service.attempts) < ATTEMPTS:
            await asyncio.sleep(1.0)
        await dispatcher.aclose()
        rng, standing, due_s = random.Random(seed), Standing(), 0.0
        for at_s in service.attempts:
            assert at_s == pytest.approx(due_s, abs=0.002)
            failed_s = at_s + CONNECTING_S
            standing = standing.failed(failure, failed_s, rng, established=False)
            due_s = standing.due_s

    run(live())
