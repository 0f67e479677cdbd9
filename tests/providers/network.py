"""A network that misbehaves: a relay, a proxy, servers that say anything.

``python -m tests.providers.network half-open`` has the real session speak for a minute over the
WebSocket transport, breaks the connection in the middle without a word, and prints how long it
takes until that is noticed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from stt_edge.clock import SystemClock
from stt_edge.errors import ProviderError
from stt_edge.model import AudioSpan
from stt_edge.providers.base import Capabilities, Event, Failed, Incoming, Provider
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import close_failure
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.link import Link
from stt_edge.session.progress import Progress
from tests.session.scripted import MemoryAudio, MemoryListener, MemoryResults, head

Pump = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST: Final = "127.0.0.1"
_PIECE_BYTES: Final = 4096
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h


def vanish(sock: Any) -> None:
    """Have the kernel drop every packet that comes for a socket: to the peer the way is cut."""
    rule = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = struct.pack("HP", 1, ctypes.addressof(rule))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


class Listener:
    """A TCP server; ``serve`` is called with each connection, which ends when it returns."""

    def __init__(self, serve: Pump | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._tls = tls
        self.port = 0
        self.accepted = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._handle, HOST, self.port, limit=_PIECE_BYTES, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for _turn in range(8):  # closing trips over a connection that is being accepted
            await asyncio.sleep(0)
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._settled()

    async def _settled(self) -> None:
        """Wait for the connections that never got through their handshake."""
        if sys.version_info >= (3, 12):
            await self._server.wait_closed()
            return
        while self._server._active_count:  # type: ignore[attr-defined]
            await asyncio.sleep(0.002)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak on one connection."""
        assert self._serve is not None
        await self._serve(reader, writer)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self.serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


class Relay(Listener):
    """Passes bytes on to a port of this machine, until it is told otherwise."""

    def __init__(self, to_port: int) -> None:
        super().__init__()
        self._to_port = to_port
        self._reading = asyncio.Event()
        self._reading.set()
        self._swallowing = False
        self._lost = False
        self._bytes_per_s: float | None = None
        self._near: list[asyncio.StreamWriter] = []

    def stop_reading(self) -> None:
        """Take nothing more from the client, and keep the connection."""
        self._reading.clear()

    def swallow(self) -> None:
        """Take everything, pass nothing on, in either direction."""
        self._swallowing = True

    def vanish(self) -> None:
        """Lose every packet in both directions; nothing is acknowledged any more."""
        self._lost = self._swallowing = True
        for writer in self._near:
            vanish(writer.get_extra_info("socket"))

    def throttle(self, bytes_per_s: float) -> None:
        """Pass on no more than this."""
        self._bytes_per_s = bytes_per_s

    def drop(self) -> None:
        """Break all connections."""
        for writer in self._near:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self._to_port)
        self._near.append(writer)
        try:
            up = asyncio.create_task(self._pump(reader, far_writer, self._reading))
            down = asyncio.create_task(self._pump(far_reader, writer, None))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        finally:
            far_writer.transport.abort()
            writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event | None,
    ) -> None:
        while data := await reader.read(_PIECE_BYTES):
            if gate is not None:
                await gate.wait()
            if self._swallowing:
                continue
            if self._bytes_per_s is not None:
                await asyncio.sleep(len(data) / self._bytes_per_s)
            writer.write(data)
            await writer.drain()
        if self._swallowing:
            await asyncio.Event().wait()


class ConnectProxy(Listener):
    """An HTTP proxy: CONNECT, and requests for whole URLs. Wants a password where one is given."""

    def __init__(self, password: str | None = None, *, mute: bool = False) -> None:
        super().__init__()
        self.requests: list[str] = []
        """The first line of each request."""
        self.hung_up = asyncio.Event()
        """A client has gone."""
        self._mute = mute
        self._wanted = None
        if password is not None:
            self._wanted = base64.b64encode(password.encode()).decode()

    @property
    def url(self) -> str:
        """What goes into the environment."""
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first = head.split(b"\r\n", 1)[0].decode()
        self.requests.append(first)
        if self._mute:
            await reader.read()
            self.hung_up.set()
            return
        if self._wanted is not None and f"Basic {self._wanted}".encode() not in head:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            )
            await writer.drain()
            return
        method, target, _ = first.split(" ")
        far_reader, far_writer = await _far_end(method, target)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(head)
        try:
            await _both_ways(reader, writer, far_reader, far_writer)
        finally:
            self.hung_up.set()
            far_writer.transport.abort()


