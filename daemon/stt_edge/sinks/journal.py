"""The sink that makes each record an entry of the systemd journal, with fields to search for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stt_edge.clock import rfc3339
from stt_edge.frozen import frozen
from stt_edge.message_ids import MessageId
from stt_edge.model import Record
from stt_edge.sinks.base import Sink, SinkContext, SinkUnavailableError
from stt_edge.sinks.blocking import BlockingCalls

IDENTIFIER: Final = "stt-edge"
_PRIORITY_INFO: Final = 6


@frozen
class Options:
    """``sinks: journal:`` of the configuration; there is nothing to set."""


class JournalSink(Sink):
    """Sends an entry for each record; journald has it in its queue when ``write`` returns."""

    name = "journal"

    def __init__(self) -> None:
        """Send to the journal of this machine."""
        self._calls = BlockingCalls("sink-journal")

    async def open(self) -> None:
        """Look whether there is a journal. Raises SinkUnavailableError."""
        from stt_edge import systemd_python

        if not systemd_python.JOURNAL_SOCKET.exists():
            raise _unavailable(f"there is no {systemd_python.JOURNAL_SOCKET}")

    async def write(self, record: Record) -> None:
        """Send the record. Raises SinkUnavailableError."""
        from stt_edge import systemd_python

        try:
            await self._calls.call(systemd_python.send_entry, tuple(fields_of(record)))
        except OSError as error:
            raise _unavailable(error.strerror or str(error)) from error

    async def close(self) -> None:
        """Let go of the thread."""
        await self._calls.close()


def build(options: Options, context: SinkContext) -> JournalSink:
    """Return the sink. Raises UnavailableError without systemd-python."""
    del options, context  # a journal needs neither
    from stt_edge import systemd_python

    systemd_python.require()
    return JournalSink()


def fields_of(record: Record) -> Iterator[tuple[str, object]]:
    """Yield the fields of a record's entry; what is not known is left out."""
    yield "MESSAGE", record.text
    yield "PRIORITY", _PRIORITY_INFO
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "MESSAGE_ID", MessageId.FINAL.value
    values = {
        "FINAL_ID": record.id,
        "UTTERANCE_ID": record.id,
        "TEXT": record.text,
        "START": rfc3339(record.start),
        "END": rfc3339(record.end),
        "LANGUAGE": record.language,
        "CONFIDENCE": None if record.confidence is None else f"{record.confidence:.3f}",
        "PROVIDER": record.provider,
        "MODEL": record.model,
        "NODE": record.node,
        "DURATION_MS": record.duration_ms,
        "LATENCY_MS": record.latency_ms,
        "LOST_MS": record.lost_ms,
        "DELAYED": int(record.delayed),
        "TRUNCATED": int(record.truncated),
        "SUPERSEDES": record.supersedes,
    }
    for name, value in values.items():
        if value is not None:
            yield f"STT_{name}", value


def _unavailable(reason: str) -> SinkUnavailableError:
    return SinkUnavailableError(
        f"The journal takes no entries: {reason}.",
        "Look at systemd-journald.service, or take journal out of sinks:.",
    )
