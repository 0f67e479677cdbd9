r"""The segment file: audio of one utterance as checksummed blocks, only ever appended to.

    file   = "sttEdge" 0x01, block*
    block  = "\xa7SB", u8 kind, u32 payload length, u32 payload CRC, u32 header CRC, payload
    head   = UtteranceStart as JSON     (kind 1; first in every file, twice: without it the audio
                                         belongs to no moment, so one bad byte must not cost it)
    audio  = u64 first sample, s16le    (kind 2)
    tail   = UtteranceEnd as JSON       (kind 3; the last block of the last file)

Numbers are little-endian, checksums CRC-32. The header's checksum also covers the place of the
block in the file, so that nothing inside a payload can be taken for a block. A reader goes on
behind damage at the next header that proves itself: one bad byte costs one block. Blocks of an
unknown kind are passed over; a later version that cannot be read like this changes the marker.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, AudioSpan

FILE_HEADER: Final = b"sttEdge\x01"

MAX_BLOCK_SAMPLES: Final = 32_000
"""Two seconds: longer audio is cut into several blocks, which bounds a reader's memory."""

MAX_PAYLOAD_BYTES: Final = 8 + MAX_BLOCK_SAMPLES * SAMPLE_BYTES

_MARKER: Final = b"\xa7SB"
_FIELDS: Final = struct.Struct("<3sBII")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_WINDOW_BYTES: Final = 128 * 1024

BLOCK_HEADER_BYTES: Final = _FIELDS.size + _U32.size
AUDIO_HEADER_BYTES: Final = BLOCK_HEADER_BYTES + _U64.size

Reader = Callable[[int, int], bytes]
"""``read(offset, size_bytes)``: what lies there; shorter only at the end of the file."""


class Kind(IntEnum):
    """What a block holds."""

    HEAD = 1
    AUDIO = 2
    TAIL = 3


@frozen
class Block:
    """A block whose checksums are right."""

    kind: int
    offset: int
    """Bytes from the start of the file."""
    payload: bytes

    @property
    def end(self) -> int:
        """The offset of the first byte after the block."""
        return self.offset + BLOCK_HEADER_BYTES + len(self.payload)

    def audio(self) -> AudioSpan | None:
        """Return the audio in it; None when it holds something else."""
        if self.kind != Kind.AUDIO or len(self.payload) < _U64.size or len(self.payload) % 2:
            return None
        return AudioSpan(_U64.unpack_from(self.payload)[0], self.payload[_U64.size :])


@frozen
class Damage:
    """Bytes of a file that are no valid block."""

    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The offset of the first byte after the damage."""
        return self.offset + self.size_bytes


def encode_block(kind: Kind, payload: bytes, offset: int) -> bytes:
    """Return the bytes of a block that will lie at ``offset``; payload <= MAX_PAYLOAD_BYTES."""
    fields = _FIELDS.pack(_MARKER, kind, len(payload), zlib.crc32(payload))
    return b"".join((fields, _U32.pack(_header_crc(fields, offset)), payload))


def encode_audio(span: AudioSpan, offset: int) -> bytes:
    """Return the bytes of the block that holds ``span``; at most MAX_BLOCK_SAMPLES."""
    return encode_block(Kind.AUDIO, _U64.pack(span.sample) + span.pcm, offset)


def split(span: AudioSpan) -> list[AudioSpan]:
    """Cut a span into pieces that fit a block."""
    step = MAX_BLOCK_SAMPLES * SAMPLE_BYTES
    return [
        AudioSpan(span.sample + at // SAMPLE_BYTES, span.pcm[at : at + step])
        for at in range(0, len(span.pcm), step)
    ]


def audio_block_bytes(samples: int) -> int:
    """Return the length in a file of a block with ``samples`` samples."""
    return AUDIO_HEADER_BYTES + samples * SAMPLE_BYTES


def block_at(read: Reader, offset: int) -> Block | None:
    """Return the block at ``offset``; None when there is no valid one."""
    header = read(offset, BLOCK_HEADER_BYTES)
    if len(header) < BLOCK_HEADER_BYTES or not header.startswith(_MARKER):
        return None
    _, kind, length, payload_crc = _FIELDS.unpack_from(header)
    (header_crc,) = _U32.unpack_from(header, _FIELDS.size)
    if length > MAX_PAYLOAD_BYTES or header_crc != _header_crc(header[: _FIELDS.size], offset):
        return None
    payload = read(offset + BLOCK_HEADER_BYTES, length)
    if len(payload) < length or zlib.crc32(payload) != payload_crc:
        return None
    return Block(kind, offset, payload)


def scan(read: Reader, size_bytes: int) -> Iterator[Block | Damage]:
    """Yield what a file holds, in order, whatever it holds; never raises for its content.

    Damage that reaches to the end of the file is a torn tail. Holds at most 192 KiB at a time.
    """
    window = _Window(read)
    offset = damaged_from = 0
    if window.get(0, len(FILE_HEADER)) == FILE_HEADER:
        offset = damaged_from = len(FILE_HEADER)
    while offset < size_bytes:
        block = block_at(window.get, offset)
        if block is None:
            # Not at the end the header claims: a torn block may lie before a whole one.
            found = window.find_marker(offset + 1)
            if found is None:
                break
            offset = found
            continue
        if damaged_from < block.offset:
            yield Damage(damaged_from, block.offset - damaged_from)
        yield block
        offset = damaged_from = block.end
    if damaged_from < size_bytes:
        yield Damage(damaged_from, size_bytes - damaged_from)


class _Window:
    """Reads ahead, so that a scan costs one read every 128 KiB."""

    def __init__(self, read: Reader) -> None:
        """Start with nothing read."""
        self._read = read
        self._base = 0
        self._data = b""
        self._at_end = False

    def get(self, offset: int, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` (at most the window's) bytes from ``offset`` on."""
        at = offset - self._base
        short = at + size_bytes > len(self._data)
        if at < 0 or (short and not self._at_end):
            self._fill(offset)
            at = 0
        return self._data[at : at + size_bytes]

    def find_marker(self, offset: int) -> int | None:
        """Return where the next header may begin, at or after ``offset``; None for nowhere."""
        if not self._base <= offset <= self._base + len(self._data):
            self._fill(offset)
        while (found := self._data.find(_MARKER, offset - self._base)) < 0:
            if self._at_end:
                return None
            # The last two bytes may be the first of a marker.
            offset = max(offset, self._base + len(self._data) - len(_MARKER) + 1)
            self._fill(offset)
        return self._base + found

    def _fill(self, offset: int) -> None:
        self._base = offset
        self._data = self._read(offset, _WINDOW_BYTES)
        self._at_end = len(self._data) < _WINDOW_BYTES


def _header_crc(fields: bytes, offset: int) -> int:
    return zlib.crc32(_U64.pack(offset), zlib.crc32(fields))
