"""How messages lie in the pipes between main and a worker.

Frames of ``u32 length, u8 kind, payload`` (little-endian, the length is the payload's). A *use* of
the worker begins with OPEN and is over with CLOSE, both carrying the number main gave it (u32):

* main sends OPEN, then messages, TEXT or BINARY, whose meaning is the provider's business;
* the worker ends the use by CLOSE when the goodbye has been answered; or main gives it up by
  CLOSE, which the worker echoes, once. What comes before the echo is of no interest any more.

A worker's very first frame is TEXT, its settings as JSON; it precedes any use.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from stt_edge.frozen import frozen

MAX_FRAME_BYTES: Final = 1 << 20
"""A longer frame means that the pipe is out of step."""

_HEAD: Final = struct.Struct("<IB")
_NUMBER: Final = struct.Struct("<I")


class FrameError(Exception):
    """The pipe is out of step."""


class FrameKind(IntEnum):
    """What a frame holds."""

    TEXT = 0
    BINARY = 1
    OPEN = 2
    CLOSE = 3


@frozen
class Frame:
    """One frame."""

    kind: FrameKind
    payload: bytes

    @classmethod
    def numbered(cls, kind: FrameKind, number: int) -> Frame:
        """Return an OPEN or CLOSE of the use with this number."""
        return cls(kind, _NUMBER.pack(number))

    @property
    def number(self) -> int:
        """The use an OPEN or CLOSE is about."""
        number: int = _NUMBER.unpack(self.payload)[0]
        return number

    def encode(self) -> bytes:
        """Return the bytes of the frame."""
        return _HEAD.pack(len(self.payload), self.kind) + self.payload


class FrameDecoder:
    """Turns the bytes of a pipe back into frames, however they are cut."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames completed by ``data``. Raises FrameError when out of step."""
        self._buffer += data
        frames: list[Frame] = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, code = _HEAD.unpack_from(self._buffer, at)
            kind = _checked(length, code)
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            frames.append(Frame(kind, bytes(self._buffer[at + _HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return frames


def _checked(length: int, code: int) -> FrameKind:
    if length > MAX_FRAME_BYTES or code > FrameKind.CLOSE:
        raise FrameError(f"frame of {length} bytes, kind {code}")
    kind = FrameKind(code)
    if kind in (FrameKind.OPEN, FrameKind.CLOSE) and length != _NUMBER.size:
        raise FrameError(f"{kind.name} of {length} bytes")
    return kind
