"""The HTTP transport against real servers, good and bad, on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import stt_edge
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import HttpReply, HttpRequest, TransportClosedError
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports import http as transport_module
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport
from tests.providers.certificates import Authority
from tests.providers.network import (
    HOST,
    Listener,
    free_port,
    http_server,
)

KEY = "sesame/4711+open"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: 1\r\n\r\nok"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def to(url: str, **how: Any) -> HttpTransport:
    """Return a transport to a URL, with a key in a header."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return HttpTransport(lambda: HttpEndpoint(url, headers), **how)


async def ask(transport: HttpTransport, request: HttpRequest | None = None) -> HttpReply:
    async with asyncio.timeout(10):
        await transport.connect()
        await transport.send(request or HttpRequest("GET", "/v1"))
        return await transport.receive()


async def refusal(transport: HttpTransport, request: HttpRequest | None = None) -> ProviderError:
    """Return how a request fails."""
    with pytest.raises(ProviderError) as caught:
        await ask(transport, request)
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def failure_after(answer: bytes, **how: Any) -> ProviderError:
    """Return what an answer of a server is taken for."""
    listener, _ = http_server(answer)
    async with listener:
        return await refusal(to(f"http://{HOST}:{listener.port}", **how))


# --- requests and replies -----------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_made_and_the_reply_comes_back() -> None:
    listener, asked = http_server(OK)
    async with listener:
        request = HttpRequest("POST", "/a?b=c", {"Content-Type": "audio/x"}, b"\x00sound")
        reply = await ask(to(f"http://{HOST}:{listener.port}/base/"), request)
    assert reply == HttpReply(200, {"content-length": "2", "x-thing": "1"}, b"ok")
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/a?b=c HTTP/1.1\r\n")
    for line in (f"Authorization: Bearer {KEY}", "Content-Type: audio/x", "User-Agent: stt-edge"):
        assert line.encode() in head
    assert body == b"\x00sound"


async def test_requests_are_answered_one_after_the_other() -> None:
    listener, asked = http_server(OK)
    async with listener:
        transport = to(f"http://{HOST}:{listener.port}")
        for number in range(3):
            await transport.send(HttpRequest("GET", f"/{number}", delay_s=0.001))
        for _ in range(3):
            assert (await transport.receive()).status == 200
    assert [head.split()[1] for head in asked] == [b"/0", b"/1", b"/2"]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 429, 500, 503])
async def test_a_reply_that_is_no_success_is_a_reply(status: int) -> None:
    answer = f"HTTP/1.1 {status} X\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nno!!"
    listener, _ = http_server(answer.encode())
    async with listener:
        reply = await ask(to(f"http://{HOST}:{listener.port}"))
    assert (reply.status, reply.body) == (status, b"no!!")
    assert reply.headers["retry-after"] == "3"


async def test_a_redirect_is_not_followed_and_takes_the_key_nowhere() -> None:
    elsewhere, asked = http_server(OK)
    async with elsewhere:
        location = f"http://{HOST}:{elsewhere.port}/"
        answer = f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        listener, _ = http_server(answer.encode())
        async with listener:
            reply = await ask(to(f"http://{HOST}:{listener.port}"))
    assert reply.status == 302
    assert asked == []


async def test_a_chunked_reply_is_put_together() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    listener, _ = http_server(answer)
    async with listener:
        assert (await ask(to(f"http://{HOST}:{listener.port}"))).body == b"abcde"


