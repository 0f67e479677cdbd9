"""AWS event stream encoding: the binary messages inside a Transcribe WebSocket.

Big-endian: total length, length of the headers, CRC-32 of those eight bytes, headers, payload,
CRC-32 of all before it (Amazon Transcribe docs, "Event stream encoding"). One WebSocket message
holds exactly one of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from stt_edge.frozen import frozen
from stt_edge.providers.json_fields import MalformedError

HeaderValue = bool | int | bytes | str | UUID
"""The value of a header; a timestamp is an int, milliseconds since 1970."""

_PRELUDE: Final = struct.Struct("!III")
_CHECKSUM: Final = struct.Struct("!I")
_SHORT: Final = struct.Struct("!H")
_SMALLEST_BYTES: Final = _PRELUDE.size + _CHECKSUM.size
_LARGEST_HEADERS_BYTES: Final = 128 * 1024
_LARGEST_PAYLOAD_BYTES: Final = 16 * 1024 * 1024
_LARGEST_VALUE_BYTES: Final = 32_767
_LARGEST_NAME_BYTES: Final = 255

_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_NUMBERS: Final = {2: "!b", 3: "!h", 4: "!i", 5: "!q", 8: "!q"}


@frozen
class EventMessage:
    """One message: headers by name, and a payload."""

    headers: Mapping[str, HeaderValue]
    payload: bytes = b""

    def text(self, name: str) -> str:
        """Return a header; empty when it is absent. Raises MalformedError when it is no text."""
        value = self.headers.get(name, "")
        if not isinstance(value, str):
            raise MalformedError(f"the header {name} is no text")
        return value


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a message with headers of type string, in their order. Raises ValueError: too long."""
    encoded = b"".join(_encoded(name, value) for name, value in headers.items())
    if len(encoded) > _LARGEST_HEADERS_BYTES or len(payload) > _LARGEST_PAYLOAD_BYTES:
        raise ValueError("an event-stream message would be too long")
    lengths = struct.pack("!II", _SMALLEST_BYTES + len(encoded) + len(payload), len(encoded))
    body = lengths + _checksum(lengths) + encoded + payload
    return body + _checksum(body)


def decode(message: bytes) -> EventMessage:
    """Return the message that ``message`` is, all of it. Raises MalformedError."""
    if len(message) < _SMALLEST_BYTES:
        raise MalformedError("an event-stream message is cut short")
    total, headers_bytes, _ = _PRELUDE.unpack_from(message)
    if message[8:12] != _checksum(message[:8]):
        raise MalformedError("the checksum of a prelude is wrong")
    if total != len(message):
        raise MalformedError("an event-stream message has another length than it says")
    if message[-4:] != _checksum(message[:-4]):
        raise MalformedError("the checksum of an event-stream message is wrong")
    if headers_bytes > min(_LARGEST_HEADERS_BYTES, total - _SMALLEST_BYTES):
        raise MalformedError("the headers are longer than their message")
    end = _PRELUDE.size + headers_bytes
    return EventMessage(_decoded(message[_PRELUDE.size : end]), message[end:-4])


def _checksum(data: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(data))


def _encoded(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    if not 0 < len(key) <= _LARGEST_NAME_BYTES or len(text) > _LARGEST_VALUE_BYTES:
        raise ValueError(f"the header {name!r} would be too long")
    return bytes((len(key),)) + key + bytes((_STRING,)) + _SHORT.pack(len(text)) + text


def _decoded(data: bytes) -> dict[str, HeaderValue]:
    reader, headers = _Reader(data), dict[str, HeaderValue]()
    while not reader.done:
        name = reader.text(reader.take(1)[0])
        if not name or name in headers:
            raise MalformedError("a header has no name, or one that was there before")
        headers[name] = reader.value(reader.take(1)[0])
    return headers


class _Reader:
    """Takes the bytes of the headers one piece after the other; raises MalformedError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise MalformedError("a header is cut short")
        self._at += size
        return piece

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise MalformedError("a header is no UTF-8") from None

    def value(self, kind: int) -> HeaderValue:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in _NUMBERS:
            number = struct.Struct(_NUMBERS[kind])
            return int(number.unpack(self.take(number.size))[0])
        if kind == _UUID:
            return UUID(bytes=self.take(16))
        if kind in (_BYTES, _STRING):
            (size,) = _SHORT.unpack(self.take(_SHORT.size))
            return self.text(size) if kind == _STRING else self.take(size)
        raise MalformedError(f"a header has the unknown type {kind}")
