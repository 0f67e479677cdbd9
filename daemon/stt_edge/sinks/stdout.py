"""The sink for people who watch: live text on a terminal, JSON lines into a pipe or a file."""

from __future__ import annotations

import errno
import json
import os
import select
from collections.abc import Mapping
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.model import Record
from stt_edge.record_json import record_to_json
from stt_edge.sinks.base import Sink, SinkContext, SinkUnavailableError
from stt_edge.sinks.blocking import BlockingCalls

_LISTENING: Final = "…"
_CHUNK_BYTES: Final = select.PIPE_BUF
"""A pipe that poll calls writable takes this much without blocking."""
_POLL_MS: Final = 200


@frozen
class Options:
    """``sinks: stdout:`` of the configuration; there is nothing to set."""


class StdoutSink(Sink):
    """Writes records to a file descriptor as they come; never those of an earlier run."""

    name = "stdout"
    resumes = False

    def __init__(self, descriptor: int, environment: Mapping[str, str] = os.environ) -> None:
        """Write to ``descriptor``; what it is decides on the form."""
        self._descriptor = descriptor
        self._human = os.isatty(descriptor)
        dumb = environment.get("TERM", "dumb") == "dumb"
        self._live = self._human and not dumb
        self._colour = self._live and not environment.get("NO_COLOR")
        self._calls = BlockingCalls("sink-stdout")
        self._open = False
        self._closing = False
        self._utterance_id: str | None = None
        self._shown = ""
        self._drawing = False

    async def open(self) -> None:
        """Make ready."""
        self._open, self._closing = True, False

    async def write(self, record: Record) -> None:
        """Write a line. Raises SinkUnavailableError when nobody reads any more."""
        if record.id == self._utterance_id:
            self._utterance_id, self._shown = None, ""
        try:
            await self._calls.call(self._write, self._line(record))
        except OSError as error:
            raise _unavailable(error) from error
        self._redraw()

    async def close(self) -> None:
        """Take the live line away."""
        self._open, self._closing = False, True
        shown, self._shown = self._shown, ""
        await self._calls.close(self._draw if self._live and shown else None)

    def partial(self, utterance_id: str, text: str) -> None:
        """Show what is understood so far, in place of what was shown before."""
        self._utterance_id = utterance_id if text else None
        self._shown = text
        self._redraw(even_empty=True)

    def speech(self, open: bool) -> None:  # noqa: A002  as in the protocol
        """Show that somebody speaks, until there is something to read."""
        if open and not self._shown:
            self._shown = _LISTENING
        elif not open and self._shown == _LISTENING:
            self._shown = ""
        self._redraw(even_empty=True)

    def _line(self, record: Record) -> bytes:
        if not self._human:
            body = json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":"))
            return body.encode(errors="replace") + b"\n"
        from stt_edge.sinks import terminal

        line = terminal.record_line(record, colour=self._colour) + "\n"
        return ((terminal.CLEAR_LINE if self._live else "") + line).encode(errors="replace")

    def _redraw(self, *, even_empty: bool = False) -> None:
        if self._open and self._live and not self._drawing and (self._shown or even_empty):
            self._drawing = True
            self._calls.post(self._draw)

    def _draw(self) -> None:
        """Show the newest live text; runs in the thread, so older ones are passed over."""
        from stt_edge.sinks import terminal

        self._drawing = False
        try:
            columns = os.get_terminal_size(self._descriptor).columns or 80
            text = terminal.live_line(self._shown, columns, colour=self._colour)
            self._write((terminal.CLEAR_LINE + text).encode(errors="replace"))
        except OSError:
            self._live = False  # the terminal has gone; the next record says so

    def _write(self, data: bytes) -> None:
        """Write all of ``data``, waiting while the reader is slow, but not past ``close``."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while data:
            if not poll.poll(_POLL_MS):
                if self._closing:
                    raise OSError(errno.EAGAIN, "nobody reads it")
                continue
            try:
                data = data[os.write(self._descriptor, data[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                continue  # somebody else made it non-blocking, and filled it


def build(options: Options, context: SinkContext) -> StdoutSink:
    """Return the sink."""
    del options  # there are none
    return StdoutSink(context.stdout)


def _unavailable(error: OSError) -> SinkUnavailableError:
    if error.errno == errno.EPIPE:
        return SinkUnavailableError("Nobody reads standard output any more.")
    return SinkUnavailableError(f"Standard output takes nothing: {error.strerror or error}.")
