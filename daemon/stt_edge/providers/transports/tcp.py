"""The TCP transport: bytes to and from a port, or a socket file of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Outgoing, TransportClosedError
from stt_edge.providers.transports.sockets import connect_failure, tune_socket

_READ_BYTES: Final = 1 << 16
_CLOSE_S: Final = 1.0
_IDLE_S: Final = 8
_PROBE_S: Final = 2
_PROBES: Final = 3


@frozen
class TcpEndpoint:
    """Where to connect: a host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class UnixEndpoint:
    """Where to connect: a socket file."""

    path: str

    def __str__(self) -> str:
        """Return it as messages name it."""
        return self.path


class TcpTransport:
    """One connection. See ``base.Transport``."""

    def __init__(self, endpoint: TcpEndpoint | UnixEndpoint) -> None:
        """Prepare a connection."""
        self.endpoint = endpoint
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Connect, with a new name lookup. Raises ProviderError."""
        try:
            self._reader, self._writer = await self._open()
        except OSError as error:
            raise connect_failure(error, str(self.endpoint)) from None
        tune_socket(self._writer.transport)
        _probe_in_silence(self._writer)

    async def send(self, message: Outgoing) -> None:
        """Send bytes, waiting while the peer is slow. Raises TransportClosedError."""
        assert self._writer is not None
        assert isinstance(message, bytes)
        if self._writer.is_closing():
            raise TransportClosedError(None)
        self._writer.write(message)
        try:
            await self._writer.drain()
        except OSError as error:
            raise TransportClosedError(None, error.strerror or "") from None

    async def receive(self) -> bytes:
        """Return what has come, up to 64 KiB.

        Raises TransportClosedError; ProviderError when the peer is found to be gone.
        """
        assert self._reader is not None
        try:
            data = await self._reader.read(_READ_BYTES)
        except TimeoutError:
            raise ProviderError(
                FailureKind.LOST, f"{self.endpoint} does not answer any more."
            ) from None
        except OSError as error:
            raise TransportClosedError(None, error.strerror or "") from None
        if not data:
            raise TransportClosedError(None)
        return data

    async def close(self) -> None:
        """Close when what was sent is under way, within a second; never raises."""
        if self._writer is None:
            return
        self._writer.close()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        """Let go at once; never raises, may be called twice."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.endpoint, UnixEndpoint):
            return await asyncio.open_unix_connection(self.endpoint.path)
        return await asyncio.open_connection(self.endpoint.host, self.endpoint.port)


def _probe_in_silence(writer: asyncio.StreamWriter) -> None:
    """Have the kernel ask whether the peer is still there while both sides wait (tcp(7))."""
    found: socket.socket = writer.get_extra_info("socket")
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
