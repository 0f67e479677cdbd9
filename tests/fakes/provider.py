"""A speech-to-text provider in this process: a real protocol, a real transport, scripted faults.

    server = FakeServer(Behaviour(goodbye_s=8))
    provider = server.provider(finalize=False)
    ...
    assert server.utterances[0].pcm == what_was_said

The wire: JSON texts and binary audio, much as providers have it. Words are timed to the audio that
came: one each ``word_ms``, all through the utterance; a word counts once it is over.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from stt_edge.providers.base import (
    Capabilities,
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    HttpReply,
    Incoming,
    Outgoing,
    Partial,
    PartTimes,
    Provider,
    Ready,
    TransportClosedError,
    WordOffset,
)

CLEAN = 1000
"""The close code of a good end, as WebSockets have it."""
BROKEN = 1006


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server treats one connection. Samples count from the start of each utterance."""

    text: str | None = None
    """Its words, over and over; ``{n}`` is the number of the utterance. None: w0 w1 w2 …"""
    word_ms: int = 250
    partial_ms: int = 500
    """Audio between partials; 0 is none."""
    part_ms: int = 0
    """Audio between finals in the middle of an utterance; 0 is one final, in the end."""
    connect_s: float = 0.0
    refuse: ProviderError | None = None
    """What connecting ends in."""
    ready_s: float = 0.0
    final_s: float = 0.0
    """From the end of the audio until its finals."""
    goodbye_s: float = 0.0
    """From the goodbye until it is confirmed."""
    drop_at: int | None = None
    """Break the connection once an utterance has this many samples."""
    drop_at_end: bool = False
    """Break it in place of the last final."""
    garbage_at: int | None = None
    stuck_at: int | None = None
    """Take nothing more and say nothing more: a peer that has stopped reading."""
    never_finals: bool = False
    """Confirm everything, and never say what was understood in the end."""
    never_confirms: bool = False
    """Never answer a finalize or a goodbye."""
    duplicate_finals: bool = False
    items: bool = False
    """Finals carry an item id."""


@dataclass(slots=True)
class Utterance:
    """What the server was given between a begin and the end of it."""

    number: int
    """Counted over all connections."""
    connection: int
    audio: bytearray = field(default_factory=bytearray)
    ended: bool = False
    partials: int = 0
    finals: list[str] = field(default_factory=list)
    said_words: int = 0

    @property
    def pcm(self) -> bytes:
        """The audio that came."""
        return bytes(self.audio)

    @property
    def samples(self) -> int:
        """How much audio came."""
        return len(self.audio) // SAMPLE_BYTES


Watch = Callable[[str, int, Utterance | None], None]
"""Told what happens: its name, the number of the connection, and the utterance concerned."""


