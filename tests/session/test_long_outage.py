"""A provider that is of no use for a whole day, on a clock that jumps from one event to the next.

The dispatcher and its connections are the real ones, and so is the event loop but for its clock:
where it would wait it moves on. Somebody says something every ten minutes.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import AudioSpan, UtteranceState
from stt_edge.providers import base
from stt_edge.providers.base import Capabilities, Event, Final, PartTimes, TransportClosedError
from stt_edge.providers.failures import close_failure
from stt_edge.session.dispatcher import Dispatcher
from tests.fakes.clock import FakeClock
from tests.session.scripted import (
    MemoryAudio,
    MemoryListener,
    MemoryResults,
    ScriptedProtocol,
    head,
    tail,
)

DAY_S = 86_400
EVERY_S = 600
SPOKEN = DAY_S // EVERY_S
PCM = b"\x01\x00" * 32_000  # two seconds

MOST_TURNS = 20_000
"""Turns of the event loop in one moment: 144 utterances take a few thousand."""
MOST_ATTEMPTS = 3600
"""A wait is 30 s on average, which is 2880 a day; speech cuts one short, once in ten minutes."""


class JumpingSelector(selectors.DefaultSelector):
    """Lets the time pass that it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self._turns += 1
        if not ready and timeout != 0:
            assert timeout is not None, "nothing will ever happen again"
            self.now_s += timeout
            self._turns = 0
        assert self._turns < MOST_TURNS, "it goes on without an end, and no time passes"
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on which a day takes as long as what happens in it."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(work)


class Service:
    """The provider's side. ``well`` is whether it does its work."""

    def __init__(self, *, refuses: bool = False, mute: bool = False, patience_s: float = 0.0):
        self.well = False
        self.refuses = refuses
        """While it is not well, it refuses connections; otherwise it closes them with 1011."""
        self.mute = mute
        """While it is not well, packets vanish."""
        self.patience_s = patience_s
        """How long it takes audio before it closes."""
        self.attempts: list[float] = []

    def provider(self, part_times: PartTimes) -> base.Provider:
        capabilities = Capabilities(part_times=part_times, connect_timeout_s=20.0)
        return base.Provider("service", capabilities, Protocol, lambda: Transport(self))


class Protocol(ScriptedProtocol):
    """Understands one word, and what a close code means."""

    def feed(self, message: base.Incoming) -> list[Event]:
        assert isinstance(message, str)
        return [Final(message)]

    def closed(self, code: int | None, reason: str) -> list[Event]:
        return [base.Farewell() if code == 1000 else base.Failed(close_failure(code, reason))]


class Transport:
    """One connection to a ``Service``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers: asyncio.Queue[str | TransportClosedError] = asyncio.Queue()
        self._doomed = False

    async def connect(self) -> None:
        service = self._service
        service.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        if service.mute and not service.well:
            await asyncio.Event().wait()
        if service.refuses and not service.well:
            raise ProviderError(FailureKind.CONNECT, "connection refused")

    async def send(self, message: base.Outgoing) -> None:
        if not self._service.well and isinstance(message, bytes) and not self._doomed:
            self._doomed = True
            closed = TransportClosedError(1011, "internal error")
            asyncio.get_running_loop().call_later(
                self._service.patience_s, self._answers.put_nowait, closed
            )
        elif message == "goodbye" and not self._doomed:
            self._answers.put_nowait("hello")
            self._answers.put_nowait(TransportClosedError(1000))
        await asyncio.sleep(0)

    async def receive(self) -> str:
        answer = await self._answers.get()
        if isinstance(answer, TransportClosedError):
            raise answer
        return answer

    async def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@dataclass
class Day:
    """A dispatcher on the jumping loop, and somebody who speaks."""

    service: Service
    seed: int
    part_times: PartTimes = PartTimes.NONE
    audio: MemoryAudio = field(default_factory=MemoryAudio)
    results: MemoryResults = field(default_factory=MemoryResults)
    listener: MemoryListener = field(default_factory=MemoryListener)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(
            [self.service.provider(self.part_times)],
            self.audio,
            self.results,
            self.listener,
            FakeClock(),
            node="here",
            rng=random.Random(self.seed),
        )

    async def pass_by(self) -> list[str]:
        """Let a day pass on which something is said every ten minutes; returns what."""
        spoken = [f"{number:04d}" for number in range(SPOKEN)]
        for name in spoken:
            self.audio.spans[name] = []
            self.dispatcher.opened(head(name))
            for second in range(2):
                await asyncio.sleep(1)
                half = PCM[32_000 * second : 32_000 * (second + 1)]
                self.audio.spans[name].append(AudioSpan(16_000 * second, half))
                self.dispatcher.grew(name)
            self.dispatcher.ended(name, tail(len(PCM) // 2))
            await asyncio.sleep(EVERY_S - 2)
        return spoken

    async def get_well(self) -> None:
        """Let the service do its work again, and wait until everything is transcribed."""
        assert self.results.finished == []
        self.service.well = True
        assert await self.dispatcher.drain(3600)
        await self.dispatcher.aclose()


SERVICES: dict[str, Callable[[], Service]] = {
    "accepts and closes with 1011": Service,
    "takes three seconds of audio and closes with 1011": lambda: Service(patience_s=3.0),
    "refuses connections": lambda: Service(refuses=True),
    "is behind a network that swallows everything": lambda: Service(mute=True),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("how", SERVICES)
def test_a_day_without_the_provider_costs_no_utterance(how: str, seed: int) -> None:
    service = SERVICES[how]()

    async def live() -> None:
        day = Day(service, seed)
        spoken = await day.pass_by()
        attempts = len(service.attempts)
        assert SPOKEN <= attempts <= MOST_ATTEMPTS
        await day.get_well()
        assert [name for name, _, _ in day.results.finished] == spoken
        assert {state for _, state, _ in day.results.finished} == {UtteranceState.DONE}
        assert [record.text for record in day.results.records] == ["hello"] * SPOKEN
        assert all(record.delayed for record in day.results.records)
        assert day.dispatcher.status().poisoned == 0

    run(live())