async def _far_end(method: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = target if method == "CONNECT" else target.split("/")[2]
    return await asyncio.open_connection(HOST, int(place.rpartition(":")[2]))


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_PIECE_BYTES):
            sink.write(data)
            await sink.drain()

    tasks = [
        asyncio.create_task(pump(reader, far_writer)),
        asyncio.create_task(pump(far_reader, writer)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def http_server(
    answer: bytes, *, read_body: bool = True, tls: ssl.SSLContext | None = None
) -> tuple[Listener, list[bytes]]:
    """Return a server that always answers the same, and the list of what it was sent."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:") and read_body:
                body = await reader.readexactly(int(line.partition(b":")[2]))
        asked.append(head + body)
        writer.write(answer)
        await writer.drain()

    return Listener(serve, tls=tls), asked


# --- WebSocket ----------------------------------------------------------------------------------


async def echo(connection: ServerConnection) -> None:
    """Send back what comes."""
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def websocket_server(
    handle: Callable[[ServerConnection], Awaitable[None]] = echo, **how: Any
) -> AsyncIterator[int]:
    """Serve WebSocket on a port of this machine."""
    async with serve(handle, HOST, 0, ping_interval=None, compression=None, **how) as made:
        (listening,) = made.sockets
        yield listening.getsockname()[1]
        for connection in list(made.connections):
            connection.transport.abort()


# --- a connection that is half open -------------------------------------------------------------


class Talk(Conversation):
    """The smallest protocol there is: audio, and a goodbye."""

    def begin(self) -> None:
        pass

    def send_audio(self, pcm: bytes) -> None:
        self._say(pcm)

    def goodbye(self) -> None:
        self._say("goodbye")

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        return [Failed(close_failure(code, reason))]

    def _hear(self, message: Incoming) -> Sequence[Event]:
        return ()


class WatchedDispatcher(Dispatcher):
    """The real session; sets ``failed`` at the first failure."""

    failed: asyncio.Future[ProviderError]

    def link_failed(
        self, link: Link, failure: ProviderError, progress: Progress | None, *, established: bool
    ) -> None:
        if not self.failed.done():
            self.failed.set_result(failure)
        super().link_failed(link, failure, progress, established=established)


async def _read(connection: ServerConnection) -> None:
    """Read everything, and say nothing."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass


async def half_open(
    fault: str, *, pings: bool, before_s: float, at_once: bool = False
) -> tuple[float, ProviderError]:
    """Speak for 60 s and break the connection after ``before_s``.

    Returns how long it took to be found, and as what. ``fault`` is what the relay does;
    ``at_once``: all is said the moment it is broken.
    """
    loop = asyncio.get_running_loop()
    async with websocket_server(_read) as port, Relay(port) as relay:
        url = f"ws://{HOST}:{relay.port}/"
        provider = Provider(
            "talk",
            Capabilities(),
            Talk,
            lambda: WebSocketTransport(lambda: WebSocketEndpoint(url), pings=pings),
        )
        audio = MemoryAudio()
        session = WatchedDispatcher(
            [provider], audio, MemoryResults(), MemoryListener(), SystemClock(), node="here"
        )
        session.failed = loop.create_future()
        audio.spans["u"] = []
        session.opened(head("u"))
        broken = asyncio.Event()
        speaker = asyncio.create_task(_speak(session, audio, broken if at_once else None))
        try:
            async with asyncio.timeout(before_s + 60):
                while not relay.accepted:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(before_s)
                assert not session.failed.done(), session.failed.result()
                getattr(relay, fault)()
                broken.set()
                began = loop.time()
                failure = await session.failed
                return loop.time() - began, failure
        finally:
            speaker.cancel()
            await session.aclose()


async def _speak(session: Dispatcher, audio: MemoryAudio, begin: asyncio.Event | None) -> None:
    """Have 60 s of audio grow, in tenths of a second or at an event."""
    if begin is not None:
        await begin.wait()
    for number in range(600):
        audio.spans["u"].append(AudioSpan(number * 1600, bytes([number % 251]) * 3200))
        if begin is None:
            session.grew("u")
            await asyncio.sleep(0.1)
    session.grew("u")


async def _print_half_open() -> None:
    cases = [
        (fault, pings) for fault in ("stop_reading", "vanish", "swallow") for pings in (True, False)
    ]

    async def one(fault: str, pings: bool) -> str:
        name = f"{fault:12}  pings {'on ' if pings else 'off'}"
        try:
            took_s, failure = await half_open(fault, pings=pings, before_s=5)
        except TimeoutError:
            return f"{name}  not found in 60 s"
        return f"{name}  {took_s:5.1f} s  {failure.kind.value}: {failure}"

    for line in await asyncio.gather(*(one(*case) for case in cases)):
        print(line)


if __name__ == "__main__":
    if sys.argv[1:] != ["half-open"]:
        sys.exit("usage: python -m tests.providers.network half-open")
    asyncio.run(_print_half_open())
