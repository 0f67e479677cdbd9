"""A worker as a process: started, fed, listened to, ended and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Final, Self

from stt_edge.providers.worker.frames import Frame, FrameDecoder, FrameError, FrameKind

_log = logging.getLogger(__name__)

_NOT_FOR_IT: Final = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "CREDENTIALS_DIRECTORY")
)
_CRASHES: Final = frozenset(
    (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
)
_READ_BYTES: Final = 1 << 16
_GRACE_S: Final = 2.0
_LINES_A_MINUTE: Final = 10
_MAX_LINE: Final = 300


class WorkerProcess:
    """One running worker. Frames go to ``on_frame``, its end to ``on_end``, from the event loop."""

    def __init__(self, process: Process, name: str) -> None:
        """Take charge of a process; ``start`` makes one."""
        self.on_frame: Callable[[Frame], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.last_line = ""
        """What it last wrote to stderr."""
        self.spoke = False
        """It has said something: its engine is loaded."""
        self._process = process
        self._name = name
        self._expected = False
        self._errors = asyncio.create_task(self._read_errors())
        self._life = asyncio.create_task(self._live())

    @classmethod
    async def start(cls, command: Sequence[str], settings: str, name: str) -> Self:
        """Start one and hand it its settings. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_IT},
        )
        worker = cls(process, name)
        worker.post(Frame(FrameKind.TEXT, settings.encode()))
        return worker

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs and can be used."""
        return self._process.returncode is None and not self._expected

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def crashed_loading(self) -> bool:
        """Whether its engine ended it before it could say a word, by abort() or a wrong access."""
        code = self._process.returncode
        return not self.spoke and code is not None and -code in _CRASHES

    @property
    def end(self) -> str:
        """How it ended, for a person."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.Signals(-code).name}"

    def post(self, frame: Frame) -> None:
        """Send a frame without waiting; one that has ended takes it and does nothing."""
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(frame.encode())

    async def send(self, frame: Frame) -> None:
        """Send a frame, waiting while the worker is slow. Raises ConnectionError when it ended."""
        assert self._process.stdin is not None
        self.post(frame)
        await self._process.stdin.drain()

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._expected = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Tell it to end, see to it that it does, and reap it."""
        self._expected = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        done, _ = await asyncio.wait({self._life}, timeout=_GRACE_S)
        if not done:
            self.kill()
            await self._life

    async def _live(self) -> None:
        """Hand on what it says until it has ended."""
        assert self._process.stdout is not None
        decoder = FrameDecoder()
        try:
            while data := await self._process.stdout.read(_READ_BYTES):
                for frame in decoder.feed(data):
                    self.spoke = True
                    if self.on_frame is not None:
                        self.on_frame(frame)
        except FrameError as error:
            _log.warning("worker %s is out of step (%s) and is ended", self._name, error)
            self.kill()
        await self._errors
        await self._process.wait()
        if not self._expected and self.on_end is None:
            _log.warning("worker %s ended by itself: %s", self._name, self.end)
        if self.on_end is not None:
            self.on_end()

    async def _read_errors(self) -> None:
        """Pass on what it writes to stderr, a few lines a minute."""
        assert self._process.stderr is not None
        rest, minute_s, told, dropped = b"", time.monotonic(), 0, 0
        while data := await self._process.stderr.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_MAX_LINE]
            if time.monotonic() - minute_s >= 60:
                minute_s, told = time.monotonic(), 0
            for line in lines:
                text = _printable(line)
                self.last_line = text or self.last_line
                if text and told < _LINES_A_MINUTE:
                    _log.warning("worker %s: %s", self._name, text)
                told += 1
                dropped += told > _LINES_A_MINUTE
        if dropped:
            _log.warning("worker %s wrote %d lines more", self._name, dropped)


def _printable(line: bytes) -> str:
    text = line[:_MAX_LINE].decode(errors="replace").strip()
    return "".join(character if character.isprintable() else " " for character in text)
