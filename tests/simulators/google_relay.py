"""A relay in front of the gRPC server: faults of the network happen in here, below HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from tests.simulators.core import accepted

_READ_BYTES: Final = 64 * 1024


class Relay:
    """Passes bytes between clients and a server on this machine, until told otherwise."""

    def __init__(self, *, connect_s: float = 0.0) -> None:
        self.port = 0
        self.accepted = 0
        """Connections that came, whatever became of them."""
        self._connect_s = connect_s
        self._links: dict[int, _Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int, upstream: int) -> None:
        """Listen on ``port``, or on a free one if it is 0, for the server on ``upstream``."""
        self._upstream = upstream
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break every connection."""
        self._server.close()
        await accepted()
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._tasks.difference_update(tasks)
        for writer in list(self._writers):
            self._close(writer)

    def link(self, peer: str) -> _Link:
        """Return the connection of a call, by what gRPC calls its peer."""
        return self._links[int(peer.rpartition(":")[2])]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: one that is cancelled before its first step closes nothing.
        self._writers.add(writer)
        self._tasks.add(asyncio.get_running_loop().create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.sleep(self._connect_s)
                await self._pass_on(reader, writer)
        finally:
            self._close(writer)
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()  # a writer that is not closed complains when it is collected
        writer.transport.abort()
        self._writers.discard(writer)

    def _opened(
        self, opening: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    ) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._writers.add(opening.result()[1])

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opening = asyncio.ensure_future(asyncio.open_connection("127.0.0.1", self._upstream))
        opening.add_done_callback(self._opened)
        try:
            server = await asyncio.shield(opening)
        except asyncio.CancelledError:
            (await opening)[1].close()  # else it is open for ever, with nobody who knows it
            raise
        link = _Link()
        self._links[server[1].get_extra_info("sockname")[1]] = link
        tasks = {
            asyncio.create_task(link.up(reader, server[1])),
            asyncio.create_task(link.down(server[0], writer)),
            asyncio.create_task(link.broken.wait()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._close(server[1])


class _Link:
    """One connection."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()
        self.slow = False
        """One byte a second to the client."""
        self._reading = asyncio.Event()
        self._reading.set()

    def drop(self) -> None:
        """Break it, as a network does."""
        self.broken.set()

    def stop_reading(self) -> None:
        """Take nothing more from the client, and keep the connection."""
        self._reading.clear()

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the client says."""
        while data := await reader.read(_READ_BYTES):
            await self._reading.wait()
            writer.write(data)
            await writer.drain()

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the server says."""
        while data := await reader.read(_READ_BYTES):
            for piece in (bytes([byte]) for byte in data) if self.slow else (data,):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(1 if self.slow else 0)
