"""The proxies of the environment, as the WebSocket and the HTTP transport use them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import HttpReply, HttpRequest
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from tests.providers.certificates import Authority
from tests.providers.network import (
    HOST,
    ConnectProxy,
    free_port,
    http_server,
    websocket_server,
)

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "all", "socks", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def ws_to(url: str, **how: Any) -> WebSocketTransport:
    return WebSocketTransport(lambda: WebSocketEndpoint(url), **how)


def http_to(url: str, **how: Any) -> HttpTransport:
    return HttpTransport(lambda: HttpEndpoint(url), **how)


async def ask(transport: HttpTransport) -> HttpReply:
    async with asyncio.timeout(10):
        await transport.send(HttpRequest("GET", "/v1"))
        return await transport.receive()


async def refusal(transport: WebSocketTransport | HttpTransport) -> ProviderError:
    """Return how connecting, or asking, fails."""
    trying = ask(transport) if isinstance(transport, HttpTransport) else transport.connect()
    async with asyncio.timeout(10):
        with pytest.raises(ProviderError) as caught:
            await trying
    return caught.value


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_over_websocket_the_proxy_of_the_environment_is_used(
    scheme: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = authority.good() if scheme == "wss" else None
    async with websocket_server(ssl=tls) as port, ConnectProxy("u@er:p%ss:word") as proxy:
        monkeypatch.setenv("https_proxy", f"http://u%40er:p%25ss%3Aword@{HOST}:{proxy.port}")
        transport = ws_to(f"{scheme}://localhost:{port}/", ca_file=str(authority.file))
        await transport.connect()
        await transport.send("ok")
        assert await transport.receive() == "ok"
        await transport.close()
    assert proxy.requests == [f"CONNECT localhost:{port} HTTP/1.1"]


@pytest.mark.parametrize("sort", ["expired", "wrong_name"])
async def test_over_websocket_a_certificate_is_verified_behind_a_proxy_too(
    sort: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with websocket_server(ssl=getattr(authority, sort)()) as port, ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        failure = await refusal(ws_to(f"wss://localhost:{port}/", ca_file=str(authority.file)))
    assert failure.kind is FailureKind.CONNECT
    assert "certificate" in failure.message
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("exception", ["localhost", "*", "localhost:{port}"])
async def test_over_websocket_no_proxy_is_obeyed(
    exception: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with websocket_server() as port, ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", exception.format(port=port))
        transport = ws_to(f"ws://localhost:{port}/")
        await transport.connect()
        await transport.close()
    assert proxy.requests == []


async def test_over_websocket_a_proxy_that_refuses_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ConnectProxy("user:right-word") as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:wrong-word@{HOST}:{proxy.port}")
        failure = await refusal(ws_to("wss://api.example/"))
    assert failure.kind is FailureKind.CONNECT
    assert "407" in failure.message
    assert "proxy" in failure.message
    assert "wrong-word" not in str(failure)


async def test_over_websocket_a_proxy_that_is_not_there_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"http://{HOST}:{free_port()}")
    assert (await refusal(ws_to("wss://api.example/"))).kind is FailureKind.CONNECT


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b""])
async def test_over_websocket_a_proxy_that_is_none_is_no_connection(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, _ = http_server(answer)
    async with listener:
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{listener.port}")
        failure = await refusal(ws_to("wss://api.example/"))
    assert failure.kind is FailureKind.CONNECT
    assert "proxy" in failure.message


async def test_over_websocket_giving_up_on_a_proxy_that_says_nothing_leaves_no_connection_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ConnectProxy(mute=True) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        connecting = asyncio.create_task(ws_to("wss://api.example/").connect())
        while not proxy.requests:
            await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        async with asyncio.timeout(5):
            await proxy.hung_up.wait()


@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://user:hush-hush@host:1",
        "http://user:hush-hush@host:port",
        "http://user:hush-hush@[::1",
        "http://user:hush-hush@:1",
        "https://hush-hush@host:1",
    ],
)
async def test_over_websocket_a_proxy_that_cannot_be_used_is_a_matter_of_setup(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    failure = await refusal(ws_to("wss://api.example/"))
    assert failure.kind is FailureKind.SETUP
    assert "proxy" in failure.message
    assert "hush-hush" not in str(failure)


async def test_over_websocket_a_socks_proxy_needs_a_package_and_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "")
    monkeypatch.setenv("socks_proxy", f"socks5h://user:hush-hush@{HOST}:1")
    failure = await refusal(ws_to("wss://api.example/"))
    assert failure.kind is FailureKind.SETUP
    assert "python-socks" in failure.remedy
    assert "hush-hush" not in str(failure)


async def test_a_url_that_is_found_wanting_behind_the_proxy_leaves_no_connection_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with websocket_server() as port, ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        failure = await refusal(ws_to(f"ws://localhost:{port}/#part"))
        assert failure.kind is FailureKind.REQUEST
        async with asyncio.timeout(5):
            await proxy.hung_up.wait()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_over_http_the_proxy_of_the_environment_is_used(
    scheme: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, asked = http_server(OK, tls=authority.good() if scheme == "https" else None)
    async with listener, ConnectProxy("user:p%ss:word") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:p%25ss%3Aword@{HOST}:{proxy.port}")
        place = f"localhost:{listener.port}"
        transport = http_to(f"{scheme}://{place}", ca_file=str(authority.file))
        assert (await ask(transport)).body == b"ok"
    if scheme == "https":
        (line,) = proxy.requests
        assert line.startswith(f"CONNECT {place} ")
        assert b"Proxy-Authorization" not in asked[0]
    else:
        assert proxy.requests == [f"GET http://{place}/v1 HTTP/1.1"]


async def test_over_http_a_proxy_without_a_scheme_is_one_of_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener, _ = http_server(OK)
    async with listener, ConnectProxy() as proxy:
        monkeypatch.setenv("http_proxy", f"{HOST}:{proxy.port}")
        assert (await ask(http_to(f"http://localhost:{listener.port}"))).body == b"ok"
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("exception", ["localhost", "*", "localhost:{port}"])
async def test_over_http_no_proxy_is_obeyed(
    exception: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, _ = http_server(OK)
    async with listener, ConnectProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", exception.format(port=listener.port))
        await ask(http_to(f"http://localhost:{listener.port}"))
    assert proxy.requests == []


async def test_over_http_a_proxy_that_refuses_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ConnectProxy("user:right-word") as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:wrong-word@{HOST}:{proxy.port}")
        failure = await refusal(http_to("https://api.example"))
    assert failure.kind is FailureKind.CONNECT
    assert "407" in failure.message
    assert "wrong-word" not in str(failure)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b""])
async def test_over_http_a_proxy_that_is_none_is_no_connection(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, _ = http_server(answer)
    async with listener:
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{listener.port}")
        assert (await refusal(http_to("https://api.example"))).kind is FailureKind.CONNECT


@pytest.mark.parametrize(
    "proxy", ["socks5h://user:hush-hush@host:1", "http://user:hush-hush@host:port", "http://:1"]
)
async def test_over_http_a_proxy_that_cannot_be_used_is_a_matter_of_setup(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    failure = await refusal(http_to("https://api.example"))
    assert failure.kind is FailureKind.SETUP
    assert "proxy" in failure.message
    assert "hush-hush" not in str(failure)


async def test_over_http_the_proxy_is_not_told_a_password_that_stands_in_the_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener, _ = http_server(OK)
    async with listener, ConnectProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        await ask(http_to(f"http://me:hush-hush@localhost:{listener.port}"))
    assert "hush-hush" not in proxy.requests[0]
