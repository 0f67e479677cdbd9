"""What C libraries print to standard error, kept from flooding the log.

libasound, PortAudio and JACK write to file descriptor 2 whatever happens; when a device is pulled
out, thousands of lines a second. Here they write into a pipe that is never full: what does not
fit is dropped. A few lines of it are passed on, as many as help to understand a fault.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Final, Self, TextIO

_STDERR: Final = 2
_BURST_LINES: Final = 20
_LINES_A_MINUTE: Final = 2
_MOST_AT_ONCE_BYTES: Final = 1 << 16
_LINE_CHARACTERS: Final = 300


class Chatter:
    """Takes the place of standard error while it is entered."""

    def __init__(self) -> None:
        """Do nothing yet."""
        self._real: TextIO | None = None
        self._source = -1
        self._allowance = float(_BURST_LINES)
        self._last_ns = 0
        self._suppressed = 0
        self._previous = ""

    def __enter__(self) -> Self:
        """Let file descriptor 2 lead into the pipe."""
        self._source, sink = os.pipe()
        os.set_blocking(self._source, False)
        os.set_blocking(sink, False)
        self._real = os.fdopen(os.dup(_STDERR), "w", buffering=1, errors="replace")
        os.dup2(sink, _STDERR)
        os.close(sink)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pass on what is left, and give file descriptor 2 back."""
        assert self._real is not None
        self.pass_on(self._last_ns)
        os.dup2(self._real.fileno(), _STDERR)
        os.close(self._source)
        self._real.close()
        self._real = None

    def say(self, line: str) -> None:
        """Write a line of our own to the real standard error."""
        print(line, file=self._real or sys.stderr)

    def pass_on(self, now_ns: int) -> None:
        """Pass on some of what was written since; ``now_ns`` is CLOCK_MONOTONIC."""
        written = self._take()
        if not written:
            return
        self._refill(now_ns)
        for line in written.decode(errors="replace").splitlines():
            text = line.strip()[:_LINE_CHARACTERS]
            if not text or text == self._previous:
                continue
            self._previous = text
            if self._allowance < 1:
                self._suppressed += 1
                continue
            self._allowance -= 1
            if self._suppressed:
                self.say(f"({self._suppressed} lines of the sound libraries left out)")
                self._suppressed = 0
            self.say(text)

    def discard(self) -> None:
        """Drop what was written since: looking for devices makes libasound complain of most."""
        self._take()

    def _take(self) -> bytes:
        if self._real is None:
            return b""
        try:
            return os.read(self._source, _MOST_AT_ONCE_BYTES)
        except BlockingIOError:
            return b""

    def _refill(self, now_ns: int) -> None:
        minutes = (now_ns - self._last_ns) / 60e9 if self._last_ns else 0.0
        self._last_ns = now_ns
        self._allowance = min(_BURST_LINES, self._allowance + minutes * _LINES_A_MINUTE)
