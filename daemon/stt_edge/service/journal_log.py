"""Sends the program's own log to the systemd journal, with fields to search for."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Final

from stt_edge import systemd_python
from stt_edge.redaction import redact

IDENTIFIER: Final = "stt-edge"


def priority_of(level: int) -> int:
    """Return the syslog priority of a level of ``logging``."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (25, 5), (20, 6)):
        if level >= least:
            return priority
    return 7


class JournalHandler(logging.Handler):
    """Makes each log record an entry; what journald does not take goes to ``fallback``."""

    def __init__(self, fallback: logging.Handler) -> None:
        """Use ``fallback`` while journald is away."""
        super().__init__()
        self._fallback = fallback

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        try:
            systemd_python.send_entry(list(entry_fields(record)))
        except OSError:
            self._fallback.handle(record)
        except (TypeError, ValueError):  # arguments that do not fit the format
            self.handleError(record)


def entry_fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield the fields of a log record's entry.

    ``extra={"message_id": …}`` names the event, ``extra={"fields": {"STT_DEVICE": …}}`` adds more.
    """
    message = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        trace = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        message = f"{message}\n{trace}"
    yield "MESSAGE", redact(message)
    yield "PRIORITY", priority_of(record.levelno)
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "LOGGER", record.name
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", record.lineno
    yield "CODE_FUNC", record.funcName
    if message_id := getattr(record, "message_id", None):
        yield "MESSAGE_ID", message_id
    for name, value in getattr(record, "fields", {}).items():
        yield name, redact(str(value))
