"""Keeps one repeated message from filling the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

PER_MINUTE: Final = 20
_WINDOW_S: Final = 60.0


@dataclass(slots=True)
class _Window:
    """A minute of one message. Keeps text, not records, whose tracebacks hold on to frames."""

    began_s: float
    passed: int = 0
    held_back: int = 0
    text: str = ""
    """The last one held back."""
    place: tuple[str, int, str | None] = ("", 0, None)


class RepeatLimiter(logging.Handler):
    """Passes a message on at most so often a minute, then counts it.

    Messages are the same when their template and event are, whatever the arguments. What was held
    back is reported with its number once the minute is over and anything at all is logged, and at
    the end.
    """

    def __init__(
        self,
        target: logging.Handler,
        per_minute: int = PER_MINUTE,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pass records on to ``target``."""
        super().__init__()
        self._target = target
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._windows: dict[tuple[str, int, str, str], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record on, or count it."""
        now_s = self._clock_s()
        for summary in self._reports(before_s=now_s - _WINDOW_S):
            self._target.handle(summary)
        event = str(getattr(record, "message_id", ""))
        key = (record.name, record.levelno, str(record.msg), event)
        window = self._windows.setdefault(key, _Window(now_s))
        if window.passed < self._per_minute:
            window.passed += 1
            self._target.handle(record)
        else:
            window.held_back += 1
            window.text = _text_of(record)
            window.place = (record.pathname, record.lineno, record.funcName)

    def flush(self) -> None:
        """Report everything that was held back."""
        self.acquire()
        try:
            for summary in self._reports(before_s=float("inf")):
                self._target.handle(summary)
            self._target.flush()
        finally:
            self.release()

    def close(self) -> None:
        """Close the target too."""
        self._target.close()
        super().close()

    def _reports(self, before_s: float) -> Iterator[logging.LogRecord]:
        """Forget the windows that began before a moment; yield what is to be said of them."""
        for key, window in list(self._windows.items()):
            if window.began_s <= before_s:
                del self._windows[key]
                if window.held_back:
                    yield _summary(key[0], key[1], window)


def _text_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit; the handler has said so before
        return str(record.msg)


def _summary(name: str, level: int, window: _Window) -> logging.LogRecord:
    path, line, function = window.place
    arguments = (window.text, window.held_back)
    return logging.LogRecord(
        name, level, path, line, "%s … repeated %d times", arguments, None, function
    )
