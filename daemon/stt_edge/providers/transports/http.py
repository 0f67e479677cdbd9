"""The HTTP transport: requests out, replies in, one at a time.

The standard library's client does the work in a thread, with the proxies of the environment. The
thread is a daemon's and not the executor's: a server that never answers must not hold up a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import HttpReply, HttpRequest, Outgoing, TransportClosedError
from stt_edge.providers.failures import excerpt
from stt_edge.providers.transports.sockets import connect_failure
from stt_edge.providers.transports.tls import tls_context

if typing.TYPE_CHECKING:
    import urllib.request

_LARGEST_REPLY_BYTES: Final = 16 * 1024 * 1024
_USER_AGENT: Final = "stt-edge"


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """Where and with what to ask; made anew for every request."""

    base_url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        """Return host and port; nothing else of a URL is fit to be shown."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]


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
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._requests: asyncio.Queue[HttpRequest | None] = asyncio.Queue()

    async def connect(self) -> None:
        """Look whether there is something to connect with. Raises ProviderError."""
        await asyncio.to_thread(self._endpoint)

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

    async def _in_thread(self, request: HttpRequest) -> HttpReply:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HttpReply] = loop.create_future()

        def settle(reply: HttpReply | None, error: ProviderError | None) -> None:
            if answer.done():  # cancelled meanwhile
                return
            if reply is not None:
                answer.set_result(reply)
            elif error is not None:
                answer.set_exception(error)

        def work() -> None:
            reply, failure = None, None
            try:
                reply = self._ask(request)
            except ProviderError as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has ended before the answer came
                loop.call_soon_threadsafe(settle, reply, failure)

        threading.Thread(target=work, name="stt-edge-http", daemon=True).start()
        return await answer

    def _ask(self, request: HttpRequest) -> HttpReply:
        import http.client
        import urllib.error
        import urllib.request

        endpoint = self._endpoint()
        url = endpoint.base_url.rstrip("/") + request.path
        if urlsplit(url).scheme not in ("http", "https"):
            raise ProviderError(
                FailureKind.REQUEST, "url is none that can be used: it begins with https://."
            )
        headers = {"User-Agent": _USER_AGENT, **endpoint.headers, **request.headers}
        asked = urllib.request.Request(  # noqa: S310  the scheme is checked above
            url, data=request.body or None, headers=headers, method=request.method
        )
        try:
            with self._opener().open(asked, timeout=self._timeout_s) as response:
                return _reply(response)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error)
        except urllib.error.URLError as error:
            reason = error.reason
            cause = reason if isinstance(reason, OSError) else OSError(str(reason))
            raise connect_failure(cause, endpoint.where) from None
        except TimeoutError:
            raise ProviderError(
                FailureKind.TIMEOUT, f"no answer from {endpoint.where} in {self._timeout_s:g} s."
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = excerpt(str(error)) or type(error).__name__
            raise ProviderError(
                FailureKind.LOST, f"the connection to {endpoint.where} broke: {said}."
            ) from None

    def _opener(self) -> urllib.request.OpenerDirector:
        import urllib.request

        class StayHere(urllib.request.HTTPRedirectHandler):
            """A redirect would carry the key to wherever it points; it is an answer like others."""

            def redirect_request(self, *_: typing.Any) -> None:
                return None

        https = urllib.request.HTTPSHandler(context=tls_context(self._ca_file))
        return urllib.request.build_opener(https, StayHere())


def _reply(response: typing.Any) -> HttpReply:
    body = response.read(_LARGEST_REPLY_BYTES + 1)
    if len(body) > _LARGEST_REPLY_BYTES:
        raise ProviderError(FailureKind.PROTOCOL, "the provider sent an answer that is too large.")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpReply(response.status, headers, body)
