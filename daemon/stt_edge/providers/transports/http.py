"""The HTTP transport: requests out, replies in, one at a time.

The standard library's client does the work in a thread, with the proxies of the environment. The
thread is a daemon's and not the executor's: a server that never answers must not hold up a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import typing
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import HttpReply, HttpRequest, Outgoing, TransportClosedError
from stt_edge.providers.failures import excerpt
from stt_edge.providers.transports.proxies import HttpProxy, http_proxy, named_proxy
from stt_edge.providers.transports.sockets import (
    connect_failure,
    place_of,
    unusable_url,
)
from stt_edge.providers.transports.tls import tls_context

if typing.TYPE_CHECKING:
    import http.client

_LARGEST_REPLY_BYTES: Final = 16 * 1024 * 1024
_USER_AGENT: Final = "stt-edge"
_PORTS: Final = {"http": 80, "https": 443}


@frozen
class HttpEndpoint:
    """Where and with what to ask; made anew for every request."""

    base_url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        """Return host and port; nothing else of a URL is fit to be shown."""
        return place_of(self.base_url)


class HttpTransport:
    """Sends the requests of one connection and queues the replies."""

    def __init__(
        self,
        endpoint: Callable[[], HttpEndpoint],
        *,
        ca_file: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Prepare; ``endpoint`` is called in a thread, and may read files and raise ProviderError.

        ``timeout_s`` is how long the server may say nothing.
        """
        self.endpoint = endpoint
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._requests: asyncio.Queue[HttpRequest | None] = asyncio.Queue()
        self._under_way: http.client.HTTPConnection | None = None

    async def connect(self) -> None:
        """Look whether there is something to connect with. Raises ProviderError."""
        await asyncio.to_thread(self.endpoint)

    async def send(self, message: Outgoing) -> None:
        """Queue a request; it is sent when the reply is asked for."""
        assert isinstance(message, HttpRequest)
        self._requests.put_nowait(message)

    async def receive(self) -> HttpReply:
        """Send the next request and return its reply.

        Raises TransportClosedError once closed; ProviderError when there is no reply.
        """
        request = await self._requests.get()
        if request is None:
            raise TransportClosedError(None)
        if request.delay_s > 0:
            await asyncio.sleep(request.delay_s)
        return await self._in_thread(request)

    async def close(self) -> None:
        """Let go; a request under way is not waited for."""
        self.abort()

    def abort(self) -> None:
        """Let go at once; never raises, may be called twice."""
        self._requests.put_nowait(None)
        connection = self._under_way
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                # As a plain socket, whatever it is: what TLS has in memory belongs to the thread.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    async def _in_thread(self, request: HttpRequest) -> HttpReply:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HttpReply] = loop.create_future()

        def settle(reply: HttpReply | None, error: ProviderError) -> None:
            if answer.done():  # cancelled meanwhile
                return
            if reply is not None:
                answer.set_result(reply)
            else:
                answer.set_exception(error)

        def work() -> None:
            reply = None
            failure = ProviderError(FailureKind.PROTOCOL, "the request failed by a mistake of ours")
            try:
                reply = self._ask(request)
            except ProviderError as error:
                failure = error
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended before the answer came
                    loop.call_soon_threadsafe(settle, reply, failure)

        threading.Thread(target=work, name="stt-edge-http", daemon=True).start()
        return await answer

    def _ask(self, request: HttpRequest) -> HttpReply:
        endpoint = self.endpoint()
        headers = {"User-Agent": _USER_AGENT, **endpoint.headers, **request.headers}
        try:
            connection, target = self._connection(
                endpoint.base_url.rstrip("/") + request.path, headers
            )
        except ValueError:  # a port that is no number
            raise unusable_url("https") from None
        with contextlib.closing(connection):
            self._under_way = connection
            try:
                return self._exchange(connection, endpoint.where, request, target, headers)
            finally:
                self._under_way = None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        where: str,
        request: HttpRequest,
        target: str,
        headers: dict[str, str],
    ) -> HttpReply:
        import http.client

        connected = False
        try:
            connection.connect()
            connected = True
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                # A server may refuse before it has read everything, and hang up; it has answered.
                connection.request(request.method, target, request.body or None, headers)
            return _reply(connection.getresponse())
        except TimeoutError:
            raise ProviderError(
                FailureKind.TIMEOUT, f"no answer from {where} in {self._timeout_s:g} s."
            ) from None
        except http.client.InvalidURL:  # repeats it, with the key where one is in it
            raise unusable_url("https") from None
        except (OSError, http.client.HTTPException) as error:
            why = excerpt(getattr(error, "strerror", None) or str(error)) or type(error).__name__
            if not connected:
                cause = error if isinstance(error, OSError) else OSError(why)
                raise connect_failure(cause, where) from None
            raise ProviderError(
                FailureKind.LOST, f"the connection to {where} broke: {why}."
            ) from None
        except ValueError:  # after OSError: some of TLS are both
            raise ProviderError(
                FailureKind.REQUEST, "the request cannot be made: a header holds what none can."
            ) from None

    def _connection(
        self, url: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, str]:
        """Return a connection to where ``url`` is, or to the proxy for it, and what to ask for."""
        import http.client

        parts = urlsplit(url)
        if parts.scheme not in _PORTS or parts.hostname is None:
            raise unusable_url("https")
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        proxy = _proxy(parts.scheme, host, port)
        near = (host, port) if proxy is None else (proxy.host, proxy.port)
        if parts.scheme == "https":
            tls = tls_context(self._ca_file)
            connection = http.client.HTTPSConnection(*near, timeout=self._timeout_s, context=tls)
            if proxy is not None:
                connection.set_tunnel(host, port, headers=proxy.headers)
            return connection, target
        if proxy is not None:
            headers |= proxy.headers
            target = parts._replace(netloc=place_of(url)).geturl()
        return http.client.HTTPConnection(*near, timeout=self._timeout_s), target


def _proxy(scheme: str, host: str, port: int) -> HttpProxy | None:
    """Return the proxy the environment names for a host, if any. Raises ProviderError."""
    named = named_proxy(scheme, host, port)
    return None if named is None else http_proxy(named)


def _reply(response: http.client.HTTPResponse) -> HttpReply:
    body = response.read(_LARGEST_REPLY_BYTES + 1)
    if len(body) > _LARGEST_REPLY_BYTES:
        raise ProviderError(FailureKind.PROTOCOL, "the provider sent an answer that is too large.")
    if response.length:  # ``read`` with a limit does not tell
        raise OSError("the answer is not whole")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpReply(response.status, headers, body)
