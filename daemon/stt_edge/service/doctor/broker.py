"""Check ``sink-mqtt``: the broker's name, its port, its certificate, and whether it lets us in.

The login is one CONNECT of MQTT 3.1.1 (OASIS standard, sections 3.1 and 3.2) under a client id of
its own and without a will, so that a running service's session is not taken over and nobody is
told anything. No library is needed for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
import time
from collections.abc import AsyncIterator
from typing import Final

from stt_edge.errors import ProviderError, SttEdgeError
from stt_edge.providers.transports.sockets import connect_failure
from stt_edge.providers.transports.tls import tls_context
from stt_edge.secret_file import SecretFile
from stt_edge.service.doctor.finding import AS_ROOT, Finding, Level, doubtful, failing, well
from stt_edge.service.doctor.network import Address, connected, failure, resolve, since
from stt_edge.sinks.mqtt import Options

_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 10.0
_CONNACK: Final = 0x20
_DISCONNECT: Final = b"\xe0\x00"
_REFUSALS: Final = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not accept the client id",
    3: "it is not ready",
    4: "user name or password are wrong",
    5: "this user may not connect",
}


async def check_broker(name: str, options: Options) -> AsyncIterator[Finding]:
    """Go to the broker that ``sinks: mqtt:`` names, as far as its welcome."""
    host, port, secure = options.address
    address = Address("tcp", host, port)
    found = await resolve(f"{name}: name", address)
    yield found
    if found.level is not Level.OK:
        return
    what, began = f"{name}: connection", time.monotonic()
    try:
        context = await asyncio.to_thread(_context, options) if secure else None
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except ProviderError as error:
        yield failure(what, error)
        return
    except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
        yield failure(what, connect_failure(error, str(address)))
        return
    try:
        certificate = writer.get_extra_info("peercert")
        yield connected(what, address, certificate, since(began))
        yield await _log_in(f"{name}: login", address, options, reader, writer)
    finally:
        writer.transport.abort()


def connect_packet(client_id: str, username: str | None, password: str | None) -> bytes:
    """Return a CONNECT of MQTT 3.1.1 with a clean session and no will."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    given = [text for text in (client_id, username, password) if text is not None]
    body = _text("MQTT") + struct.pack("!BBH", 4, flags, 10) + b"".join(map(_text, given))
    return b"\x10" + _length(len(body)) + body


async def _log_in(
    what: str,
    address: Address,
    options: Options,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> Finding:
    began = time.monotonic()
    try:
        password = _password(options)
    except PermissionError as error:
        return doubtful(what, f"{error.filename} may not be read by this user.", AS_ROOT)
    except SttEdgeError as error:
        return failing(what, error.message, error.remedy or "See sinks: mqtt: password_file.")
    answer = b""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_ANSWER_S):
            writer.write(connect_packet(_client_id(), options.username, password))
            answer = await reader.readexactly(4)
            writer.write(_DISCONNECT)
            await writer.drain()
    if len(answer) < 4 or answer[0] != _CONNACK:
        message = f"What listens at {address} does not answer as an MQTT broker does."
        return failing(what, message, "Check url: mqtt:// (1883) or mqtts:// (8883), and the port.")
    if answer[3] == 0:
        who = options.username or "anybody"
        return well(what, f"{address} lets {who} in ({since(began)}).")
    reason = _REFUSALS.get(answer[3], f"code {answer[3]}")
    remedy = "Check username and password_file, and the broker's accounts."
    return failing(what, f"{address} refuses us: {reason}.", remedy)


def _context(options: Options) -> ssl.SSLContext:
    """Return how TLS is spoken. Raises ProviderError or OSError for files that cannot be used."""
    context = tls_context(options.ca_file)
    if options.cert_file is not None:
        context.load_cert_chain(options.cert_file, options.key_file)
    return context


def _password(options: Options) -> str | None:
    """Return the password; None where there is none. Raises SttEdgeError or PermissionError."""
    if options.password_file is None:
        return None
    secret = SecretFile(options.password_file, kind="password")
    if secret.path.exists() and not os.access(secret.path, os.R_OK):
        raise PermissionError(13, "", str(secret.path))
    return secret.read()


def _client_id() -> str:
    return f"stt-edge-doctor-{os.urandom(3).hex()}"  # 23 characters must be taken by any broker


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _length(number: int) -> bytes:
    """Return a remaining length (section 2.2.3): seven bits a byte, least first."""
    data = bytearray()
    while True:
        number, digit = divmod(number, 128)
        data.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(data)
