"""What waits for the pipe: messages as they are, audio as an address into the ring.

The pipe is never waited for while a device is read. What does not fit stays where it is; what the
ring overwrites meanwhile goes out as a gap, at its place.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections import deque
from typing import Final

from stt_edge.ear.ring import Ring
from stt_edge.ear.wire import Audio, Gap, Message, encode
from stt_edge.model import SAMPLE_RATE

_PIPE_BYTES: Final = 1 << 20
_PIECE_SAMPLES: Final = SAMPLE_RATE
"""The most audio in one message: a second."""
_ROOM_SAMPLES: Final = 2 * SAMPLE_RATE


class Outbox:
    """The write end of the pipe to main, and everything that has yet to go through it."""

    def __init__(self, pipe: int, ring: Ring) -> None:
        """Take a pipe's write end; make it large, where that is allowed, and non-blocking."""
        self._pipe = pipe
        self._ring = ring
        self._queue: deque[bytes | tuple[int, int]] = deque()
        self._rest = b""
        self.overwritten_samples = 0
        self.is_behind = False
        """Whether the pipe did not take everything the last time."""
        os.set_blocking(pipe, False)
        _widen(pipe)

    @property
    def has_room(self) -> bool:
        """Whether two more seconds would overwrite nothing that waits."""
        first = next((item[0] for item in self._queue if isinstance(item, tuple)), None)
        return first is None or self._ring.end + _ROOM_SAMPLES <= first + self._ring.capacity

    def put(self, message: Message) -> None:
        """Queue a message behind everything that waits."""
        self._queue.append(encode(message))

    def put_audio(self, start: int, end: int) -> None:
        """Queue the audio of ``[start, end)``; it is read from the ring when the pipe takes it."""
        last = self._queue[-1] if self._queue else None
        if isinstance(last, tuple) and last[1] == start:
            self._queue[-1] = (last[0], end)
        elif start < end:
            self._queue.append((start, end))

    def pump(self) -> bool:
        """Write what the pipe takes now; return whether nothing waits any more.

        Raises BrokenPipeError when nobody reads any more.
        """
        while self._rest or self._next():
            try:
                written = os.write(self._pipe, self._rest)
            except BlockingIOError:
                self.is_behind = True
                return False
            self._rest = self._rest[written:]
        self.is_behind = False
        return True

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing waits, or for ``timeout_s`` without progress; return which."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLOUT)
        while not self.pump():
            if not poll.poll(None if timeout_s is None else timeout_s * 1000):
                return False
        return True

    def _next(self) -> bool:
        if not self._queue:
            return False
        head = self._queue[0]
        if isinstance(head, bytes):
            self._rest = head
            self._queue.popleft()
            return True
        start, end = head
        if start < self._ring.oldest:
            self._rest, start = self._give_up(start, end)
        else:
            span = self._ring.read(start, min(end, start + _PIECE_SAMPLES))
            self._rest, start = encode(Audio(span.sample, span.pcm)), span.end
        if start < end:
            self._queue[0] = (start, end)
        else:
            self._queue.popleft()
        return True

    def _give_up(self, start: int, end: int) -> tuple[bytes, int]:
        """Say what the ring has overwritten; return the message and where it goes on."""
        lost_until = min(end, self._ring.oldest)
        self.overwritten_samples += lost_until - start
        return encode(Gap(start, lost_until - start)), lost_until


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except PermissionError:
        return  # over the user's share of pipe buffers: the ring makes up for it
