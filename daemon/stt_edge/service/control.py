"""The control socket: one line of JSON asks, one line of JSON answers.

A request is ``{"command": NAME, …}``; the answer ``{"ok": true, "result": …}``, or ``{"ok": false,
"error": …, "remedy": …, "code": …}`` with the exit code that the command line should end with.
Whoever may write to the socket (0660, its group is the daemon's) may ask, mute and unmute; what
deletes is for root and the user the daemon runs as.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import ExitCode, PermissionDeniedError, SttEdgeError, UnavailableError

_log = logging.getLogger(__name__)

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Gets the request, returns what JSON can hold; SttEdgeError becomes an answer."""

_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred: process, user, group."""
MAX_REQUEST_BYTES: Final = 1 << 14
MAX_CLIENTS: Final = 16
IDLE_S: Final = 30.0
"""A client that asks nothing for so long is cut off."""
WRITE_S: Final = 5.0
"""A client that does not take its answer within this is cut off."""


class ControlServer:
    """Serves the command line on a Unix socket."""

    def __init__(
        self,
        path: Path,
        handlers: Mapping[str, Handler],
        *,
        privileged: Collection[str] = (),
        idle_s: float = IDLE_S,
    ) -> None:
        """Serve the given commands, those ``privileged`` to few; ``start`` begins."""
        self._path = path
        self._handlers = handlers
        self._privileged = privileged
        self._idle_s = idle_s
        self._server: asyncio.Server | None = None
        self._lock: int | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Replaces the socket of a daemon that has died. Raises UnavailableError when another one
        lives there or the place cannot be used, PermissionDeniedError when it may not.
        """
        try:
            self._lock = _lock(self._path.with_suffix(".lock"))
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._accept, self._path, limit=MAX_REQUEST_BYTES
            )
            self._path.chmod(0o660)
        except OSError as error:
            self._release()
            message = f"Cannot listen on {self._path}: {error.strerror or error}."
            if isinstance(error, PermissionError):
                remedy = f"Give {self._path.parent} to the user that runs stt-edge."
                raise PermissionDeniedError(message, remedy) from error
            raise UnavailableError(message, f"Make {self._path.parent} usable.") from error

    async def close(self) -> None:
        """Stop listening, cut clients off, and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._server = None
        self._release()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MAX_CLIENTS:
                await _reply(writer, _refusal("Too many clients.", code=ExitCode.TEMPORARY))
            else:
                await self._serve(reader, writer)
        except (TimeoutError, ConnectionError):
            _log.debug("a control client was too slow, or left")
        except asyncio.CancelledError:  # close(); Python 3.11 logs a handler that ends cancelled
            pass
        finally:
            self._clients.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    line = await reader.readline()
            except ValueError:  # too long; where the next request begins is not known
                await _reply(writer, _refusal(f"A request is at most {MAX_REQUEST_BYTES} bytes."))
                return
            if not line:
                return
            await _reply(writer, await self._answer(line, _user_of(writer)))

    async def _answer(self, line: bytes, user: int) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _refusal("A request is one line of JSON.")
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            return _refusal('A request is a JSON object with a "command".')
        handler = self._handlers.get(request["command"])
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return _refusal(f"There is no such command; there are {known}.")
        if request["command"] in self._privileged and user not in (0, os.geteuid()):
            return _refusal("Only root may do that.", "Use sudo.", ExitCode.PERMISSION)
        try:
            return {"ok": True, "result": await handler(request)}
        except SttEdgeError as error:
            return _refusal(error.message, error.remedy, error.exit_code)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _user_of(writer: asyncio.StreamWriter) -> int:
    """Return the user id of whoever is at the other end, as the kernel knows it (unix(7))."""
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def _lock(path: Path) -> int:
    """Take the place for as long as this process lives; a dead daemon's socket proves nothing."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UnavailableError(
            f"Another stt-edge listens in {path.parent}.",
            "Stop it first, or give this one a name of its own: --instance NAME.",
        ) from error
    return handle


def _refusal(message: str, remedy: str = "", code: int = ExitCode.FAILED) -> dict[str, Any]:
    return {"ok": False, "error": message, "remedy": remedy, "code": code}


async def _reply(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    async with asyncio.timeout(WRITE_S):
        await writer.drain()
    # A short answer is in the socket's buffer by now, and abort() does not take it back.
