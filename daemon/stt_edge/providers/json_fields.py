"""Reading JSON that somebody else wrote: typed, tolerant of what is absent, strict about the rest.

A key that is absent and one that is null are alike. A value of the wrong type, or a number that no
recording can have, raises MalformedError, which ``Conversation.feed`` turns into a protocol error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from stt_edge.model import SAMPLE_RATE

_LONGEST_S: Final = 1e7
_MOST_ITEMS: Final = 100_000


class MalformedError(ValueError):
    """The provider sent what its protocol does not allow; the message names the place only."""


class Fields:
    """An object of JSON."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Read from ``values``."""
        self._values = values

    def __contains__(self, name: str) -> bool:
        """Return whether there is a value other than null."""
        return self._values.get(name) is not None

    def __bool__(self) -> bool:
        """Return whether there is anything in it."""
        return bool(self._values)

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise MalformedError(f"{name} is no text")
        return value

    def number(self, name: str) -> float | None:
        """Return a finite number, or None when there is none."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedError(f"{name} is no number")
        try:
            number = float(value)
        except OverflowError:
            raise MalformedError(f"{name} is out of range") from None
        if not math.isfinite(number):
            raise MalformedError(f"{name} is out of range")
        return number

    def flag(self, name: str) -> bool:
        """Return a truth value; absent is false."""
        value = self._values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise MalformedError(f"{name} is neither true nor false")
        return value

    def section(self, name: str) -> Fields:
        """Return the object under a key; an empty one when there is none."""
        value = self._values.get(name)
        if value is None:
            return Fields({})
        if not isinstance(value, dict):
            raise MalformedError(f"{name} is no object")
        return Fields(value)

    def items(self, name: str) -> list[Fields]:
        """Return the objects of a list; none when there is no list."""
        return [Fields(_object(name, item)) for item in self._list(name)]

    def texts(self, name: str) -> list[str]:
        """Return the texts of a list; none when there is no list."""
        found = self._list(name)
        if not all(isinstance(item, str) for item in found):
            raise MalformedError(f"{name} holds something other than texts")
        return found

    def _list(self, name: str) -> list[Any]:
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            raise MalformedError(f"{name} is no list, or one too long")
        return value


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{name} holds something other than objects")
    return value


def parse_object(message: str | bytes) -> Fields:
    """Return the JSON object in ``message``. Raises MalformedError."""
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        raise MalformedError("no valid JSON") from None
    if not isinstance(parsed, dict):
        raise MalformedError("JSON, but no object")
    return Fields(parsed)


def seconds_to_samples(seconds: float | None) -> int | None:
    """Return the samples in ``seconds``. Raises MalformedError where no audio is that long."""
    if seconds is None:
        return None
    if not 0 <= seconds <= _LONGEST_S:  # also false for nan
        raise MalformedError("a time is out of range")
    return round(seconds * SAMPLE_RATE)
