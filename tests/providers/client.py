"""The smallest session there is: drives one connection of a provider in a straight line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from stt_edge.providers.base import (
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    Partial,
    Provider,
    Ready,
    TransportClosedError,
)

CHUNK_BYTES = 3200
PATIENCE_S = 60.0


class Client:
    """One connection. Everything that was received is in ``events``."""

    def __init__(self, provider: Provider) -> None:
        self.events: list[Event] = []
        self.transport = provider.make_transport()
        self.protocol = provider.make_protocol()

    @property
    def finals(self) -> list[Final]:
        return [event for event in self.events if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        return [event for event in self.events if isinstance(event, Partial)]

    @property
    def text(self) -> str:
        """What was understood, all finals together."""
        return " ".join(final.text for final in self.finals)

    async def connect(self) -> None:
        """Connect and wait until it is ready. Raises ProviderError."""
        await self.transport.connect()
        self.protocol.open()
        await self.flush()
        await self.until(Ready)

    async def speak(self, pcm: bytes) -> None:
        """Begin an utterance and send all of it."""
        self.protocol.begin()
        for at in range(0, len(pcm), CHUNK_BYTES):
            self.protocol.send_audio(pcm[at : at + CHUNK_BYTES])
            await self.flush()
        await self.flush()

    async def utterance(self, pcm: bytes) -> str:
        """Send an utterance and return what was understood."""
        before = len(self.finals)
        await self.speak(pcm)
        self.protocol.finalize()
        await self.flush()
        await self.until(Finalized)
        return " ".join(final.text for final in self.finals[before:])

    async def goodbye(self) -> None:
        """Say goodbye, wait until it is confirmed, and close."""
        self.protocol.goodbye()
        await self.flush()
        await self.until(Farewell)
        await self.transport.close()

    async def until(self, kind: type[Event]) -> None:
        """Receive until an event of this kind has come. Raises ProviderError."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    events = self.protocol.feed(await self.transport.receive())
                except TransportClosedError as closed:
                    events = self.protocol.closed(closed.code, closed.reason)
                self.events += events
                await self.flush()
                for event in events:
                    if isinstance(event, Failed):
                        raise event.failure
                if any(isinstance(event, kind) for event in events):
                    return

    async def flush(self) -> None:
        for message in self.protocol.to_send():
            await self.transport.send(message)


@asynccontextmanager
async def using(provider: Provider) -> AsyncIterator[Provider]:
    """Have the provider's processes ended, come what may."""
    try:
        yield provider
    finally:
        assert provider.aclose is not None
        await provider.aclose()


async def transcribe(provider: Provider, pcm: bytes) -> Client:
    """One connection, one utterance; return the client with all that happened."""
    client = Client(provider)
    await client.connect()
    await client.utterance(pcm)
    await client.goodbye()
    return client


class Caller(Client):
    """Connects without waiting to be told that it may speak."""

    async def connect(self) -> None:
        await self.transport.connect()
        self.protocol.open()
        await self.flush()

    async def whole(self, pcm: bytes) -> Caller:
        """One connection from the beginning to the end, one utterance on it."""
        await self.connect()
        try:
            await self.speak(pcm)
            await self.goodbye()
        finally:
            await self.transport.close()
        return self

    async def flush(self) -> None:
        with suppress(TransportClosedError):  # the receiver learns of it too
            await super().flush()
