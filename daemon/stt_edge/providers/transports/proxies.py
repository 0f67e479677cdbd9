"""The HTTP proxies of the environment: which one is meant, and a tunnel through it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from dataclasses import field
from typing import Final
from urllib.parse import unquote, urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.failures import excerpt
from stt_edge.providers.transports.sockets import connect_failure

_USUAL_PORT: Final = 80
_VARIABLES: Final = {
    "https": ("https",),
    "http": ("http",),
    "wss": ("wss", "socks", "https"),
    "ws": ("ws", "socks", "https", "http"),
}
"""Which variables (``https_proxy`` …) count for a scheme, the first of them first."""
_LONGEST_ANSWER_BYTES: Final = 64 * 1024


@frozen
class HttpProxy:
    """A proxy that is spoken to in plain HTTP."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """What it wants to be shown: the password, if there is one."""

    @property
    def where(self) -> str:
        """Return it as messages name it."""
        return f"the proxy {_place(self.host, self.port)}"


def named_proxy(scheme: str, host: str, port: int) -> str | None:
    """Return the URL of the proxy the environment names for a host, if it does."""
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    named = next((known[name] for name in _VARIABLES[scheme] if name in known), None)
    return None if named is None or proxy_bypass(f"{host}:{port}") else named


def is_http(named: str) -> bool:
    """Return whether a proxy is one that ``http_proxy`` understands."""
    return named.partition("://")[0].lower() == "http" or "://" not in named


def http_proxy(named: str) -> HttpProxy:
    """Return the proxy in a URL. Raises ProviderError of kind SETUP, which does not repeat it."""
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        port = parts.port or _USUAL_PORT
    except ValueError:
        raise unusable_proxy("it is no URL") from None
    if parts.scheme != "http":
        raise unusable_proxy(f"{excerpt(parts.scheme)} is not understood here")
    if parts.hostname is None:
        raise unusable_proxy("it names no host")
    if parts.username is None:
        return HttpProxy(parts.hostname, port)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = base64.b64encode(pair.encode()).decode()
    return HttpProxy(parts.hostname, port, {"Proxy-Authorization": f"Basic {basic}"})


def unusable_proxy(why: str) -> ProviderError:
    """Return what is wrong with the proxy that the environment names."""
    return ProviderError(
        FailureKind.SETUP,
        f"the proxy that the environment names cannot be used: {why}.",
        remedy="Look at HTTPS_PROXY and its like: http://HOST:PORT is understood.",
    )


async def tunnel(proxy: HttpProxy, host: str, port: int) -> socket.socket:
    """Return a socket that is connected to a host through the proxy. Raises ProviderError."""
    with contextlib.ExitStack() as unless_done:
        try:
            sock = await _connected(proxy)
            unless_done.callback(sock.close)
            answer = await _ask(sock, proxy, _place(host, port))
        except OSError as error:
            raise connect_failure(error, proxy.where) from None
        _check(answer, proxy)
        unless_done.pop_all()
        return sock


async def _connected(proxy: HttpProxy) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure = OSError("it has no address")
    for family, kind, number, _, address in await loop.getaddrinfo(
        proxy.host, proxy.port, type=socket.SOCK_STREAM
    ):
        with contextlib.ExitStack() as unless_done:
            sock = unless_done.enter_context(socket.socket(family, kind, number))
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                failure = error
            else:
                unless_done.pop_all()
                return sock
    raise failure


async def _ask(sock: socket.socket, proxy: HttpProxy, place: str) -> bytes:
    """Return what the proxy answers, to the end of its headers or of what it says."""
    loop = asyncio.get_running_loop()
    headers = {"Host": place, **proxy.headers}
    lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {said}" for name, said in headers.items())]
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_ANSWER_BYTES:
        # Nothing is read that is not the proxy's: no server we connect to speaks first.
        if not (piece := await loop.sock_recv(sock, 4096)):
            break
        answer += piece
    return answer


def _check(answer: bytes, proxy: HttpProxy) -> None:
    """Raise ProviderError unless the proxy has opened the tunnel."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    first = head.partition(b"\r\n")[0].decode("latin-1").split(maxsplit=2)
    if not end or len(first) < 2 or not first[0].startswith("HTTP/1."):
        raise ProviderError(FailureKind.CONNECT, f"{proxy.where} does not speak HTTP.")
    if first[1].startswith("2"):
        return
    raise ProviderError(
        FailureKind.CONNECT,
        f"{proxy.where} refuses: HTTP {excerpt(' '.join(first[1:]))}.",
        remedy="Put user and password into the proxy's URL." if first[1] == "407" else "",
    )


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
