"""16 kHz to 24 kHz as a stream, with nothing but the standard library.

A polyphase filter 3/2: two samples become three. The first stays as it is; the other two lie
between samples, and each is a windowed sinc over the 32 samples around it. The sums of products of
a whole chunk are done by multiplying very large integers: with samples and coefficients in slots of
40 bits, the product of two such numbers is their convolution, slot by slot. That is many times
faster than a loop over samples.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

from stt_edge.model import SAMPLE_BYTES

_REACH: Final = 16
"""How many samples on either side tell the value at an instant."""
_PAIRS: Final = _REACH // 2
_TAPS: Final = 2 * _PAIRS + 1
"""Of the samples at even places, and of those at odd ones; the outermost may be zero."""
_KAISER: Final = 5.65
"""The window's shape: images are some 60 dB down."""
_SLOT_BYTES: Final = 5
_ONE: Final = 1 << 16
"""A coefficient of 1: a sum is two bytes of fraction, two of sample, one for what overflows."""
_ROUND_AND_LIFT: Final = (1 << 39) + _ONE // 2
"""Added to each sum: half a step, and what keeps it above zero whatever the samples are."""
_FITS: Final = 0x80
"""The fifth byte of a lifted sum that a sample can hold."""
_SIGN: Final = bytes(byte ^ 0x80 for byte in range(256))
"""Turns the upper byte of s16 into that of u16, and back."""
_PAIR_BYTES: Final = 2 * SAMPLE_BYTES
_SILENCE: Final = bytes(_PAIRS * _PAIR_BYTES)


class Upsampler:
    """A stream of 16 kHz mono s16le made into one of 24 kHz, without a shift in time."""

    def __init__(self) -> None:
        """Begin after silence."""
        self._buffer = _SILENCE
        self._taken = 0
        self._given = 0

    def feed(self, pcm: bytes) -> bytes:
        """Take whole samples; return those of 24 kHz whose surroundings are known by now."""
        self._taken += len(pcm) // SAMPLE_BYTES
        made = self._convert(pcm)
        self._given += len(made) // SAMPLE_BYTES
        return made

    def flush(self) -> bytes:
        """Return the rest, which makes three samples for two, rounded up; begin anew."""
        missing = (3 * self._taken + 1) // 2 - self._given
        rest = self._convert(_SILENCE + bytes(SAMPLE_BYTES))  # the latter to complete a pair
        self._buffer, self._taken, self._given = _SILENCE, 0, 0
        return rest[: missing * SAMPLE_BYTES]

    def _convert(self, pcm: bytes) -> bytes:
        self._buffer += pcm
        pairs = len(self._buffer) // _PAIR_BYTES
        ready = pairs - 2 * _PAIRS
        if ready <= 0:
            return b""
        known = self._buffer[: pairs * _PAIR_BYTES]
        self._buffer = self._buffer[ready * _PAIR_BYTES :]
        return _three_for_two(known, ready)


def _three_for_two(pcm: bytes, ready: int) -> bytes:
    """Convert ``ready`` pairs of samples with ``_PAIRS`` pairs before them and after them."""
    even = _packed(pcm[0::4], pcm[1::4])
    odd = _packed(pcm[2::4], pcm[3::4])
    slots = ready + 2 * (_TAPS - 1)
    lift = int.from_bytes(_ROUND_AND_LIFT.to_bytes(_SLOT_BYTES, "little") * slots, "little")
    made = bytearray(ready * 3 * SAMPLE_BYTES)
    own = slice(_PAIRS * _PAIR_BYTES, (_PAIRS + ready) * _PAIR_BYTES)
    made[0::6], made[1::6] = pcm[own][0::4], pcm[own][1::4]
    for place, (of_even, of_odd) in zip((2, 4), _coefficients(), strict=True):
        sums = (even * of_even + odd * of_odd + lift).to_bytes(slots * _SLOT_BYTES, "little")
        valid = sums[(_TAPS - 1) * _SLOT_BYTES :][: ready * _SLOT_BYTES]
        made[place::6], made[place + 1 :: 6] = _unpacked(valid)
    return bytes(made)


def _packed(low: bytes, high: bytes) -> int:
    """Return samples as one number, each in a slot of its own, as u16: without a sign."""
    slots = bytearray(len(low) * _SLOT_BYTES)
    slots[0::_SLOT_BYTES], slots[1::_SLOT_BYTES] = low, high.translate(_SIGN)
    return int.from_bytes(slots, "little")


def _unpacked(sums: bytes) -> tuple[bytes, bytes]:
    """Return the lower and the upper bytes of the samples in lifted sums, limited to 16 bits."""
    low, high, top = (sums[byte::_SLOT_BYTES] for byte in (2, 3, 4))
    if top.count(_FITS) < len(top):
        low, high = _limited(low, top), _limited(high, top)
    return low, high.translate(_SIGN)


def _limited(sums: bytes, top: bytes) -> bytes:
    pairs = zip(sums, top, strict=True)
    return bytes(byte if over == _FITS else 0xFF * (over > _FITS) for byte, over in pairs)


@cache
def _coefficients() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the filters of the second and the third sample: for even places, for odd ones."""
    second, third = _taps(2 / 3), _taps(4 / 3)
    return (
        (_packed_taps(second[1::2]), _packed_taps(second[0::2])),
        (_packed_taps(third[1::2]), _packed_taps(third[0::2])),
    )


def _packed_taps(taps: list[int]) -> int:
    return sum(tap << (8 * _SLOT_BYTES * slot) for slot, tap in enumerate(taps))


def _taps(instant: float) -> list[int]:
    """Return the weights of the samples around ``instant``, the one furthest ahead first.

    ``instant`` is in samples since the pair's first. They add up to one exactly, also rounded: a
    steady level stays what it is, and samples without a sign become sums without one.
    """
    places = range(2 * _PAIRS + 1, -2 * _PAIRS - 1, -1)
    weights = [_sinc(place - instant) * _window(place - instant) for place in places]
    return [round(weight / sum(weights) * _ONE) for weight in weights]


def _sinc(distance: float) -> float:
    return math.sin(math.pi * distance) / (math.pi * distance)


def _window(distance: float) -> float:
    """Return Kaiser's window, which is 0 from ``_REACH`` on."""
    rest = 1 - (distance / _REACH) ** 2
    return _bessel(_KAISER * math.sqrt(rest)) / _bessel(_KAISER) if rest > 0 else 0.0


def _bessel(x: float) -> float:
    """Return the modified Bessel function of order 0, by its series."""
    term = total = 1.0
    for step in range(1, 30):
        term *= (x / (2 * step)) ** 2
        total += term
    return total
