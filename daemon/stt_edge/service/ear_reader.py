"""The thread that does nothing but read one ear, so that a stalled loop loses no sound."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from stt_edge.clock import Clock
from stt_edge.ear.wire import Decoder, WireError
from stt_edge.frozen import frozen
from stt_edge.service.ear_lines import LineLimiter, LineSplitter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.intake import Intake, IntakeEvent, Losses, UtteranceGrew, WritableLog

_READ_BYTES: Final = 1 << 16
_EXPECTED: Final = ("exit code 0", "signal 9, SIGKILL")


@frozen
class EarSaid:
    """A line the ear wrote to stderr, unless it said so before or says too much."""

    line: str


@frozen
class EarGone:
    """The ear has ended and everything it said has been told; the last event of an ear."""

    how: str
    """For a person: ``exit code 0``, ``signal 11, SIGSEGV``, ``exit code 1: its last line``."""


EarEvent = IntakeEvent | EarSaid | EarGone


class EarReader:
    """Reads an ear until it is gone, writes the log and emits events, all on its own thread."""

    def __init__(
        self,
        ear: EarProcess,
        log: WritableLog,
        *,
        clock: Clock,
        losses: Losses,
        limiter: LineLimiter,
        emit: Callable[[EarReader, EarEvent], None],
    ) -> None:
        """Start the thread. ``emit`` is called on it, must not wait, and must not raise."""
        self._ear = ear
        self._emit = emit
        self._limiter = limiter
        self._intake = Intake(log, clock, losses, self._tell)
        self._decoder = Decoder()
        self._lines = LineSplitter()
        self._last_words = ""
        self._growth_told = False
        self._awake, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="ear-reader", daemon=True)
        self._thread.start()

    def growth_seen(self) -> None:
        """Take that UtteranceGrew has arrived; the next growth is told again."""
        self._growth_told = False

    def abandon(self) -> None:
        """Stop reading an ear that will not end; its utterance ends as lost. Returns at once."""
        self._wake.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        how = "its reader failed"
        try:
            try:
                how = self._follow()
            finally:
                self._intake.lost()
        finally:
            self._ear.kill()
            self._ear.close()
            self._awake.close()
            self._wake.close()
            self._emit(self, EarGone(how))

    def _follow(self) -> str:
        """Read to the end and return how the ear ended."""
        pipe, errors, awake = self._ear.pipe, self._ear.errors, self._awake.fileno()
        poll = select.poll()
        for descriptor in (pipe, errors, awake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if awake in ready:
                return "given up"
            if errors in ready and not self._read_errors():
                poll.unregister(errors)
            if pipe in ready and (nonsense := self._read_pipe()) is not None:
                self._intake.lost()  # before the wait for its end: a session may hang on it
                how = self._ear.reap()
                self._read_errors()
                return nonsense or self._with_last_words(how)

    def _read_pipe(self) -> str | None:
        """Take what has come; return None while there is more, else what was wrong, if anything."""
        data = os.read(self._ear.pipe, _READ_BYTES)
        try:
            for message in self._decoder.feed(data):
                self._intake.take(message)
        except WireError as error:
            self._ear.kill()
            return f"it made no sense: {error}"
        return None if data else ""

    def _read_errors(self) -> bool:
        """Take what was written to stderr; return whether there may be more."""
        try:
            data = os.read(self._ear.errors, _READ_BYTES)
        except BlockingIOError:
            return True
        for line in self._lines.feed(data):
            self._last_words = line
            if self._limiter.admit(line):
                self._emit(self, EarSaid(line))
        return bool(data)

    def _with_last_words(self, how: str) -> str:
        if how in _EXPECTED or not self._last_words:
            return how
        return f"{how}: {self._last_words.strip()}"  # the last line of a traceback says it all

    def _tell(self, event: IntakeEvent) -> None:
        if isinstance(event, UtteranceGrew):
            if self._growth_told:
                return  # the loop has not yet seen the last one: a stalled one is not flooded
            self._growth_told = True
        self._emit(self, event)