class FakeServer:
    """The far side of every connection of a fake provider."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *script: Behaviour,
        watch: Watch | None = None,
        number: Callable[[], int] | None = None,
    ) -> None:
        """Treat connections by the script in turn, and all after it by ``behaviour``.

        ``number`` says what the next utterance is called; they are counted from 0 without it.
        """
        self.behaviour = behaviour or Behaviour()
        self.script = deque(script)
        self.connections: list[FakeTransport] = []
        self.utterances: list[Utterance] = []
        self.warmed = 0
        self.closed = False
        self._watch = watch
        self._number = number or (lambda: len(self.utterances))

    def provider(self, name: str = "fake", **capabilities: Any) -> Provider:
        """Return the provider; capabilities that are not given are those of a modest one."""
        known: dict[str, Any] = {
            "partials": True,
            "part_times": PartTimes.WORDS,
            "ready_message": True,
            "finalize": True,
        }
        return Provider(
            name=name,
            capabilities=Capabilities(**(known | capabilities)),
            make_protocol=FakeProtocol,
            make_transport=partial(FakeTransport, self),
            model="fake-1",
            language="en",
            warm=self._warm,
            aclose=self._aclose,
        )

    def begin(self, connection: int) -> Utterance:
        """Take up the next utterance."""
        self.utterances.append(Utterance(self._number(), connection))
        return self.utterances[-1]

    def happened(self, what: str, connection: int, utterance: Utterance | None = None) -> None:
        """Tell whoever watches."""
        if self._watch is not None:
            self._watch(what, connection, utterance)

    def _warm(self) -> None:
        self.warmed += 1

    async def _aclose(self) -> None:
        self.closed = True


class FakeTransport:
    """One connection, and the server's end of it. See ``base.Transport``."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.number = len(server.connections)
        server.connections.append(self)
        self.behaviour = server.script.popleft() if server.script else server.behaviour
        self.utterance: Utterance | None = None
        self._inbox: asyncio.Queue[bytes | str | TransportClosedError] = asyncio.Queue()
        self._answers: set[asyncio.Task[None]] = set()
        self._end: TransportClosedError | None = None

    @property
    def open(self) -> bool:
        """Whether it is connected."""
        return self._end is None

    async def connect(self) -> None:
        self._server.happened("connect", self.number)
        await asyncio.sleep(self.behaviour.connect_s)
        if self.behaviour.refuse is not None:
            raise self.behaviour.refuse
        self._later(self.behaviour.ready_s, partial(self._say, "ready"))

    async def send(self, message: Outgoing) -> None:
        if self._end is not None:
            raise self._end
        if self._is_stuck():
            await asyncio.Event().wait()
        if isinstance(message, bytes):
            self._hear(message)
        else:
            assert isinstance(message, str)
            getattr(self, f"_on_{json.loads(message)['do']}")()

    async def receive(self) -> bytes | str:
        if self._end is not None and self._inbox.empty():
            raise self._end
        message = await self._inbox.get()
        if isinstance(message, TransportClosedError):
            raise message
        return message

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        for answer in self._answers:
            answer.cancel()
        if self._end is None:
            self._server.happened("close", self.number, self.utterance)
            self._finish(CLEAN)

    def drop(self) -> None:
        """Break the connection, as a network does."""
        self._server.happened("drop", self.number, self.utterance)
        self._finish(BROKEN)

    def _on_begin(self) -> None:
        self.utterance = self._server.begin(self.number)
        self._server.happened("begin", self.number, self.utterance)

    def _on_finalize(self) -> None:
        self._server.happened("finalize", self.number, self.utterance)
        self._end_utterance()
        self._later(self.behaviour.final_s, partial(self._say, "finalized"), confirms=True)

    def _on_goodbye(self) -> None:
        self._server.happened("goodbye", self.number, self.utterance)
        self._end_utterance()
        wait_s = self.behaviour.final_s + self.behaviour.goodbye_s
        self._later(wait_s, partial(self._finish, CLEAN), confirms=True)

    def _hear(self, pcm: bytes) -> None:
        utterance, behaviour = self.utterance, self.behaviour
        assert pcm, "an empty chunk is a goodbye to some providers"
        assert utterance is not None, "audio before begin"
        assert not utterance.ended, "audio after the end of the utterance"
        before = utterance.samples
        utterance.audio += pcm
        after = utterance.samples
        self._server.happened("audio", self.number, utterance)
        if _passed(behaviour.garbage_at, before, after):
            self._inbox.put_nowait('{"type": "fin')
        if _passed(behaviour.drop_at, before, after):
            self.drop()
        if self._end is not None or self._is_stuck():
            return
        if _crossed(behaviour.partial_ms, before, after):
            utterance.partials += 1
            self._say("partial", end=after, words=self._new_words(utterance))
        if _crossed(behaviour.part_ms, before, after):
            self._say_final(utterance)

    def _end_utterance(self) -> None:
        utterance, self.utterance = self.utterance, None
        if utterance is None:
            return
        utterance.ended = True
        if self.behaviour.drop_at_end:
            self.drop()
        elif not self.behaviour.never_finals:
            self._later(self.behaviour.final_s, partial(self._say_final, utterance))

    def _say_final(self, utterance: Utterance) -> None:
        words = self._new_words(utterance)
        if not words:
            return
        utterance.said_words += len(words)
        utterance.finals.append(" ".join(word for word, *_ in words))
        item = f"item-{utterance.number}-{len(utterance.finals)}"
        for _ in range(2 if self.behaviour.duplicate_finals else 1):
            self._say("final", words=words, item=item if self.behaviour.items else None)
        self._server.happened("final", self.number, utterance)

    def _new_words(self, utterance: Utterance) -> list[tuple[str, int, int, float]]:
        """The words no final has said that are over; a short utterance has one all the same."""
        length = ms_to_samples(self.behaviour.word_ms)
        count = max(utterance.samples // length, 1 if utterance.samples else 0)
        texts = _texts(self.behaviour.text, utterance.number)
        timed = (
            (text, at * length, min((at + 1) * length, utterance.samples), 0.5)
            for at, text in zip(range(count), texts, strict=False)
        )
        return list(itertools.islice(timed, utterance.said_words, None))

    def _say(self, what: str, /, **fields: Any) -> None:
        self._inbox.put_nowait(json.dumps({"type": what, **fields}))

    def _finish(self, code: int) -> None:
        if self._end is None:
            self._end = TransportClosedError(code)
            self._inbox.put_nowait(self._end)

    def _is_stuck(self) -> bool:
        limit = self.behaviour.stuck_at
        return limit is not None and self.utterance is not None and self.utterance.samples >= limit

    def _later(self, delay_s: float, answer: Callable[[], None], *, confirms: bool = False) -> None:
        if confirms and self.behaviour.never_confirms:
            return

        async def wait_and_answer() -> None:
            await asyncio.sleep(delay_s)
            if self._end is None:
                answer()

        if not delay_s:
            answer()
            return
        task = asyncio.get_running_loop().create_task(wait_and_answer())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


class FakeProtocol:
    """The client's side of the wire. See ``base.Protocol``."""

    def __init__(self) -> None:
        self._queue: list[Outgoing] = []
        self._parting = False

    def open(self) -> None:
        pass

    def begin(self) -> None:
        self._tell("begin")

    def resume(self, token: str) -> None:
        raise TypeError(token)

    def send_audio(self, pcm: bytes) -> None:
        self._queue.append(pcm)

    def finalize(self) -> None:
        self._tell("finalize")

    def goodbye(self) -> None:
        self._parting = True
        self._tell("goodbye")

    def keep_alive(self) -> None:
        pass

    def feed(self, message: Incoming) -> Sequence[Event]:
        assert not isinstance(message, HttpReply)
        try:
            body = json.loads(message)
        except ValueError:
            return (Failed(ProviderError(FailureKind.PROTOCOL, "the fake speaks nonsense")),)
        match body["type"]:
            case "ready":
                return (Ready(),)
            case "finalized":
                return (Finalized(),)
        words = tuple(WordOffset(*word) for word in body["words"])
        text = " ".join(word.text for word in words)
        if body["type"] == "partial":
            return (Partial(text, body["end"], words),)
        start, end = words[0].start, words[-1].end
        return (Final(text, start, end, words, 0.5, "en", "fake-1", body["item"]),)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        if self._parting and code == CLEAN:
            return (Farewell(),)
        return (Failed(ProviderError(FailureKind.LOST, "the fake hung up", code=str(code))),)

    def to_send(self) -> Sequence[Outgoing]:
        queue, self._queue = self._queue, []
        return queue

    def _tell(self, verb: str) -> None:
        self._queue.append(json.dumps({"do": verb}))


def _passed(limit: int | None, before: int, after: int) -> bool:
    return limit is not None and before < limit <= after


def _crossed(interval_ms: int, before: int, after: int) -> bool:
    step = ms_to_samples(interval_ms)
    return bool(step) and before // step != after // step


def _texts(text: str | None, number: int) -> Any:
    if text is None:
        return (f"w{at}" for at in itertools.count())
    return itertools.cycle(text.format(n=number).split())
