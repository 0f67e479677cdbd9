"""UUIDv7 identifiers (RFC 9562): they sort by time, and by creation within one process."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0

_RANDOM_BITS = 74
_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_LATEST_STAMP = 1 << 47
"""No clock is as wrong as that; an id that says so was not made by us."""
_COUNTER_STEP = 1 << 32


def continue_after(earlier: str) -> None:
    """Have all ids made from now on sort behind one that an earlier process made.

    Its clock may have been right while ours still stands where a machine without one begins.
    """
    global _last
    value = int(earlier.replace("-", ""), 16)
    stamp, high, low = value >> 80, value >> 64 & 0xFFF, value & ((1 << 62) - 1)
    if stamp < _LATEST_STAMP:
        with _lock:
            _last = max(_last, stamp << _RANDOM_BITS | high << 62 | low)


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical lower-case form.

    The 74 bits after the millisecond start at random and are counted up within the same
    millisecond (RFC 9562, section 6.2, method 2), also when the wall clock steps back, so ids
    made by one process always increase.
    """
    global _last
    with _lock:
        stamp = time.time_ns() // 1_000_000
        fresh = (stamp << _RANDOM_BITS) | (int.from_bytes(os.urandom(10)) >> 6)
        _last = max(fresh, _last + 1 + int.from_bytes(os.urandom(4)) % _COUNTER_STEP)
        stamp, random = _last >> _RANDOM_BITS, _last & ((1 << _RANDOM_BITS) - 1)
    high, low = random >> 62, random & ((1 << 62) - 1)
    value = (stamp & ((1 << 48) - 1)) << 80 | high << 64 | low | _VERSION_AND_VARIANT
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
