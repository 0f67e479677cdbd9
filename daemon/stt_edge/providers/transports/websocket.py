"""The WebSocket transport: one for all providers that speak WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import typing
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import HttpReply, HttpRequest, Outgoing, TransportClosedError
from stt_edge.providers.failures import excerpt, http_failure
from stt_edge.providers.transports.proxies import (
    http_proxy,
    is_http,
    named_proxy,
    tunnel,
    unusable_proxy,
)
from stt_edge.providers.transports.sockets import (
    connect_failure,
    place_of,
    tune_socket,
    unusable_url,
)
from stt_edge.providers.transports.tls import tls_context

if typing.TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed, WebSocketException

_LARGEST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
_QUEUED_MESSAGES: Final = 16
_PING_S: Final = 6.0
"""Between pings, and until one counts as unanswered: a dead peer is found in twice that."""
_CLOSE_S: Final = 1.0
_NO_STATUS: Final = 1006
_OUR_COMPLAINTS: Final = {
    1002: "broke the rules of WebSocket",
    1007: "sent text that is no UTF-8",
    1009: "sent a message that is too large",
}


@frozen
class WebSocketEndpoint:
    """Where and with what to connect; made anew for every connection."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    """Some services take the key as one of them."""

    @property
    def where(self) -> str:
        """Return host and port; nothing else of a URL is fit to be shown."""
        return place_of(self.url)


class WebSocketTransport:
    """Moves the messages of one connection."""

    def __init__(
        self,
        endpoint: Callable[[], WebSocketEndpoint],
        *,
        ca_file: str | None = None,
        pings: bool = True,
        refused: Callable[[HttpReply], ProviderError] | None = None,
    ) -> None:
        """Prepare; ``endpoint`` is called in a thread, and may read files and raise ProviderError.

        ``pings`` False is for servers that do not answer them. ``refused`` says what an HTTP answer
        in place of the upgrade means, where the usual meaning is not what the provider means.
        """
        self.endpoint = endpoint
        self._ca_file = ca_file
        self._pings = pings
        self._refused = refused or _usual_refusal
        self._connection: ClientConnection | None = None

    async def connect(self) -> None:
        """Connect: a new name lookup, the proxies of the environment. Raises ProviderError."""
        from websockets.exceptions import InvalidStatus, WebSocketException

        endpoint = await asyncio.to_thread(self.endpoint)
        try:
            self._connection = await self._open(endpoint)
        except InvalidStatus as error:
            response = error.response
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            reply = HttpReply(response.status_code, headers, bytes(response.body or b""))
            raise self._refused(reply) from None
        except WebSocketException as error:
            raise _misunderstanding(error, endpoint.where) from None
        except ImportError as error:  # a SOCKS proxy is named, and python-socks is not here
            raise ProviderError(
                FailureKind.SETUP,
                f"proxy: {excerpt(str(error))}.",
                remedy='Install it: pip install "python-socks[asyncio]"',
            ) from None
        except OSError as error:
            raise connect_failure(error, endpoint.where) from None
        except UnicodeError:  # a name with an empty label
            raise unusable_url("wss") from None
        except ValueError:
            raise ProviderError(
                FailureKind.REQUEST,
                "the connection cannot be asked for: a header or subprotocol holds what none can.",
            ) from None
        tune_socket(self._connection.transport)

    async def send(self, message: Outgoing) -> None:
        """Send one message, waiting while the peer is slow. Raises TransportClosedError."""
        from websockets.exceptions import ConnectionClosed

        assert self._connection is not None
        assert not isinstance(message, HttpRequest)
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise _ending(closed) from None

    async def receive(self) -> bytes | str:
        """Return the next message.

        Raises TransportClosedError, with code 1006 when the connection is lost; ProviderError when
        the peer breaks the rules.
        """
        from websockets.exceptions import ConnectionClosed

        assert self._connection is not None
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            # Our answer to a close of theirs repeats its code; a complaint may cross with one.
            complaint = None if closed.rcvd_then_sent else closed.sent
            if complaint is not None and complaint.code in _OUR_COMPLAINTS:
                raise ProviderError(
                    FailureKind.PROTOCOL, f"the provider {_OUR_COMPLAINTS[complaint.code]}."
                ) from None
            raise _ending(closed) from None

    async def close(self) -> None:
        """Close in good order, within a second; never raises."""
        if self._connection is None:
            return
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.close()
        self.abort()

    def abort(self) -> None:
        """Let go at once; never raises, may be called twice."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def _open(self, endpoint: WebSocketEndpoint) -> ClientConnection:
        from websockets.asyncio.client import connect

        class Once(connect):
            """Follows no redirects: the key would go wherever they lead."""

            def process_redirect(self, exc: Exception) -> Exception:
                return exc

        with contextlib.ExitStack() as unless_done:
            way: dict[str, typing.Any] = {}
            if (sock := await _tunnel(endpoint.url)) is not None:
                unless_done.callback(sock.close)
                way["sock"] = sock
            if urlsplit(endpoint.url).scheme == "wss":
                way["ssl"] = await asyncio.to_thread(tls_context, self._ca_file)
            connection = await Once(
                endpoint.url,
                additional_headers=dict(endpoint.headers),
                subprotocols=typing.cast("typing.Any", list(endpoint.subprotocols) or None),
                compression=None,  # costs CPU on every chunk; sound does not compress
                open_timeout=None,  # the session has a timer of its own
                close_timeout=_CLOSE_S,
                ping_interval=_PING_S if self._pings else None,
                ping_timeout=_PING_S,
                max_size=_LARGEST_MESSAGE_BYTES,
                max_queue=_QUEUED_MESSAGES,
                **way,
            )
            unless_done.pop_all()
            return connection


async def _tunnel(url: str) -> socket.socket | None:
    """Return a way through the proxy the environment names; None where there is none.

    Other proxies than HTTP's are left to the library. It knows that one too, but lets go of the
    connection neither when it is cancelled nor when the proxy answers late.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unusable_url("wss") from None
    if host is None:
        return None  # the library says what is wrong with it
    secure = parts.scheme == "wss"
    port = port or (443 if secure else 80)
    named = named_proxy(parts.scheme, host, port)
    if named is None or not is_http(named):
        return None
    return await tunnel(http_proxy(named), host, port)


def _misunderstanding(error: WebSocketException, where: str) -> ProviderError:
    """Return what kept the connection from being made, other than the network and a status."""
    from websockets import exceptions

    if isinstance(error, exceptions.InvalidURI):
        return unusable_url("wss")
    if isinstance(error, exceptions.InvalidProxy):
        return unusable_proxy(excerpt(error.msg))
    said = excerpt(str(error))
    if isinstance(error, exceptions.ProxyError):
        return ProviderError(FailureKind.CONNECT, f"proxy: {said}.")
    return ProviderError(FailureKind.CONNECT, f"{where} does not speak WebSocket: {said}.")


def _ending(closed: ConnectionClosed) -> TransportClosedError:
    """Return how the connection ended, in the other side's words if it had any."""
    if closed.rcvd is not None:
        return TransportClosedError(closed.rcvd.code, closed.rcvd.reason)
    reason = "" if closed.sent is None else closed.sent.reason
    return TransportClosedError(_NO_STATUS, reason)


def _usual_refusal(reply: HttpReply) -> ProviderError:
    return http_failure(reply.status, reply.headers, reply.body)
