"""The package ``wyoming``: its client against the simulator, its server against the provider."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import Farewell, TransportClosedError
from stt_edge.providers.wyoming import Options
from tests.providers.client import PATIENCE_S, Client
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of
from tests.simulators.wyoming import Simulator

pytest.importorskip("wyoming", reason="the package wyoming is not installed")

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    from wyoming.asr import (
        Transcribe,
        Transcript,
        TranscriptChunk,
        TranscriptStart,
        TranscriptStop,
    )
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncClient
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong
    from wyoming.server import AsyncEventHandler, AsyncServer

WORDS = [0, 1, 2, 6]
TEXT = text_of(WORDS, ICELANDIC)
SPEECH = say(WORDS)
CHUNK = 2048


def simulator(*other: str, **faults: bool) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults),  # type: ignore[arg-type]
        recogniser=partial(SyntheticRecogniser, ICELANDIC),
    )


@contextlib.asynccontextmanager
async def official_client(service: Simulator) -> AsyncIterator[AsyncClient]:
    async with (
        service,
        asyncio.timeout(PATIENCE_S),
        AsyncClient.from_uri(service.url) as client,
    ):
        yield client


async def ask(client: AsyncClient) -> None:
    await client.write_event(Transcribe(language="is").event())
    await client.write_event(AudioStart(16000, 2, 1).event())
    for at in range(0, len(SPEECH), CHUNK):
        chunk = AudioChunk(16000, 2, 1, SPEECH[at : at + CHUNK], timestamp=at // 32)
        await client.write_event(chunk.event())
    await client.write_event(AudioStop().event())


async def answers(client: AsyncClient) -> list[Event]:
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
    return events


async def test_the_official_client_gets_its_transcript_and_is_hung_up_on() -> None:
    service = simulator()
    async with official_client(service) as client:
        await ask(client)
        (event,) = await answers(client)
    assert Transcript.from_event(event) == Transcript(TEXT, language="is")
    assert service.sessions[0].pcm == SPEECH


async def test_the_official_client_gets_pieces_from_a_server_that_streams() -> None:
    async with official_client(simulator("streaming", "inline")) as client:
        await ask(client)
        first, *pieces, whole, last = await answers(client)
    assert TranscriptStart.is_type(first.type)
    assert "".join(TranscriptChunk.from_event(piece).text for piece in pieces) == TEXT
    assert Transcript.from_event(whole).text == TEXT
    assert TranscriptStop.is_type(last.type)


async def test_the_official_client_learns_what_the_server_can_do() -> None:
    async with official_client(simulator()) as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        assert Info.from_event(event).asr[0].models[0].languages == ["en", "is", "th"]
        await client.write_event(Ping("there?").event())
        event = await client.read_event()
        assert event is not None
        assert Pong.from_event(event).text == "there?"


async def test_the_official_client_is_told_of_an_error() -> None:
    async with official_client(simulator("error")) as client:
        await ask(client)
        (event,) = await answers(client)
    assert Error.from_event(event).code == "oom"


async def test_the_official_client_notices_a_drop() -> None:
    async with official_client(simulator(drop_at_goodbye=True)) as client:
        await ask(client)
        with contextlib.suppress(ConnectionError):
            assert await answers(client) == []


# The other way round


class Transcriber(AsyncEventHandler):
    """A server as its package means it to be written; understands ``say``."""

    mode = ""
    requests: list[Transcribe]

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.heard = SyntheticRecogniser(ICELANDIC)

    async def handle_event(self, event: Event) -> bool:
        if Transcribe.is_type(event.type):
            self.requests.append(Transcribe.from_event(event))
        elif AudioChunk.is_type(event.type):
            chunk = AudioChunk.from_event(event)
            assert (chunk.rate, chunk.width, chunk.channels) == (16000, 2, 1)
            self.heard.feed(chunk.audio)
        elif AudioStop.is_type(event.type):
            return await self.transcribe()
        return True

    async def transcribe(self) -> bool:
        if self.mode == "drop":
            return False
        if self.mode == "error":
            await self.write_event(Error("out of memory", "oom").event())
            return False
        text = " ".join(word.text for word in self.heard.finish())
        if self.mode == "streaming":
            await self.write_event(TranscriptStart(language="is").event())
            for word in text.split():
                await self.write_event(TranscriptChunk(word + " ").event())
        await self.write_event(Transcript(text, language="is").event())
        if self.mode == "streaming":
            await self.write_event(TranscriptStop().event())
        return False


@contextlib.asynccontextmanager
async def official_server(
    directory: Path, mode: str
) -> AsyncIterator[tuple[str, list[Transcribe]]]:
    requests: list[Transcribe] = []
    handler = type("Handler", (Transcriber,), {"mode": mode, "requests": requests})
    url = f"unix://{directory / 'asr.sock'}"
    server = AsyncServer.from_uri(url)
    await server.start(handler)
    try:
        yield url, requests
    finally:
        await server.stop()


async def converse(url: str) -> Client:
    provider = registry.build("w", "wyoming", Options(url=url, language="is", terms=("kaffi",)))
    client = Client(provider)
    await client.transport.connect()
    try:
        client.protocol.open()
        with contextlib.suppress(TransportClosedError):
            await client.speak(SPEECH)
            client.protocol.goodbye()
            await client.flush()
        await client.until(Farewell)
    finally:
        await client.transport.close()
    return client


@pytest.mark.parametrize("mode", ["", "streaming"])
async def test_the_official_server_understands_the_provider(mode: str, tmp_path: Path) -> None:
    async with official_server(tmp_path, mode) as (url, requests):
        client = await converse(url)
    assert client.text == TEXT
    assert client.finals[0].language == "is"
    assert bool(client.partials) == (mode == "streaming")
    assert requests == [Transcribe(language="is", transcript_terms=["kaffi"])]


@pytest.mark.parametrize(("mode", "kind"), [("drop", "lost"), ("error", "server")])
async def test_what_the_official_server_cannot_do_is_a_failure(
    mode: str, kind: str, tmp_path: Path
) -> None:
    async with official_server(tmp_path, mode) as (url, _):
        with pytest.raises(ProviderError) as caught:
            await converse(url)
    assert caught.value.kind is FailureKind(kind)
