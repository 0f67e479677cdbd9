"""The gRPC transport against a real server on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import TransportClosedError
from stt_edge.providers.transports.grpc import (
    GrpcEndpoint,
    GrpcTransport,
    connect_failure,
    url_problem,
)

grpc = pytest.importorskip("grpc", reason="needs grpcio")

METHOD = "/try.Out/Talk"
Handler = Callable[[Any, Any], Any]


@asynccontextmanager
async def served(handler: Handler, credentials: Any = None) -> AsyncIterator[int]:
    """A server with one method; gives the port."""
    server = grpc.aio.server()
    methods = {"Talk": grpc.stream_stream_rpc_method_handler(handler)}
    generic = grpc.method_handlers_generic_handler("try.Out", methods)
    server.add_generic_rpc_handlers((generic,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncIterator[GrpcTransport]:
    url = f"http://127.0.0.1:{port}"
    transport = GrpcTransport(lambda: GrpcEndpoint(url, METHOD, {"a": "b"}), **options)
    await transport.connect()
    try:
        yield transport
    finally:
        await transport.close()


async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request
    yield b"over"


async def deaf(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def ending(transport: GrpcTransport) -> TransportClosedError:
    with pytest.raises(TransportClosedError) as closed:
        await transport.receive()
    return closed.value


async def test_messages_go_both_ways_in_order_and_stay_what_they_are() -> None:
    async with served(echo) as port, connected(port) as transport:
        for message in (b"\x00\xff", b"two"):
            await transport.send(message)
        assert [await transport.receive() for _ in range(2)] == [b"\x00\xff", b"two"]


async def test_an_empty_message_is_the_half_close_and_the_end_has_status_ok() -> None:
    async with served(echo) as port, connected(port) as transport:
        await transport.send(b"")
        assert await transport.receive() == b"over"
        assert (await ending(transport)).code == 0


async def test_what_was_said_before_the_end_is_received_however_late() -> None:
    ended = asyncio.Event()

    async def talk(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        context.add_done_callback(lambda _: ended.set())
        for number in range(3):
            yield b"%d" % number

    async with served(talk) as port, connected(port) as transport:
        await ended.wait()
        assert [await transport.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        assert (await ending(transport)).code == 0


async def test_the_metadata_arrives() -> None:
    async def tell(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield dict(context.invocation_metadata())["a"].encode()

    async with served(tell) as port, connected(port) as transport:
        assert await transport.receive() == b"b"


async def test_the_end_of_the_call_has_the_number_and_the_text_of_its_status() -> None:
    async def refuse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "too long")
        yield b""

    async with served(refuse) as port, connected(port) as transport:
        closed = await ending(transport)
    assert (closed.code, closed.reason) == (11, "too long")


async def test_the_status_stays_what_it_was_when_a_message_comes_too_late() -> None:
    async def refuse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await anext(requests)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "bad key")
        yield b""

    async with served(refuse) as port:
        for _ in range(20):
            async with connected(port) as transport:
                with contextlib.suppress(TransportClosedError):
                    await _send_until_it_waits(transport, size=3200)
                closed = await ending(transport)
            assert (closed.code, closed.reason) == (16, "bad key")


async def test_sending_after_the_end_says_so() -> None:
    async def refuse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.INTERNAL, "no")
        yield b""

    async with served(refuse) as port, connected(port) as transport:
        await ending(transport)
        for message in (b"more", b""):
            with pytest.raises(TransportClosedError):
                await transport.send(message)


async def test_a_server_that_says_when_to_come_back_is_believed() -> None:
    details = pytest.importorskip("google.rpc.error_details_pb2", reason="needs googleapis protos")
    statuses = pytest.importorskip("google.rpc.status_pb2", reason="needs googleapis protos")
    status, info = statuses.Status(code=8), details.RetryInfo()
    info.retry_delay.seconds = 7
    status.details.add().Pack(info)

    async def refuse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        packed = status.SerializeToString()
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", (("grpc-status-details-bin", packed),)
        )
        yield b""

    async with served(refuse) as port, connected(port) as transport:
        with pytest.raises(ProviderError) as failed:
            await transport.receive()
    assert failed.value.kind is FailureKind.OVERLOADED
    assert failed.value.retry_after_s == 7


async def test_details_that_are_none_leave_the_status_as_it_is() -> None:
    async def refuse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        metadata = (("grpc-status-details-bin", b"\xff\xff"),)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", metadata)
        yield b""

    async with served(refuse) as port, connected(port) as transport:
        assert (await ending(transport)).code == 8


async def test_a_message_that_is_too_large_is_a_protocol_error() -> None:
    async def shout(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield bytes(10_000_000)

    async with served(shout) as port, connected(port) as transport:
        with pytest.raises(ProviderError) as failed:
            await transport.receive()
    assert failed.value.kind is FailureKind.PROTOCOL


async def test_a_peer_that_stops_reading_is_found() -> None:
    async with served(deaf) as port, connected(port, stall_s=0.2) as transport:
        with pytest.raises(ProviderError) as failed:
            await _send_until_it_waits(transport)
    assert failed.value.kind is FailureKind.TIMEOUT


async def test_a_sender_that_is_cancelled_leaves_the_call_alone() -> None:
    reading = asyncio.Event()

    async def late(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await reading.wait()
        async for request in requests:
            yield b"%d" % len(request)

    async with served(late) as port, connected(port) as transport:
        sender = asyncio.create_task(_send_until_it_waits(transport))
        await asyncio.sleep(0.2)
        sender.cancel()
        await asyncio.wait({sender})
        reading.set()
        await transport.send(b"after")
        await transport.send(b"")
        sizes: list[bytes] = []
        while not sizes or sizes[-1] != b"5":
            sizes.append(await transport.receive())
        assert (await ending(transport)).code == 0
    assert set(sizes[:-1]) == {b"100000"}


async def _send_until_it_waits(transport: GrpcTransport, size: int = 100_000) -> None:
    while True:
        await transport.send(bytes(size))


async def test_closing_ends_a_receive_that_waits() -> None:
    async with served(deaf) as port, connected(port) as transport:
        receiver = asyncio.create_task(transport.receive())
        await asyncio.sleep(0.05)
        await transport.close()
        with pytest.raises(TransportClosedError):
            await receiver


async def test_a_receiver_that_is_cancelled_is_cancelled() -> None:
    async with served(deaf) as port, connected(port) as transport:
        receiver = asyncio.create_task(transport.receive())
        await asyncio.sleep(0.05)
        receiver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiver


async def test_letting_go_is_possible_at_any_time_and_twice() -> None:
    transport = GrpcTransport(lambda: GrpcEndpoint("http://127.0.0.1:1", METHOD))
    transport.abort()
    await transport.close()
    async with served(deaf) as port, connected(port) as other:
        other.abort()
        other.abort()
        assert (await ending(other)).code == 1
        await other.close()
        with pytest.raises(TransportClosedError):
            await other.send(b"x")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://no-such-host.invalid"])
async def test_no_connection_says_to_where_and_why(url: str) -> None:
    transport = GrpcTransport(lambda: GrpcEndpoint(url, METHOD))
    with pytest.raises(ProviderError) as failed:
        await transport.connect()
    await transport.close()
    assert failed.value.kind is FailureKind.CONNECT
    assert url.partition("//")[2] in failed.value.message


async def test_every_connection_asks_where_to_and_does_so_in_a_thread() -> None:
    asked: list[int] = []

    async with served(echo) as port:

        def endpoint() -> GrpcEndpoint:
            asked.append(threading.get_ident())
            return GrpcEndpoint(f"http://127.0.0.1:{port}", METHOD)

        for _ in range(2):
            transport = GrpcTransport(endpoint)
            await transport.connect()
            await transport.close()
    assert len(asked) == 2
    assert threading.get_ident() not in asked


async def test_an_endpoint_that_cannot_be_had_is_the_failure_to_connect() -> None:
    def endpoint() -> GrpcEndpoint:
        raise ProviderError(FailureKind.DENIED, "no key")

    transport = GrpcTransport(endpoint)
    with pytest.raises(ProviderError, match="no key"):
        await transport.connect()
    await transport.close()


async def test_a_private_certificate_is_refused_unless_it_is_named(tmp_path: Path) -> None:
    key, certificate = _self_signed(tmp_path)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    async with served(echo, credentials) as port:

        def endpoint() -> GrpcEndpoint:
            return GrpcEndpoint(f"https://127.0.0.1:{port}", METHOD)

        stranger = GrpcTransport(endpoint)
        with pytest.raises(ProviderError) as failed:
            await stranger.connect()
        await stranger.close()
        assert failed.value.kind is FailureKind.CONNECT
        assert "ca_file" in failed.value.remedy
        friend = GrpcTransport(endpoint, ca_file=str(tmp_path / "ca.pem"))
        await friend.connect()
        await friend.send(b"hello")
        assert await friend.receive() == b"hello"
        await friend.close()


async def test_a_ca_file_that_is_none_is_our_own_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    transport = GrpcTransport(
        lambda: GrpcEndpoint("https://127.0.0.1:1", METHOD), ca_file=str(tmp_path / "ca.pem")
    )
    with pytest.raises(ProviderError) as failed:
        await transport.connect()
    assert failed.value.kind is FailureKind.SETUP


async def test_plain_text_does_not_leave_this_machine() -> None:
    transport = GrpcTransport(lambda: GrpcEndpoint("http://192.0.2.1:80", METHOD))
    with pytest.raises(ProviderError) as failed:
        await transport.connect()
    assert failed.value.kind is FailureKind.SETUP


@pytest.mark.parametrize(
    "url",
    [
        "https://speech.googleapis.com",
        "https://[2001:db8::1]:9000",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://localhost:9000",
    ],
)
def test_urls_that_can_be_used(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url", ["speech.googleapis.com", "https://", "wss://x", "https://x:y", "https://[", "http://x"]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    assert url_problem(url) is not None


def test_where_to_connect_has_the_port_that_goes_without_saying() -> None:
    assert GrpcEndpoint("https://speech.example/x", METHOD).where == "speech.example:443"
    assert GrpcEndpoint("https://[2001:db8::1]", METHOD).where == "[2001:db8::1]:443"


def test_nothing_of_an_endpoint_is_shown() -> None:
    shown = repr(GrpcEndpoint("https://me:secret@x", METHOD, {"key": "secret"}))
    assert "secret" not in shown


def test_a_certificate_from_the_future_is_the_clock() -> None:
    failure = connect_failure("CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", "x:443")
    assert failure.kind is FailureKind.CLOCK


def test_grpc_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, stt_edge.providers.google; "
        "sys.exit(any(name.split('.')[0] in ('grpc', 'google') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _self_signed(directory: Path) -> tuple[bytes, bytes]:
    """Return a key and its certificate for 127.0.0.1, which is in ``ca.pem`` too."""
    pytest.importorskip("cryptography", reason="needs cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "try")])
    now = dt.datetime.now(dt.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (directory / "ca.pem").write_bytes(certificate)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, certificate
