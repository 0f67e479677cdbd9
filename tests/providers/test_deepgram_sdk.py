"""The simulator is what the official SDK takes it for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.simulators.core import Faults
from tests.simulators.deepgram import Simulator
from tests.simulators.speech import say, text_of

# The SDK speaks through what its WebSocket library calls legacy.
pytestmark = pytest.mark.filterwarnings("ignore:websockets.*deprecated:DeprecationWarning")

SPEECH = say([1, 2, 3])
PATIENCE_S = 10


@asynccontextmanager
async def using_sdk(
    simulator: Simulator, key: str | None = None, **options: Any
) -> AsyncIterator[Any]:
    """Connect with the SDK."""
    deepgram = pytest.importorskip("deepgram", reason="needs the Deepgram SDK")
    environment = pytest.importorskip("deepgram.environment")
    http, ws = (f"{scheme}://127.0.0.1:{simulator.port}" for scheme in ("http", "ws"))
    client = deepgram.AsyncDeepgramClient(
        api_key=key or simulator.key,
        environment=environment.DeepgramClientEnvironment(
            base=http, production=ws, agent=ws, agent_rest=http
        ),
    )
    settings = {
        "model": "nova-3",
        "encoding": "linear16",
        "sample_rate": 16_000,
        "interim_results": "true",
        **options,
    }
    async with client.listen.v1.connect(**settings) as socket:
        yield socket


async def speak(socket: Any, pcm: bytes) -> None:
    for at in range(0, len(pcm), 3200):
        await socket.send_media(pcm[at : at + 3200])


async def until(socket: Any, last: Any) -> list[Any]:
    """Return what comes, up to the first message of which ``last`` is true."""
    heard: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while not heard or not last(heard[-1]):
            heard.append(await socket.recv())
    return heard


def finals(heard: list[Any]) -> str:
    said = [
        item.channel.alternatives[0].transcript
        for item in heard
        if item.type == "Results" and item.is_final
    ]
    return " ".join(filter(None, said))


async def test_the_sdk_hears_interim_results_finals_and_the_end() -> None:
    async with Simulator() as simulator, using_sdk(simulator) as socket:
        await speak(socket, SPEECH)
        await socket.send_close_stream()
        heard = await until(socket, lambda item: item.type == "Metadata")
        assert any(not item.is_final for item in heard[:-1])
        assert finals(heard) == text_of([1, 2, 3])
        assert heard[-1].duration == pytest.approx(len(SPEECH) / 32_000)
        assert simulator.sessions[0].pcm == SPEECH


async def test_the_sdk_finalizes_and_goes_on() -> None:
    async with Simulator() as simulator, using_sdk(simulator) as socket:
        await speak(socket, SPEECH)
        await socket.send_finalize()
        first = await until(socket, lambda item: item.from_finalize)
        await socket.send_keep_alive()
        await speak(socket, say([4]))
        await socket.send_close_stream()
        second = await until(socket, lambda item: item.type == "Metadata")
        assert finals(first) == text_of([1, 2, 3])
        assert finals(second) == text_of([4])


@pytest.mark.parametrize(
    ("key", "options", "status"), [("another-key-0815", {}, 401), (None, {"model": "nova-9"}, 400)]
)
async def test_the_sdk_is_told_why_it_is_refused(
    key: str | None, options: dict[str, Any], status: int
) -> None:
    errors = pytest.importorskip("deepgram.core.api_error", reason="needs the Deepgram SDK")
    async with Simulator() as simulator:
        with pytest.raises(errors.ApiError) as caught:
            async with using_sdk(simulator, key, **options):
                pass
    assert caught.value.status_code == status


async def test_the_sdk_notices_a_drop() -> None:
    exceptions = pytest.importorskip("websockets.exceptions")
    fault = Faults(drop_s=(0.3,))
    async with Simulator(fault) as simulator, using_sdk(simulator) as socket:
        await speak(socket, SPEECH[:12_800])
        with pytest.raises(exceptions.ConnectionClosedError):
            await until(socket, lambda item: item.type == "Metadata")