async def test_a_reply_without_a_length_ends_with_the_connection() -> None:
    listener, _ = http_server(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    async with listener:
        assert (await ask(to(f"http://{HOST}:{listener.port}"))).body == b"all of it"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_refusal_before_the_body_was_read_is_heard(
    secure: bool, authority: Authority
) -> None:
    answer = b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nwrong key"
    tls = authority.good() if secure else None
    listener, _ = http_server(answer, read_body=False, tls=tls)
    async with listener:
        url = f"{'https' if secure else 'http'}://{HOST}:{listener.port}"
        request = HttpRequest("POST", "/", body=bytes(8_000_000))
        reply = await ask(to(url, ca_file=str(authority.file)), request)
    assert (reply.status, reply.body) == (401, b"wrong key")


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-x\r\n",
        b"",
    ],
)
async def test_a_reply_that_is_not_whole_is_a_lost_connection(answer: bytes) -> None:
    assert (await failure_after(answer)).kind is FailureKind.LOST


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reply_that_is_too_large_is_a_protocol_failure(
    chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_REPLY_BYTES", 100)
    body = b"x" * 101
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + body
    pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + body
    failure = await failure_after(pieces if chunked else plain)
    assert failure.kind is FailureKind.PROTOCOL
    assert "too large" in failure.message


async def test_a_reply_of_the_largest_size_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_REPLY_BYTES", 2)
    listener, _ = http_server(OK)
    async with listener:
        assert (await ask(to(f"http://{HOST}:{listener.port}"))).body == b"ok"


async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def test_a_server_that_says_nothing_runs_into_the_timeout() -> None:
    async with Listener(mute) as listener:
        failure = await refusal(to(f"http://{HOST}:{listener.port}", timeout_s=0.1))
    assert failure.kind is FailureKind.TIMEOUT
    assert f"{HOST}:{listener.port}" in failure.message


async def test_a_server_that_never_finishes_its_handshake_runs_into_the_timeout() -> None:
    async with Listener(mute) as listener:
        failure = await refusal(to(f"https://{HOST}:{listener.port}", timeout_s=0.1))
    assert failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_resets_is_a_failure_and_no_hanging_request(scheme: str) -> None:
    async def serve_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with Listener(serve_reset) as listener:
        failure = await refusal(to(f"{scheme}://{HOST}:{listener.port}"))
    assert failure.kind is (FailureKind.LOST if scheme == "http" else FailureKind.CONNECT)


async def test_a_refused_port_is_no_connection() -> None:
    port = free_port()
    failure = await refusal(to(f"http://{HOST}:{port}"))
    assert failure.kind is FailureKind.CONNECT
    assert f"no connection to {HOST}:{port}" in failure.message


async def test_a_name_that_does_not_resolve_is_no_connection() -> None:
    failure = await refusal(to("https://nowhere.invalid/?key=secret"))
    assert failure.kind is FailureKind.CONNECT
    assert failure.message.startswith("the name of nowhere.invalid cannot be resolved")


@pytest.mark.parametrize(
    "url",
    [
        "ws://x/topsecret",
        "https:///topsecret",
        "https://x:topsecret",
        "https://[::1/topsecret",
        "https://x:70000/topsecret",
        "http://127.0.0.1:{port}/top secret",
        "",
    ],
)
async def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    listener, _ = http_server(OK)
    async with listener:
        failure = await refusal(to(url.replace("{port}", str(listener.port))))
    assert failure.kind is FailureKind.REQUEST
    assert "secret" not in str(failure)


@pytest.mark.parametrize("value", ["two\r\nhush-hush: 1", "hush-hush ไทย"])
async def test_a_key_that_no_header_can_hold_is_not_repeated(value: str) -> None:
    listener, _ = http_server(OK)
    async with listener:
        endpoint = HttpEndpoint(f"http://{HOST}:{listener.port}", {"X-Key": value})
        failure = await refusal(HttpTransport(lambda: endpoint))
    assert failure.kind is FailureKind.REQUEST
    assert "hush" not in str(failure)


async def test_a_mistake_of_ours_ends_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)

    def endpoint() -> HttpEndpoint:
        if threading.current_thread().name == "stt-edge-http":
            raise KeyError("a mistake")
        return HttpEndpoint("http://x")

    failure = await refusal(HttpTransport(endpoint))
    assert failure.kind is FailureKind.PROTOCOL
    async with asyncio.timeout(10):
        while not caught:  # the thread has still to say so
            await asyncio.sleep(0.001)
    assert [arguments.exc_type for arguments in caught] == [KeyError]


# --- TLS ----------------------------------------------------------------------------------------


async def test_a_private_certificate_is_trusted_through_ca_file(authority: Authority) -> None:
    listener, _ = http_server(OK, tls=authority.good())
    async with listener:
        for host in (HOST, "localhost"):
            transport = to(f"https://{host}:{listener.port}", ca_file=str(authority.file))
            assert (await ask(transport)).body == b"ok"


