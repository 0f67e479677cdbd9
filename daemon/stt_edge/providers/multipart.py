"""A recording as a file in a form, as it is uploaded over HTTP."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE


def wav_file(pcm: bytes | bytearray) -> bytes:
    """Return 16 kHz mono s16le as a WAV file."""
    riff = struct.pack("<4sI4s", b"RIFF", 36 + len(pcm), b"WAVE")
    form = (1, 1, SAMPLE_RATE, SAMPLE_RATE * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    return riff + struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, *form, b"data", len(pcm)) + pcm


def multipart_form(form: Iterable[tuple[str, str]], wav: bytes) -> tuple[str, bytes]:
    """Return the content type and the body of multipart/form-data (RFC 7578).

    The recording comes last, as ``file``; the boundary is one that is in none of the values.
    """
    fields = [(f'name="{name}"', value.encode(errors="replace")) for name, value in form]
    fields.append(('name="file"; filename="speech.wav"\r\nContent-Type: audio/wav', wav))
    candidates = (f"stt-edge-{number:016x}" for number in itertools.count())
    boundary = next(
        candidate
        for candidate in candidates
        if not any(candidate.encode() in value for _, value in fields)
    )
    body = bytearray()
    for head, value in fields:
        body += f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        body += value + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", bytes(body)
