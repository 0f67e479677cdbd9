"""The same service over HTTP/2 with TLS, for AWS's own client; everything is recognised in aws.py.

One event-stream message after the other comes in DATA frames, each in a signed envelope.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded, StreamReset
from websockets.exceptions import ConnectionClosedError

from tests.simulators.aws import Simulator, Stream, answer
from tests.simulators.aws_wire import Refused
from tests.simulators.core import Dropped, Session, Wire

_PATH: Final = "/stream-transcription"
_LARGEST_MESSAGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """A request, in the shape in which a WebSocket's comes."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Http2Front:
    """Listens with TLS on a port of this machine and hands every stream to a simulator."""

    def __init__(self, simulator: Simulator, directory: Path) -> None:
        """Write a certificate for localhost, and its key, into ``directory``."""
        self.simulator = simulator
        self.ca_file = directory / "ca.pem"
        self._key_file = directory / "key.pem"
        make_certificate(self.ca_file, self._key_file)

    @property
    def url(self) -> str:
        """What AWS's client calls the endpoint."""
        return f"https://localhost:{self.port}"

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.ca_file, self._key_file)
        context.set_alpn_protocols(["h2"])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        self._connections: set[Http2Connection] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*(connection.ended.wait() for connection in self._connections))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Http2Connection(self.simulator, writer)
        self._connections.add(connection)
        try:
            await connection.run(reader)
        finally:
            connection.abort()
            connection.ended.set()


class Http2Connection:
    """One connection: turns bytes into requests, and each request into a ``Wire``."""

    def __init__(self, simulator: Simulator, writer: asyncio.StreamWriter) -> None:
        self._simulator = simulator
        self._writer = writer
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._streams: dict[int, Http2Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve until the client hangs up."""
        self._h2.initiate_connection()
        self.flush()
        try:
            while data := await reader.read(65_536):
                for event in self._h2.receive_data(data):
                    self._on(event)
                self.flush()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            for stream in self._streams.values():
                stream.hung_up()
            await asyncio.gather(*self._tasks)

    def abort(self) -> None:
        """Break the connection."""
        self._writer.transport.abort()

    def flush(self) -> None:
        """Send what is queued."""
        if not self._writer.transport.is_closing():
            self._writer.write(self._h2.data_to_send())

    def respond(self, stream_id: int, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of a response."""
        self._h2.send_headers(stream_id, [(":status", str(status)), *headers.items()])
        self.flush()

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a response's body."""
        self._h2.send_data(stream_id, data, end_stream=end)
        self.flush()

    def _on(self, event: Any) -> None:
        match event:
            case RequestReceived():
                self._begin(event.stream_id, {str(name): str(said) for name, said in event.headers})
            case DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream := self._streams.get(event.stream_id):
                    stream.received(event.data)
            case StreamEnded() | StreamReset():
                if stream := self._streams.get(event.stream_id):
                    stream.hung_up()
            case ConnectionTerminated():
                self.abort()

    def _begin(self, stream_id: int, headers: dict[str, str]) -> None:
        headers["host"] = headers.get("host", headers[":authority"])
        stream = Http2Stream(self, stream_id, Request(headers[":path"], headers))
        task = asyncio.get_running_loop().create_task(self._answer(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, stream: Http2Stream) -> None:
        try:
            self._check(stream.request)
        except Refused as refused:
            self._simulator.refusals += 1
            status, headers, body = answer(refused)
            self.respond(stream.id, status, headers)
            self.data(stream.id, body, end=True)
            return
        self._streams[stream.id] = stream
        self.respond(stream.id, 200, {"content-type": "application/vnd.amazon.eventstream"})
        session = Session()
        self._simulator.sessions.append(session)
        wire = Wire(stream, self._simulator, session)  # type: ignore[arg-type]
        try:
            await self._simulator.serve(wire)
        except (Dropped, ConnectionClosedError):
            session.closed_code = session.closed_code or 1006

    def _check(self, request: Request) -> Stream:
        if request.path != _PATH:
            raise Refused("UnknownOperationException", request.path, 404)
        self._simulator._switched("refusal")
        return self._simulator.stream(request)


class Http2Stream:
    """One request with its response, in the shape of a WebSocket connection."""

    def __init__(self, connection: Http2Connection, stream_id: int, request: Request) -> None:
        self._connection = connection
        self.id = stream_id
        self.request = request
        self._buffer = b""
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False

    @property
    def transport(self) -> Http2Connection:
        """What can be aborted."""
        return self._connection

    def received(self, data: bytes) -> None:
        """Cut what came into messages."""
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4])
            if size < 16 or size > _LARGEST_MESSAGE:
                self._connection.abort()
                return
            if len(self._buffer) < size:
                return
            self._messages.put_nowait(self._buffer[:size])
            self._buffer = self._buffer[size:]

    def hung_up(self) -> None:
        """Note that no more will come."""
        self._messages.put_nowait(None)

    async def recv(self) -> bytes:
        """Return the next message. Raises ConnectionClosedError."""
        message = await self._messages.get()
        if message is None:
            raise ConnectionClosedError(None, None)
        return message

    async def send(self, message: bytes) -> None:
        """Send a message."""
        if not self._closed:
            self._connection.data(self.id, message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the response."""
        if not self._closed:
            self._closed = True
            self._connection.data(self.id, b"", end=True)


def make_certificate(certificate_file: Path, key_file: Path) -> None:
    """Write a certificate for localhost that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
