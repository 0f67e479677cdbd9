"""A provider whose other end is the test: it sees what was sent and says what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stt_edge.errors import ProviderError
from stt_edge.model import (
    AudioSpan,
    EndReason,
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    UtteranceState,
)
from stt_edge.providers import base
from stt_edge.providers.base import Capabilities, Event, Outgoing, PartTimes
from stt_edge.session.budget import Cost


class ScriptedProtocol:
    """Says what it is told in words: ``begin``, ``finalize``, ``goodbye``, and the audio itself."""

    def __init__(self) -> None:
        self._queue: list[Outgoing] = []

    def open(self) -> None:
        self._queue.append("open")

    def begin(self) -> None:
        self._queue.append("begin")

    def resume(self, token: str) -> None:
        self._queue.append(f"resume {token}")

    def send_audio(self, pcm: bytes) -> None:
        assert pcm
        self._queue.append(pcm)

    def finalize(self) -> None:
        self._queue.append("finalize")

    def goodbye(self) -> None:
        self._queue.append("goodbye")

    def keep_alive(self) -> None:
        self._queue.append("keep-alive")

    def feed(self, message: base.Incoming) -> Sequence[Event]:
        raise AssertionError("the scripted transport delivers events, see receive()")

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        return [base.Farewell()]

    def to_send(self) -> Sequence[Outgoing]:
        queue, self._queue = self._queue, []
        return queue


class EventProtocol(ScriptedProtocol):
    """Takes the number of an event out of the message and returns the event itself."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def feed(self, message: base.Incoming) -> Sequence[Event]:
        assert isinstance(message, str)
        return [self._wire.said[int(message)]]


@dataclass
class Wire:
    """One connection as the other end sees it."""

    sent: list[Outgoing] = field(default_factory=list)
    said: list[Event] = field(default_factory=list)
    inbox: asyncio.Queue[str | Exception] = field(default_factory=asyncio.Queue)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    @property
    def pcm(self) -> bytes:
        return b"".join(message for message in self.sent if isinstance(message, bytes))

    @property
    def words(self) -> list[str]:
        return [message for message in self.sent if isinstance(message, str)]

    def say(self, *events: Event) -> None:
        for event in events:
            self.said.append(event)
            self.inbox.put_nowait(str(len(self.said) - 1))

    def hang_up(self, error: Exception | None = None) -> None:
        self.inbox.put_nowait(error or base.TransportClosedError(1000))


class ScriptedTransport:
    """Moves messages between the driver and a ``Wire``."""

    def __init__(self, wire: Wire, remote: Remote) -> None:
        self._wire = wire
        self._remote = remote

    async def connect(self) -> None:
        if self._remote.refuse is not None:
            raise self._remote.refuse
        await self._remote.accepting.wait()
        self._wire.connected.set()

    async def send(self, message: Outgoing) -> None:
        self._wire.sent.append(message)
        await asyncio.sleep(0)

    async def receive(self) -> bytes | str:
        message = await self._wire.inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def close(self) -> None:
        self._wire.closed = True

    def abort(self) -> None:
        self._wire.closed = True


class Remote:
    """The provider's side: all connections made to it so far, and how it treats new ones."""

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.wires: list[Wire] = []
        self.refuse: ProviderError | None = None
        self.accepting = asyncio.Event()
        self.accepting.set()
        self.provider = base.Provider(
            "scripted",
            capabilities or Capabilities(partials=True, part_times=PartTimes.WORDS),
            self._protocol,
            self._transport,
        )

    def _protocol(self) -> base.Protocol:
        wire = Wire()
        self.wires.append(wire)
        return EventProtocol(wire)

    def _transport(self) -> base.Transport:
        return ScriptedTransport(self.wires[-1], self)


class EchoTransport(ScriptedTransport):
    """Answers a goodbye by itself: one word, over all the audio there was."""

    async def send(self, message: Outgoing) -> None:
        await super().send(message)
        if message == "goodbye":
            samples = len(self._wire.pcm) // 2
            word = base.WordOffset("echo", 0, samples, 0.9)
            self._wire.say(base.Final("echo", words=(word,), confidence=0.9))
            self._wire.hang_up()


class EchoRemote(Remote):
    """A provider that understands one word, always the same."""

    def _transport(self) -> base.Transport:
        return EchoTransport(self.wires[-1], self)


class MemoryAudio:
    """Utterances in memory, with the reading half of the log."""

    def __init__(self) -> None:
        self.spans: dict[str, list[AudioSpan]] = {}
        self.broken: Exception | None = None

    def read(self, utterance_id: str, from_sample: int, max_samples: int) -> list[AudioSpan]:
        if self.broken is not None:
            raise self.broken
        found: list[AudioSpan] = []
        for span in self.spans.get(utterance_id, []):
            if span.end > from_sample and max_samples > 0:
                skip = max(0, from_sample - span.sample)
                pcm = span.pcm[2 * skip : 2 * (skip + max_samples)]
                found.append(AudioSpan(span.sample + skip, pcm))
                max_samples -= len(pcm) // 2
        return found


class MemoryResults:
    """Keeps what would go to the store."""

    def __init__(self) -> None:
        self.parts: list[tuple[Part, int]] = []
        self.finished: list[tuple[str, UtteranceState, Record | None]] = []
        self.spent: list[tuple[str, Cost]] = []
        self.first_tries: list[tuple[str, Record | None]] = []
        self.jobs: list[tuple[str, tuple[str, str] | None]] = []
        self.full = False

    @property
    def records(self) -> list[Record]:
        return [record for _, _, record in self.finished if record is not None]

    def commit(self, part: Part, acked: int) -> None:
        self.parts.append((part, acked))

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> None:
        self.finished.append((utterance_id, state, record))

    def provisional(self, utterance_id: str, record: Record | None) -> None:
        self.first_tries.append((utterance_id, record))

    def job(self, utterance_id: str, job: tuple[str, str] | None) -> None:
        self.jobs.append((utterance_id, job))

    def usage(self, provider: str, cost: Cost) -> None:
        self.spent.append((provider, cost))

    def congested(self) -> bool:
        return self.full


class MemoryListener:
    """Keeps what would be shown."""

    def __init__(self) -> None:
        self.partials: list[str] = []
        self.standings: list[tuple[str, str]] = []
        self.budgets: list[bool] = []

    def partial(self, utterance_id: str, text: str) -> None:
        self.partials.append(text)

    def standing(self, provider: str, health: str, message: str) -> None:
        self.standings.append((health, message))

    def budget(self, *, spent: bool) -> None:
        self.budgets.append(spent)


def head(utterance_id: str, start: int = 0) -> UtteranceStart:
    return UtteranceStart(utterance_id, "stream", start, datetime(2026, 1, 1, tzinfo=UTC), 0)


def tail(end: int, reason: EndReason = EndReason.SILENCE) -> UtteranceEnd:
    return UtteranceEnd(end, reason, end, end)
