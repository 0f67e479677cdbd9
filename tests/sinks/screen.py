"""A terminal to look at: a pseudo-terminal, and a screen that understands what we send."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import unicodedata
from types import TracebackType
from typing import Self

_TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(.)", re.DOTALL)


class Screen:
    """Lines of cells, as a terminal ``columns`` wide would show them; colours are kept apart."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self._at = 0
        self.colours: set[str] = set()
        self.wrapped = False

    def clear(self) -> None:
        self.lines, self._at = [""], 0

    def feed(self, text: str) -> None:
        for code, letter, plain in _TOKEN.findall(text):
            if letter == "K":
                self.lines[-1] = self.lines[-1][: self._at]
            elif letter == "m":
                self.colours.add(code)
            elif plain == "\r":
                self._at = 0
            elif plain == "\n":
                self.lines.append("")
                self._at = 0
            elif plain:
                assert plain.isprintable() or unicodedata.category(plain) == "Cf", repr(plain)
                self.lines[-1] = self.lines[-1][: self._at] + plain
                self._at += 1
                self.wrapped |= _width(self.lines[-1]) >= self.columns


class Terminal:
    """A pseudo-terminal with somebody who looks at it; ``descriptor`` is the program's side."""

    def __init__(self, columns: int = 40) -> None:
        self._master, self.descriptor = pty.openpty()
        self.resize(columns)
        self.screen = Screen(columns)
        self.raw = b""

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def look(self) -> list[str]:
        """Return the lines on the screen, once everything that was sent has come."""
        while select.select([self._master], [], [], 0.15)[0]:
            self.raw += os.read(self._master, 65536)
        self.screen.clear()
        self.screen.feed(self.raw.decode().replace("\r\n", "\n"))
        return self.screen.lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._master)
        os.close(self.descriptor)


def _width(text: str) -> int:
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf"
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
