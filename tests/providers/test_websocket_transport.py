"""The WebSocket transport against real servers, good and bad, on this machine."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from stt_edge import redaction
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import HttpReply, TransportClosedError
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports import websocket
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.service import logs
from tests.providers.certificates import Authority
from tests.providers.network import (
    HOST,
    Listener,
    Relay,
    free_port,
    http_server,
    websocket_server,
)

KEY = "sesame/4711+open"
PROXIES = ("http", "https", "ws", "wss", "all", "socks", "no")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def to(url: str, **how: Any) -> WebSocketTransport:
    """Return a transport to a URL, with a key in a header."""
    headers = {"Authorization": f"Token {KEY}"}
    return WebSocketTransport(lambda: WebSocketEndpoint(url, headers), **how)


async def refusal(transport: WebSocketTransport) -> ProviderError:
    """Return how connecting fails."""
    async with asyncio.timeout(10):
        with pytest.raises(ProviderError) as caught:
            await transport.connect()
    assert KEY not in str(caught.value)
    return caught.value


async def ending(transport: WebSocketTransport) -> TransportClosedError:
    async with asyncio.timeout(10):
        with pytest.raises(TransportClosedError) as caught:
            await transport.receive()
    return caught.value


# --- messages -----------------------------------------------------------------------------------


async def test_text_and_bytes_arrive_as_what_they_are() -> None:
    async with websocket_server() as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        for message in ("ok", b"\x00\xff", "þögn ไทย"):
            await transport.send(message)
            assert await transport.receive() == message
        await transport.close()
        transport.abort()


async def test_headers_query_and_subprotocols_reach_the_websocket_server() -> None:
    seen: list[Any] = []

    async def handle(connection: ServerConnection) -> None:
        seen.append((connection.request, connection.subprotocol))

    async with websocket_server(handle, subprotocols=["token", "b"]) as port:
        endpoint = WebSocketEndpoint(f"ws://{HOST}:{port}/v1?a=b", {"X-A": "1"}, ("token", "k-1"))
        transport = WebSocketTransport(lambda: endpoint)
        await transport.connect()
        await transport.close()
    ((request, chosen),) = seen
    assert request.path == "/v1?a=b"
    assert request.headers["X-A"] == "1"
    assert request.headers["Sec-WebSocket-Protocol"] == "token, k-1"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert chosen == "token"


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1007, 1009, 1011, 3008, 4000, 4999])
async def test_the_close_code_and_reason_of_the_server_are_passed_on(code: int) -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.close(code, "því miður")

    async with websocket_server(handle) as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        closed = await ending(transport)
        assert (closed.code, closed.reason) == (code, "því miður")
        with pytest.raises(TransportClosedError) as caught:
            await transport.send(b"more")
        assert caught.value.code == code
        await transport.close()


async def test_a_connection_that_breaks_ends_with_1006() -> None:
    async def handle(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with websocket_server(handle) as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        assert (await ending(transport)).code == 1006


async def test_an_end_in_the_middle_of_a_message_is_1006() -> None:
    async def handle(connection: ServerConnection) -> None:
        connection.transport.write(b"\x81\x7e\x01\x00half of it")
        connection.transport.close()
        await connection.wait_closed()

    async with websocket_server(handle) as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        assert (await ending(transport)).code == 1006


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"\x81\x02\xff\xfe", "no UTF-8"),
        (b"\x82\x7f" + (10_000_000).to_bytes(8), "too large"),
        (b"\xf2\x01x", "broke the rules"),
        (b"\x80\x01x", "broke the rules"),
        (b"\x82\x81abcdx", "broke the rules"),
        (b"\x89\x7e\x01\x00" + bytes(256), "broke the rules"),
    ],
    ids=["utf-8", "10 MB", "reserved bits", "stray continuation", "masked", "long ping"],
)
async def test_a_server_that_breaks_the_rules_is_a_protocol_failure(
    frame: bytes, said: str
) -> None:
    async def handle(connection: ServerConnection) -> None:
        connection.transport.write(frame)
        await connection.wait_closed()

    async with websocket_server(handle) as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        async with asyncio.timeout(10):
            with pytest.raises(ProviderError, match=said) as caught:
                await transport.receive()
        assert caught.value.kind is FailureKind.PROTOCOL
        await transport.close()


async def test_a_whole_message_of_ten_megabytes_is_refused() -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.send("x" * 10_000_000)

    async with websocket_server(handle) as port:
        transport = to(f"ws://{HOST}:{port}/")
        await transport.connect()
        with pytest.raises(ProviderError) as caught:
            await transport.receive()
        assert caught.value.kind is FailureKind.PROTOCOL
        await transport.close()


async def test_closing_a_connection_that_was_never_made_is_nothing() -> None:
    transport = to("ws://nowhere.invalid/")
    await transport.close()
    transport.abort()


async def test_closing_does_not_wait_for_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "_CLOSE_S", 0.1)
    async with websocket_server() as port, Relay(port) as relay:
        transport = to(f"ws://{HOST}:{relay.port}/")
        await transport.connect()
        relay.swallow()
        async with asyncio.timeout(5):
            await transport.close()
        assert (await ending(transport)).code == 1006


# --- TLS ----------------------------------------------------------------------------------------


async def test_a_private_certificate_is_trusted_through_ca_file(authority: Authority) -> None:
    async with websocket_server(ssl=authority.good()) as port:
        for host in (HOST, "localhost"):
            transport = to(f"wss://{host}:{port}/", ca_file=str(authority.file))
            await transport.connect()
            await transport.send("ok")
            assert await transport.receive() == "ok"
            await transport.close()


@pytest.mark.parametrize(
    ("sort", "kind", "said"),
    [
        ("expired", FailureKind.CONNECT, "expired"),
        ("not_yet_valid", FailureKind.CLOCK, "clock is behind"),
        ("wrong_name", FailureKind.CONNECT, "not valid for '127.0.0.1'"),
    ],
)
async def test_a_bad_certificate_is_refused(
    authority: Authority, sort: str, kind: FailureKind, said: str
) -> None:
    async with websocket_server(ssl=getattr(authority, sort)()) as port:
        failure = await refusal(to(f"wss://{HOST}:{port}/", ca_file=str(authority.file)))
    assert failure.kind is kind
    assert said in failure.message
    assert f"{HOST}:{port}" in failure.message
    assert failure.remedy


async def test_an_authority_nobody_knows_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with websocket_server(ssl=authority.good()) as port:
        for ca_file in (None, str(other.file)):
            failure = await refusal(to(f"wss://{HOST}:{port}/", ca_file=ca_file))
            assert failure.kind is FailureKind.CONNECT
            assert "ca_file" in failure.remedy


async def test_the_scheme_may_be_in_capitals_and_is_still_verified(authority: Authority) -> None:
    async with websocket_server(ssl=authority.good()) as port:
        assert (await refusal(to(f"WSS://{HOST}:{port}/"))).kind is FailureKind.CONNECT


async def test_a_server_without_tls_is_no_connection() -> None:
    async with websocket_server() as port:
        failure = await refusal(to(f"wss://{HOST}:{port}/"))
    assert failure.kind is FailureKind.CONNECT
    assert f"{HOST}:{port}" in failure.message


async def test_a_ca_file_that_holds_none_is_a_matter_of_setup(tmp_path: Path) -> None:
    failure = await refusal(to(f"wss://{HOST}:{free_port()}/", ca_file=str(tmp_path / "none.pem")))
    assert failure.kind is FailureKind.SETUP


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FailureKind.DENIED),
        (402, FailureKind.DENIED),
        (404, FailureKind.REQUEST),
        (429, FailureKind.OVERLOADED),
        (500, FailureKind.SERVER),
    ],
)
async def test_an_http_status_in_place_of_the_upgrade_says_what_is_wrong(
    status: int, kind: FailureKind
) -> None:
    head = f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n"
    listener, _ = http_server(head.encode() + b"go \xc3\xa1 away")
    async with listener:
        failure = await refusal(to(f"ws://{HOST}:{listener.port}/"))
    assert (failure.kind, failure.code, failure.retry_after_s) == (kind, str(status), 7.0)
    assert "go á" in failure.message


async def test_a_provider_may_read_a_refusal_in_its_own_way() -> None:
    seen: list[HttpReply] = []

    def refused(reply: HttpReply) -> ProviderError:
        seen.append(reply)
        return ProviderError(FailureKind.UTTERANCE, "as it likes")

    listener, _ = http_server(b"HTTP/1.1 400 No\r\nDG-Error: x\r\n\r\nuntil the end")
    async with listener:
        failure = await refusal(to(f"ws://{HOST}:{listener.port}/", refused=refused))
    assert failure.kind is FailureKind.UTTERANCE
    assert seen == [HttpReply(400, {"dg-error": "x"}, b"until the end")]


async def test_a_redirect_is_not_followed_and_takes_the_key_nowhere() -> None:
    elsewhere, asked = http_server(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    async with elsewhere:
        for status in (301, 302, 303, 307, 308):
            location = f"ws://{HOST}:{elsewhere.port}/"
            answer = f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            listener, _ = http_server(answer.encode())
            async with listener:
                failure = await refusal(to(f"ws://{HOST}:{listener.port}/"))
            assert (failure.kind, failure.code) == (FailureKind.REQUEST, str(status))
    assert asked == []


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n", b"\xff" * 9000, b"HTTP/1.1 101 X\r\n\r\n", b""],
)
async def test_a_server_that_speaks_something_else_is_no_connection(answer: bytes) -> None:
    listener, _ = http_server(answer)
    async with listener:
        failure = await refusal(to(f"ws://{HOST}:{listener.port}/"))
    assert failure.kind is FailureKind.CONNECT
    assert "WebSocket" in failure.message


async def test_a_server_that_resets_at_once_is_no_connection() -> None:
    async def serve_reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with Listener(serve_reset) as listener:
        for scheme in ("ws", "wss"):
            failure = await refusal(to(f"{scheme}://{HOST}:{listener.port}/"))
            assert failure.kind is FailureKind.CONNECT


async def test_a_refused_port_is_no_connection() -> None:
    port = free_port()
    failure = await refusal(to(f"ws://{HOST}:{port}/"))
    assert failure.kind is FailureKind.CONNECT
    assert f"no connection to {HOST}:{port}" in failure.message


async def test_a_name_that_does_not_resolve_is_no_connection() -> None:
    failure = await refusal(to("ws://nowhere.invalid/?key=secret"))
    assert failure.kind is FailureKind.CONNECT
    assert failure.message.startswith("the name of nowhere.invalid cannot be resolved")


@pytest.mark.parametrize(
    "url",
    [
        "http://x/?k=topsecret",
        "ws:///?k=topsecret",
        "ws://x:topsecret/",
        "ws://[::1/?k=topsecret",
        "ws://x:70000/?k=topsecret",
        "ws://x..y/?k=topsecret",
        "ws://topsecret@x/",
        "",
    ],
)
async def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    failure = await refusal(to(url))
    assert failure.kind is FailureKind.REQUEST
    assert "topsecret" not in str(failure)


# --- looked up and read anew --------------------------------------------------------------------


async def test_the_name_is_looked_up_and_the_key_read_at_every_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, asked = http_server(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    loop = asyncio.get_running_loop()
    looked_up: list[str] = []
    real = loop.getaddrinfo

    async def counting(host: str, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        return await real(host, *rest, **more)

    monkeypatch.setattr(loop, "getaddrinfo", counting)
    secret = SecretFile(str(tmp_path / "key"))

    def endpoint() -> WebSocketEndpoint:
        headers = {"Authorization": f"Token {secret.read()}"}
        return WebSocketEndpoint(f"ws://localhost:{listener.port}/", headers)

    async with listener:
        assert (await refusal(WebSocketTransport(endpoint))).kind is FailureKind.DENIED
        for key in ("first-key", "second-key"):
            secret.path.write_text(key)
            await refusal(WebSocketTransport(endpoint))
    assert looked_up.count("localhost") == 2
    assert [b"first-key" in head for head in asked] == [True, False]
    assert [b"second-key" in head for head in asked] == [False, True]


# --- secrets ------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    before = redaction._secrets
    logs.configure("debug", stream=stream, environment={})
    yield stream
    redaction._secrets = before


async def test_nothing_of_an_endpoint_but_its_place_is_ever_shown(log: io.StringIO) -> None:
    listener, asked = http_server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    async with listener:
        url = f"ws://me:{KEY.replace('/', '%2F')}@localhost:{listener.port}/v1?key=hush-hush"
        endpoint = WebSocketEndpoint(url, {"X-Key": KEY}, ("token", "third-secret"))
        failure = await refusal(WebSocketTransport(lambda: endpoint))
    assert endpoint.where == f"localhost:{listener.port}"
    assert b"hush-hush" in asked[0]
    assert b"Authorization: Basic" in asked[0]
    logging.getLogger("stt_edge.test").debug("%s %r", endpoint, failure)
    logs.flush()
    shown = f"{endpoint!r} {endpoint} {failure!r} {failure} {log.getvalue()}"
    assert "stt_edge" in shown or "test" in shown
    for secret in (KEY, "hush-hush", "third-secret", "sesame", "/v1"):
        assert secret not in shown


async def test_a_key_that_no_header_can_hold_is_not_repeated() -> None:
    endpoint = WebSocketEndpoint("ws://localhost/", subprotocols=("token", "hush hush"))
    failure = await refusal(WebSocketTransport(lambda: endpoint))
    assert failure.kind is FailureKind.REQUEST
    assert "hush" not in str(failure)


async def test_an_error_carries_no_chain_with_the_url_in_it() -> None:
    failure = await refusal(to("http://x/?k=topsecret"))
    assert failure.__cause__ is None
    assert failure.__suppress_context__
