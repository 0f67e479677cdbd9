"""What all simulators share: faults, what a session received, and the WebSocket server.

A simulator is written from the service's documentation and never from our client. It is strict
about what it is sent, and wrong in exactly the way its ``Faults`` say.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from tests.simulators.speech import Recogniser, RecogniserFactory, SyntheticRecogniser

KEY: Final = "sesame-4711"
HUGE_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the service. Seconds of audio are counted on each connection."""

    http_status: int | None = None
    """Refuse the handshake (or the request) with this status."""
    retry_after: str | None = None
    connect_s: float = 0.0
    """Time until the handshake is answered."""
    silent: bool = False
    """Accept, read, and say nothing at all."""
    stop_reading_s: float | None = None
    """Read no more after so much audio, and keep the connection."""
    drop_s: tuple[float, ...] = ()
    """Break one connection after another when it has had so much audio; later ones are fine."""
    drop_at_goodbye: bool = False
    """Break the connection in place of the last final, each time."""
    never_confirm: bool = False
    """Never answer a finalize or a goodbye, and stay."""
    late_final_s: float = 0.0
    """Time from the end of the audio until the last final."""
    duplicate_finals: bool = False
    garbage: bool = False
    """Answer the first audio with what is no message of the protocol."""
    huge: bool = False
    """Answer the first audio with a message of 10 MB."""
    invalid_utf8: bool = False
    """Answer the first audio with a text frame that is no UTF-8."""
    slow: bool = False
    """One byte a second from the server; the network's fault."""
    close_code: int | None = None
    """Close at the first audio, with this code."""
    close_reason: str = ""
    no_pongs: bool = False
    other: frozenset[str] = frozenset()
    """Faults that one simulator alone knows, by name."""

    def __contains__(self, name: str) -> bool:
        return name in self.other


