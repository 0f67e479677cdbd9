"""Where the program's own log goes and how it looks. Transcripts are never part of it.

To the journal with fields when standard error is the journal; to standard error with ``<6>``
prefixes when it is the journal but systemd-python is not there; else to standard error for people.
Every line passes a limit on repetition and loses its secrets on the way.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from stt_edge.clock import rfc3339
from stt_edge.redaction import redact, register_secret
from stt_edge.service.repeats import RepeatLimiter

__all__ = ["LEVELS", "configure", "flush", "is_journal", "register_secret"]

LEVELS: Final = ("debug", "info", "warning", "error")
"""What a level is called in settings and on the command line."""

_PRODUCT: Final = "stt_edge"
_CLEAR_LINE: Final = "\r\x1b[K"
_COLOURS: Final = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"

_installed: logging.Handler | None = None


def configure(
    level: str = "info",
    *,
    stream: TextIO | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Send the log where it belongs; ``level`` is one of LEVELS. May be called again.

    Other packages are heard from WARNING on, whatever the level: their debugging output has the
    contents of messages in it, and so what was said.
    """
    global _installed
    root = logging.getLogger()
    if _installed is not None:
        root.removeHandler(_installed)
        _installed.close()
    _installed = RepeatLimiter(_handler(stream or sys.stderr, environment))
    root.addHandler(_installed)
    root.setLevel(logging.WARNING)
    logging.getLogger(_PRODUCT).setLevel(level.upper())


def flush() -> None:
    """Report what the limit on repetition holds back."""
    if _installed is not None:
        _installed.flush()


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether what is written to ``stream`` ends up in the journal (sd-daemon(3))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class PriorityFormatter(logging.Formatter):
    """``<6>name: message``: what journald reads from a stream; every line has the prefix."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        from stt_edge.service.journal_log import priority_of

        prefix = f"<{priority_of(record.levelno)}>"
        text = redact(f"{_short(record.name)}: {super().format(record)}")
        return "\n".join(prefix + line for line in text.split("\n"))


class HumanFormatter(logging.Formatter):
    """Time, level, name and message: full UTC time in a file, local time on a terminal."""

    def __init__(self, *, terminal: bool, colour: bool) -> None:
        """Format for a terminal or a file."""
        super().__init__()
        self._terminal = terminal
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        moment = datetime.fromtimestamp(record.created, UTC)
        clock = f"{moment.astimezone():%H:%M:%S}" if self._terminal else rfc3339(moment)
        level = record.levelname
        if self._colour and (colour := _COLOURS.get(min(record.levelno, logging.ERROR))):
            level = f"{colour}{level}{_PLAIN}"
        text = redact(super().format(record))
        # Live text may stand on the terminal's last line; it is drawn again below.
        clear = _CLEAR_LINE if self._terminal else ""
        return f"{clear}{clock} {level} {_short(record.name)}: {text}"


def _handler(stream: TextIO, environment: Mapping[str, str]) -> logging.Handler:
    lines = logging.StreamHandler(stream)
    if not is_journal(stream, environment):
        terminal = stream.isatty() and environment.get("TERM", "dumb") != "dumb"
        colour = terminal and not environment.get("NO_COLOR")
        lines.setFormatter(HumanFormatter(terminal=terminal, colour=colour))
        return lines
    lines.setFormatter(PriorityFormatter())
    from stt_edge import systemd_python

    if systemd_python.MISSING:
        return lines
    from stt_edge.service.journal_log import JournalHandler

    return JournalHandler(lines)


def _short(name: str) -> str:
    """Return ``service.keeper`` for a logger of ours, and the whole name of any other."""
    return name.removeprefix(f"{_PRODUCT}.")
