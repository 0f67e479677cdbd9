"""What an ear and the libraries in it write to stderr, kept from filling the log.

ALSA alone writes a dozen lines each time a device is looked for, and a PortAudio that spins writes
thousands a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_REPEAT_S: Final = 3600.0
_MEMORY: Final = 64
"""Lines remembered as told."""
_PER_MINUTE: Final = 20
_MAX_LINE: Final = 400


class LineLimiter:
    """Lets a line through once an hour, and at most twenty lines a minute; counts the others."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing told."""
        self._monotonic = monotonic
        self._told: dict[str, float] = {}
        self._minute = 0.0
        self._this_minute = 0
        self.suppressed = 0
        """Lines kept back since the start."""

    def admit(self, line: str) -> bool:
        """Return whether a line is to be logged."""
        now = self._monotonic()
        if now - self._minute >= 60 or not self._this_minute:
            self._minute, self._this_minute = now, 0
        recent = line in self._told and now - self._told[line] < _REPEAT_S
        if recent or self._this_minute >= _PER_MINUTE:
            self.suppressed += 1
            return False
        self._this_minute += 1
        self._told.pop(line, None)
        self._told[line] = now
        if len(self._told) > _MEMORY:
            del self._told[next(iter(self._told))]
        return True


class LineSplitter:
    """Cuts bytes into lines of printable text, each of bounded length."""

    def __init__(self) -> None:
        """Start at the beginning of a line."""
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines completed by ``data``; no data at all completes the last one."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MAX_LINE]
        if not data and rest:
            lines, self._rest = [rest], b""
        return [text for line in lines if (text := _printable(line))]


def _printable(line: bytes) -> str:
    text = line[:_MAX_LINE].decode(errors="replace").rstrip()
    return "".join(character if character.isprintable() else " " for character in text)
