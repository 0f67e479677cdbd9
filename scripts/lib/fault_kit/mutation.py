"""Messages and files with something wrong in them: a few random changes to good ones."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from typing import Any, Final

_NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1)
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    "",
    "x" * 100_000,
    "\ud800",
    "\x00",
    "null",
    [],
    {},
    [[[[[]]]]],
    {"type": "final"},
)
_DEEP: Final = 5_000
_MOST_BYTES: Final = 1 << 20


class Mutator:
    """Changes what it is given; the same seed makes the same changes."""

    def __init__(self, rng: random.Random, others: Sequence[bytes]) -> None:
        """Take pieces of ``others`` where two things are to be mixed."""
        self._rng = rng
        self._others = others
        self._changes = (
            *(self._flip, self._flip, self._overwrite, self._overwrite, self._cut),
            *(self._double, self._insert, self._end, self._mix),
        )

    def bytes(self, data: bytes) -> bytes:
        """Return ``data`` with one to eight changes."""
        changed = bytearray(data)
        for _ in range(self._rng.randint(1, 8)):
            self._rng.choice(self._changes)(changed)
        return bytes(changed[:_MOST_BYTES])

    def text(self, text: str) -> str:
        """Return a message with something wrong: as JSON where it is JSON, else as bytes."""
        draw = self._rng.random()
        if draw < 0.02:
            return "[" * _DEEP + "]" * _DEEP
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            draw = 1.0
        if draw < 0.75:
            return json.dumps(self._value(body))
        return self.bytes(text.encode(errors="replace")).decode(errors="replace")

    def _value(self, value: Any) -> Any:
        """Return a JSON value with one place of it changed."""
        if isinstance(value, dict) and value and self._rng.random() < 0.9:
            key = self._rng.choice(list(value))
            draw = self._rng.random()
            if draw < 0.1:
                return {name: value[name] for name in value if name != key}
            if draw < 0.2:
                return {**value, self._rng.choice(["", "type", "\x00", key + "x"]): value[key]}
            return {**value, key: self._value(value[key])}
        if isinstance(value, list) and value and self._rng.random() < 0.9:
            at = self._rng.randrange(len(value))
            draw = self._rng.random()
            if draw < 0.1:
                return value[:at] + value[at + 1 :]
            if draw < 0.2:
                return value * self._rng.randint(2, 50)
            return [*value[:at], self._value(value[at]), *value[at + 1 :]]
        return self._rng.choice(_VALUES)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)

    def _overwrite(self, data: bytearray) -> None:
        form = self._rng.choice(["<B", "<H", "<I", "<Q", ">H", ">I"])
        size = struct.calcsize(form)
        if len(data) >= size:
            number = self._rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
            struct.pack_into(form, data, self._rng.randrange(len(data) - size + 1), number)

    def _cut(self, data: bytearray) -> None:
        start, end = self._range(data)
        del data[start:end]

    def _double(self, data: bytearray) -> None:
        start, end = self._range(data)
        data[end:end] = data[start:end]

    def _insert(self, data: bytearray) -> None:
        at = self._rng.randint(0, len(data))
        data[at:at] = self._rng.randbytes(self._rng.randint(1, 40))

    def _end(self, data: bytearray) -> None:
        del data[self._rng.randint(0, len(data)) :]

    def _mix(self, data: bytearray) -> None:
        if self._others:
            other = self._rng.choice(self._others)
            start, end = self._range(bytearray(other))
            at = self._rng.randint(0, len(data))
            data[at:at] = other[start:end]

    def _range(self, data: bytearray) -> tuple[int, int]:
        start = self._rng.randint(0, len(data))
        return start, min(len(data), start + self._rng.choice([1, 2, 8, 64, 1024, len(data)]))
