"""How Wyoming lays out events on a stream, without I/O.

An event is a line of JSON, then ``data_length`` bytes of JSON, merged over any ``data`` in the
line, then ``payload_length`` bytes; nothing follows them (rhasspy/wyoming, README, Wyoming
Protocol).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.providers.json_fields import Fields, MalformedError

VERSION: Final = "1.10.2"
"""Of the protocol; its events carry the version of the package that defines it."""
MAX_BYTES: Final = 1 << 20
"""Of a line, of data and of a payload; a model list is a few kB."""


@frozen
class WyomingEvent:
    """An event that was received."""

    kind: str
    data: Fields
    payload: bytes = b""


@frozen
class _Head:
    """The first line of an event, and what follows it."""

    kind: str
    inline: Mapping[str, Any]
    data_bytes: int
    payload_bytes: int


def encode(kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b"") -> bytes:
    """Return the bytes of an event."""
    head: dict[str, Any] = {"type": kind, "version": VERSION}
    body = json.dumps(data, ensure_ascii=False).encode() if data else b""
    if body:
        head["data_length"] = len(body)
    if payload:
        head["payload_length"] = len(payload)
    return json.dumps(head).encode() + b"\n" + body + payload


class EventDecoder:
    """Turns bytes back into events, however they are cut; holds 3 MiB at the most."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self._buffer = bytearray()
        self._head: _Head | None = None

    def feed(self, data: bytes) -> list[WyomingEvent]:
        """Return the events completed by ``data``. Raises MalformedError; then it is of no use."""
        self._buffer += data
        events: list[WyomingEvent] = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def _next(self) -> WyomingEvent | None:
        if self._head is None:
            line = self._take_line()
            if line is None:
                return None
            self._head = _head(line)
        head = self._head
        if len(self._buffer) < head.data_bytes + head.payload_bytes:
            return None
        self._head = None
        body = self._take(head.data_bytes)
        merged = {**head.inline, **_parsed(body)} if body else head.inline
        return WyomingEvent(head.kind, Fields(merged), self._take(head.payload_bytes))

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if max(end, len(self._buffer) if end < 0 else 0) > MAX_BYTES:
            raise MalformedError("a line without an end")
        return None if end < 0 else self._take(end + 1)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _head(line: bytes) -> _Head:
    values = _parsed(line)
    fields = Fields(values)
    kind = fields.text("type")
    if not kind:
        raise MalformedError("an event without a type")
    fields.section("data")  # refuses one that is no object
    inline = values.get("data") or {}
    return _Head(kind, inline, _length(fields, "data_length"), _length(fields, "payload_length"))


def _length(fields: Fields, name: str) -> int:
    length = fields.number(name) or 0.0
    if not 0 <= length <= MAX_BYTES or length != int(length):
        raise MalformedError(f"{name} is out of range")
    return int(length)


def _parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises MalformedError."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedError("no valid JSON") from None
    if not isinstance(parsed, dict):
        raise MalformedError("JSON, but no object")
    return parsed