@dataclass(slots=True)
class Session:
    """What one connection received."""

    audio: bytearray = field(default_factory=bytearray)
    chunks: list[tuple[int, float]] = field(default_factory=list)
    """Samples in each chunk, and when it came, in seconds since the connection was opened."""
    texts: list[str] = field(default_factory=list)
    """Messages other than audio."""
    utterances: list[bytes] = field(default_factory=list)
    """Audio up to each finalize or goodbye; what came after the last is not in it."""
    ended: bool = False
    """A goodbye came."""
    closed_code: int | None = None
    opened: float = field(default_factory=time.monotonic)

    @property
    def pcm(self) -> bytes:
        """All audio, s16le at the rate the service takes."""
        return bytes(self.audio)

    def heard(self, pcm: bytes) -> None:
        """Note a chunk of audio."""
        self.audio += pcm
        self.chunks.append((len(pcm) // SAMPLE_BYTES, time.monotonic() - self.opened))

    def cut(self) -> None:
        """Note the end of an utterance."""
        before = sum(map(len, self.utterances))
        self.utterances.append(bytes(self.audio[before:]))


async def accepted() -> None:
    """Wait until connections that were accepted just now have tasks that can be cancelled.

    A task that is cancelled before its first step closes nothing.
    """
    for _ in range(10):
        await asyncio.sleep(0)


class Dropped(Exception):  # noqa: N818  it ends a handler and is no error
    """The connection was broken on purpose."""


class Simulator(ABC):
    """A service on a port of this machine, up between ``async with``."""

    scheme = "ws"
    path = "/"

    def __init__(
        self,
        faults: Faults = Faults(),
        *,
        key: str = KEY,
        recogniser: RecogniserFactory = SyntheticRecogniser,
        port: int = 0,
    ) -> None:
        self.faults = faults
        self.key = key
        self.recogniser = recogniser
        self.port = port
        self.sessions: list[Session] = []
        self.refusals = 0
        """Handshakes or requests that were refused."""
        self._drops = 0

    @property
    def url(self) -> str:
        """What a user writes as ``url:`` to be connected here."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    def options(self, directory: Path) -> dict[str, Any]:
        """Return the options a provider needs to reach it; writes the key file."""
        key_file = directory / "key"
        key_file.write_text(self.key + "\n")
        key_file.chmod(0o600)
        return {"url": self.url, "api_key_file": str(key_file)}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    async def start(self) -> None:
        """Listen; sets ``port`` where it was 0."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop listening and end all connections."""

    def next_drop_s(self) -> float | None:
        """Return after how much audio the next connection is to break, if it is."""
        if self._drops >= len(self.faults.drop_s):
            return None
        self._drops += 1
        return self.faults.drop_s[self._drops - 1]

    def text(self, words: Sequence[Any]) -> str:
        """Return words as a transcript."""
        return " ".join(word.text for word in words)


class WebSocketSimulator(Simulator):
    """A service that speaks WebSocket."""

    sample_rate = SAMPLE_RATE

    async def start(self) -> None:
        self._handlers: set[asyncio.Task[Any]] = set()
        self._server: Server = await serve(
            self._handle,
            "127.0.0.1",
            self.port,
            process_request=self._process_request,
            process_response=self._process_response,
            compression=None,
            ping_interval=None,
            max_size=20_000_000,
            max_queue=1 if self.faults.stop_reading_s is not None else 64,
        )
        (listening,) = self._server.sockets
        self.port = listening.getsockname()[1]

    async def stop(self) -> None:
        self._server.close(close_connections=False)
        for connection in list(self._server.connections):
            connection.transport.abort()
        for handler in list(self._handlers):
            handler.cancel()
        await self._server.wait_closed()

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        """Return status, headers and body in place of the upgrade, or None to accept."""
        return None

    def welcome_headers(self) -> dict[str, str]:
        """Return headers that go with the upgrade."""
        return {}

    @abstractmethod
    async def serve(self, wire: Wire) -> None:
        """Speak on one connection; returning closes it with 1000, ``Dropped`` has broken it."""

    async def _process_request(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        faults = self.faults
        if faults.connect_s:
            await asyncio.sleep(faults.connect_s)
        refused: tuple[int, dict[str, str], bytes] | None
        if faults.http_status is not None:
            headers = {} if faults.retry_after is None else {"Retry-After": faults.retry_after}
            refused = faults.http_status, headers, b"refused"
        else:
            refused = self.refuses(request)
        if refused is None:
            return None
        self.refusals += 1
        status, headers, body = refused
        headers = {"Content-Length": str(len(body)), "Connection": "close", **headers}
        return Response(status, HTTPStatus(status).phrase, Headers(headers), body)

    def _process_response(
        self, connection: ServerConnection, request: Request, response: Response
    ) -> None:
        for name, value in self.welcome_headers().items():
            response.headers[name] = value

    async def _handle(self, connection: ServerConnection) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        session = Session()
        self.sessions.append(session)
        wire = Wire(connection, self, session)
        try:
            await self.serve(wire)
            await connection.close()
        except Dropped:
            pass
        except ConnectionClosed as closed:
            session.closed_code = closed.rcvd.code if closed.rcvd else 1006
        finally:
            if session.closed_code is None and connection.close_code is not None:
                session.closed_code = connection.close_code


class Wire:
    """One connection of a ``WebSocketSimulator``; the common faults happen in here."""

    def __init__(
        self, connection: ServerConnection, simulator: WebSocketSimulator, session: Session
    ) -> None:
        self._connection = connection
        self._faults = simulator.faults
        self._rate = simulator.sample_rate
        self._drop_s = simulator.next_drop_s()
        self._answered = False
        self._recogniser = simulator.recogniser
        self.request = connection.request
        self.session = session
        self.heard: Recogniser = simulator.recogniser()

    @property
    def audio_s(self) -> float:
        """Audio received, in seconds."""
        return len(self.session.audio) / SAMPLE_BYTES / self._rate

    def new_recogniser(self) -> Recogniser:
        """Begin to listen anew, after an utterance."""
        self.heard = self._recogniser()
        return self.heard

    async def receive(self) -> bytes | str:
        """Return the next message. Raises ConnectionClosed, which the base class handles."""
        stop_s = self._faults.stop_reading_s
        if stop_s is not None and self.audio_s >= stop_s:
            self._connection.transport.pause_reading()
            await asyncio.Event().wait()
        message = await self._connection.recv()
        if isinstance(message, str):
            self.session.texts.append(message)
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message, unless a fault has it otherwise."""
        if self._faults.silent:
            return
        if self._faults.slow:
            await self._trickle(message)
            return
        await self._connection.send(message)

    async def audio(self, pcm: bytes, *, heard: bytes | None = None) -> None:
        """Take a chunk of audio; ``heard`` is the same at 16 kHz where that is not the rate."""
        self.session.heard(pcm)
        self.heard.feed(pcm if heard is None else heard)
        if self._drop_s is not None and self.audio_s >= self._drop_s:
            self.drop()
        if not self._answered:
            self._answered = True
            await self._first_answer()

    async def goodbye(self) -> list[Any]:
        """Take the end of an utterance; returns its words, after whatever delay is due."""
        self.session.cut()
        if self._faults.drop_at_goodbye:
            self.drop()
        if self._faults.never_confirm:
            await asyncio.Event().wait()
        if self._faults.late_final_s:
            await asyncio.sleep(self._faults.late_final_s)
        return list(self.heard.finish())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order."""
        self.session.closed_code = code
        await self._connection.close(code, reason)

    def drop(self) -> None:
        """Break the connection without a word. Raises Dropped."""
        self.session.closed_code = 1006
        self._connection.transport.abort()
        raise Dropped

    async def _first_answer(self) -> None:
        faults = self._faults
        if faults.close_code is not None:
            await self.close(faults.close_code, faults.close_reason)
            raise Dropped
        if faults.garbage:
            await self._connection.send('{"\u0000": [}')
        if faults.huge:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send("x" * HUGE_BYTES)
        if faults.invalid_utf8:
            self._connection.transport.write(b"\x81\x02\xff\xfe")  # a text frame of two bytes

    async def _trickle(self, message: str | bytes) -> None:
        payload = message.encode() if isinstance(message, str) else message
        opcode = 0x81 if isinstance(message, str) else 0x82
        short = len(payload) < 126
        length = bytes([len(payload)]) if short else b"\x7e" + len(payload).to_bytes(2)
        head = bytes([opcode]) + length
        for byte in head + payload:
            self._connection.transport.write(bytes([byte]))
            await asyncio.sleep(1)
