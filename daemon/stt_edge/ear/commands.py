"""What main tells the ear: lines of JSON on a socketpair, read without waiting."""

from __future__ import annotations

import os
import select
from typing import Final

from stt_edge.ear.wire import Begin, Command, WireError, decode_command

_READ_BYTES: Final = 1 << 12
_LINE_BYTES: Final = 1 << 16


class Commands:
    """The ear's end of the socketpair."""

    def __init__(self, socket: int) -> None:
        """Take the file descriptor."""
        self._socket = socket
        self._rest = b""
        self._unseen: list[Command] = []
        """What came together with ``Begin``, after it."""
        os.set_blocking(socket, False)

    @property
    def is_closed(self) -> bool:
        """Whether main has gone."""
        return bool(self._poll(0) & select.POLLHUP)

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come that has not been received."""
        return not self._poll(0)

    def wait_for_begin(self) -> Begin:
        """Wait for the first ``Begin``, and return it. Raises like ``received``."""
        while True:
            commands = iter(self.received())
            for command in commands:
                if isinstance(command, Begin):
                    self._unseen = list(commands)
                    return command
            self._poll(None)

    def received(self) -> list[Command]:
        """Return the commands that have come since the last call.

        Raises WireError when something else has come, BrokenPipeError when main has gone.
        """
        unseen, self._unseen = self._unseen, []
        try:
            data = os.read(self._socket, _READ_BYTES)
        except BlockingIOError:
            return unseen
        except ConnectionResetError:
            data = b""
        if not data:
            raise BrokenPipeError
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            raise WireError("a command without an end")
        return unseen + [decode_command(line) for line in lines if line]

    def _poll(self, timeout_ms: int | None) -> int:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return sum(event for _, event in poll.poll(timeout_ms))
