"""HTTP/1.1 for simulators: enough of a server, with the faults of a network.

Bodies come with a Content-Length or in chunks; a connection is kept until the client ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.simulators.core import HUGE_BYTES, Dropped, Simulator, accepted

_PIECE_BYTES: Final = 1 << 12
_MOST_BYTES: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    """As it came: percent signs and all, so that a ``/`` in a name is not taken for a border."""
    query: dict[str, str]
    headers: dict[str, str]
    """Names are in lower case."""
    body: bytes = field(repr=False, default=b"")

    @property
    def parts(self) -> list[str]:
        """The path between its slashes, decoded."""
        return [unquote(part) for part in self.path.strip("/").split("/")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer in JSON."""
    kind = {"Content-Type": "application/json; charset=UTF-8"}
    return Answer(status, json.dumps(value, ensure_ascii=False).encode(), kind | (headers or {}))


class HttpSimulator(Simulator):
    """A service that speaks HTTP; a subclass answers requests."""

    scheme = "http"

    hook: Callable[[str, Request], Awaitable[None]] | None = None
    """Awaited with ``before`` and ``after`` around every request that is answered."""

    async def start(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await accepted()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)

    @abstractmethod
    async def answer(self, request: Request) -> Answer:
        """Answer a request. Raises Dropped to break the connection without a word."""

    async def hangs(self, request: Request, received_bytes: int) -> bool:
        """Return whether to read no more of a body of which so much has come."""
        return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (Dropped, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request = _parse(head)
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._body(request, reader)
        request = Request(request.method, request.path, request.query, request.headers, body)
        if self.faults.connect_s:
            await asyncio.sleep(self.faults.connect_s)
        if self.faults.silent:
            await asyncio.Event().wait()
        if self.hook is not None:
            await self.hook("before", request)
        answer = await self._refused(request) or await self.answer(request)
        if self.hook is not None:
            await self.hook("after", request)
        await self._write(writer, answer)
        return request.headers.get("connection", "").lower() != "close"

    async def _body(self, request: Request, reader: asyncio.StreamReader) -> bytes:
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            return await _chunked(reader)
        length = int(request.headers.get("content-length", "0"))
        assert length <= _MOST_BYTES
        body = bytearray()
        while len(body) < length:
            if await self.hangs(request, len(body)):
                await asyncio.Event().wait()
            body += await reader.readexactly(min(_PIECE_BYTES, length - len(body)))
        return bytes(body)

    async def _refused(self, request: Request) -> Answer | None:
        status = self.faults.http_status
        if status is None:
            return None
        self.refusals += 1
        wait = self.faults.retry_after
        return Answer(status, b"refused", {} if wait is None else {"Retry-After": wait})

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        body = answer.body
        if self.faults.garbage and answer.status == 200:
            body = b'{"\x00": [}'
        elif self.faults.huge and answer.status == 200:
            body = b'{"a": "' + b"x" * HUGE_BYTES + b'"}'
        elif self.faults.invalid_utf8 and answer.status == 200:
            body = b'{"name": "\xff\xfe"}'
        headers = {"Content-Length": str(len(body)), **answer.headers}
        phrase = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "?"
        lines = [f"HTTP/1.1 {answer.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        message = "\r\n".join((*lines, "", "")).encode() + body
        for piece in _pieces(message, 1) if self.faults.slow else (message,):
            writer.write(piece)
            await writer.drain()
            if self.faults.slow:
                await asyncio.sleep(1)


def _pieces(message: bytes, size: int) -> list[bytes]:
    return [message[at : at + size] for at in range(0, len(message), size)]


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    headers = dict(line.split(":", 1) for line in lines if line)
    return Request(
        method,
        parts.path,
        dict(parse_qsl(parts.query, keep_blank_values=True)),
        {name.lower(): value.strip() for name, value in headers.items()},
    )


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():  # trailers
        pass
    return bytes(body)
