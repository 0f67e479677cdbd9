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
        os.set_blocking(socket, False)

    @property
    def is_closed(self) -> bool:
        """Whether main has gone."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def received(self) -> list[Command]:
        """Return the commands that have come since the last call.

        Raises WireError when something else has come, BrokenPipeError when main has gone.
        """
        try:
            data = os.read(self._socket, _READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            data = b""
        if not data:
            raise BrokenPipeError
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            raise WireError("a command without an end")
        return [decode_command(line) for line in lines if line]

    def wait_for_begin(self) -> None:
        """Wait until main says ``Begin``. Raises like ``received``."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while Begin() not in self.received():
            poll.poll()
