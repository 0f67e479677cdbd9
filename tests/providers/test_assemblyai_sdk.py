"""The simulator is what the official SDK takes it for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.simulators.assemblyai import Simulator
from tests.simulators.core import Faults
from tests.simulators.speech import say, text_of

sdk = pytest.importorskip("assemblyai.streaming.v3", reason="needs the assemblyai SDK")

# The SDK reads the close code in a way its WebSocket library calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")

SPEECH = say([1, 2, 3, 4])
PATIENCE_S = 10


def faults(*other: str, **common: Any) -> Faults:
    return Faults(**common, other=frozenset(("unpaced", *other)))


class Listener:
    """Everything an SDK client was told."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.turns: list[Any] = []
        self.errors: list[Any] = []
        self.ended: list[Any] = []
        self.news = asyncio.Event()
        for event, kept in (
            (sdk.RealTimeEvents.Turn, self.turns),
            (sdk.RealTimeEvents.Error, self.errors),
            (sdk.RealTimeEvents.Termination, self.ended),
        ):
            client.on(event, self.keeper(kept))

    def keeper(self, kept: list[Any]) -> Any:
        def keep(_: Any, event: Any) -> None:
            kept.append(event)
            self.news.set()

        return keep

    @property
    def finals(self) -> list[Any]:
        return [turn for turn in self.turns if turn.end_of_turn]

    async def until(self, kept: list[Any]) -> Any:
        """Return the newest of what is kept, when there is any."""
        async with asyncio.timeout(PATIENCE_S):
            while not kept:
                self.news.clear()
                await self.news.wait()
        return kept[-1]


@asynccontextmanager
async def using_sdk(simulator: Simulator, key: str | None = None) -> AsyncIterator[Listener]:
    """Connect with the SDK; disconnects in the end, without a goodbye."""
    host = f"ws://127.0.0.1:{simulator.port}"
    options = sdk.RealTimeTranscriberOptions(
        api_key=key or simulator.key, api_host=host, connect_timeout=PATIENCE_S
    )
    listener = Listener(sdk.AsyncRealTimeTranscriber(options))
    model = sdk.SpeechModel.universal_streaming_english
    parameters = sdk.RealTimeParameters(
        sample_rate=16_000, speech_model=model, format_turns=True, keyterms_prompt=["kaffi"]
    )
    await listener.client.connect(parameters)
    try:
        yield listener
    finally:
        await listener.client.disconnect()


async def speak(listener: Listener, pcm: bytes) -> None:
    for at in range(0, len(pcm), 6400):
        await listener.client.stream(pcm[at : at + 6400].ljust(1600, b"\0"))


async def test_the_sdk_hears_partials_finals_and_the_termination() -> None:
    async with Simulator(faults("formats")) as simulator, using_sdk(simulator) as listener:
        await speak(listener, SPEECH)
        await listener.client.disconnect(terminate=True)
        assert any(not turn.end_of_turn for turn in listener.turns)
        plain, formatted = listener.finals
        assert plain.transcript == text_of([1, 2, 3, 4])
        assert formatted.transcript == text_of([1, 2, 3, 4]).capitalize() + "."
        assert formatted.turn_is_formatted
        assert len(listener.ended) == 1
        assert listener.errors == []
        assert simulator.sessions[0].pcm[: len(SPEECH)] == SPEECH


async def test_the_sdk_forces_an_endpoint_and_goes_on() -> None:
    async with Simulator(faults()) as simulator, using_sdk(simulator) as listener:
        await speak(listener, SPEECH)
        await listener.client.force_endpoint()
        await listener.client.keep_alive()
        await speak(listener, say([5]))
        await listener.client.disconnect(terminate=True)
        assert [turn.turn_order for turn in listener.finals] == [0, 0, 1, 1]
        assert listener.finals[-1].transcript == text_of([5])


@pytest.mark.parametrize(("fault", "code"), [(faults(), 1008), (faults("401"), 401)])
async def test_the_sdk_is_told_that_its_key_is_bad(fault: Faults, code: int) -> None:
    async with Simulator(fault) as simulator, using_sdk(simulator, "another-key-0815") as listener:
        error = await listener.until(listener.errors)
        assert error.code == code


@pytest.mark.parametrize("code", [3005, 3008, 3009])
async def test_the_sdk_understands_errors_in_the_middle(code: int) -> None:
    async with Simulator(faults(f"error={code}")) as simulator, using_sdk(simulator) as listener:
        await speak(listener, SPEECH[:6400])
        error = await listener.until(listener.errors)
        assert error.code == code


async def test_the_sdk_notices_a_drop() -> None:
    async with Simulator(faults(drop_s=(0.3,))) as simulator, using_sdk(simulator) as listener:
        await speak(listener, SPEECH)
        assert await listener.until(listener.errors)
        assert listener.finals == []