@pytest.mark.parametrize(
    ("sort", "kind"),
    [
        ("expired", FailureKind.CONNECT),
        ("not_yet_valid", FailureKind.CLOCK),
        ("wrong_name", FailureKind.CONNECT),
    ],
)
async def test_a_bad_certificate_is_refused_before_the_key_is_shown(
    authority: Authority, sort: str, kind: FailureKind
) -> None:
    listener, asked = http_server(OK, tls=getattr(authority, sort)())
    async with listener:
        url = f"https://{HOST}:{listener.port}"
        failure = await refusal(to(url, ca_file=str(authority.file)))
        unknown = await refusal(to(url))
    assert failure.kind is kind
    assert unknown.kind is not FailureKind.CLOCK or sort == "not_yet_valid"
    assert "certificate" in failure.message
    assert asked == []


async def test_an_authority_nobody_knows_is_refused(authority: Authority) -> None:
    listener, asked = http_server(OK, tls=authority.good())
    async with listener:
        failure = await refusal(to(f"https://{HOST}:{listener.port}"))
    assert failure.kind is FailureKind.CONNECT
    assert "ca_file" in failure.remedy
    assert asked == []


# --- looked up and read anew --------------------------------------------------------------------


async def test_the_name_is_looked_up_and_the_key_read_for_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[Any] = []
    real = socket.getaddrinfo

    def counting(host: Any, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    listener, asked = http_server(OK)
    secret = SecretFile(str(tmp_path / "key"))

    def endpoint() -> HttpEndpoint:
        return HttpEndpoint(f"http://localhost:{listener.port}", {"X-Key": secret.read()})

    async with listener:
        transport = HttpTransport(endpoint)
        assert (await refusal(transport)).kind is FailureKind.DENIED
        for key in ("first-key", "second-key"):
            secret.path.write_text(key)
            await ask(transport)
    assert looked_up.count("localhost") == 2
    assert [b"first-key" in head for head in asked] == [True, False]
    assert [b"second-key" in head for head in asked] == [False, True]


# --- letting go ---------------------------------------------------------------------------------


async def test_a_closed_transport_has_nothing_more_to_say() -> None:
    transport = to("http://x")
    await transport.close()
    transport.abort()
    with pytest.raises(TransportClosedError) as caught:
        await transport.receive()
    assert caught.value.code is None


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_letting_go_of_a_request_under_way_ends_its_thread(
    scheme: str, authority: Authority
) -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.set()
        await reader.read(-1)

    async with Listener(serve, tls=authority.good() if scheme == "https" else None) as listener:
        transport = to(f"{scheme}://{HOST}:{listener.port}", ca_file=str(authority.file))
        await transport.send(HttpRequest("GET", "/"))
        asking = asyncio.create_task(transport.receive())
        async with asyncio.timeout(10):
            await heard.wait()
            asking.cancel()
            await transport.close()
            with pytest.raises(asyncio.CancelledError):
                await asking
            while any(one.name == "stt-edge-http" for one in threading.enumerate()):
                await asyncio.sleep(0.01)


async def test_a_request_under_way_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, sys
from stt_edge.providers.base import HttpRequest
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport

async def main():
    transport = HttpTransport(lambda: HttpEndpoint(sys.argv[1]))
    await transport.connect()
    await transport.send(HttpRequest("GET", "/"))
    asking = asyncio.create_task(transport.receive())
    await asyncio.to_thread(sys.stdin.readline)
    asking.cancel()

asyncio.run(main())
print("ended")
"""
    source = Path(stt_edge.__file__).parents[1]
    async with Listener(mute) as listener:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            f"http://{HOST}:{listener.port}",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(source)},
        )
        assert process.stdin is not None
        async with asyncio.timeout(20):
            while not listener.accepted:
                await asyncio.sleep(0.01)
            output, _ = await process.communicate(b"\n")
    assert (process.returncode, output.strip()) == (0, b"ended")


# --- secrets ------------------------------------------------------------------------------------


async def test_nothing_of_an_endpoint_but_its_place_is_ever_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    listener, _ = http_server(b"")
    async with listener:
        url = f"http://me:hush-hush@localhost:{listener.port}/v1?key=another"
        endpoint = HttpEndpoint(url, {"X-Key": KEY})
        failure = await refusal(HttpTransport(lambda: endpoint))
    assert endpoint.where == f"localhost:{listener.port}"
    shown = f"{endpoint!r} {endpoint} {failure!r} {failure} {caplog.text}"
    for secret in (KEY, "hush-hush", "another", "/v1"):
        assert secret not in shown
