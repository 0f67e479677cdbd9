"""A local engine's connection: one use of a worker process that is kept between uses.

Loading a model takes a second or more, so a worker outlives the connection that started it and is
ended when nobody has used it for a while. A worker that hangs, dies or is out of step is killed;
the next connection starts another.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Outgoing, TransportClosedError
from stt_edge.providers.transports.worker_process import WorkerProcess
from stt_edge.providers.worker.frames import Frame, FrameKind
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)

_STALL_S: Final = 180.0
"""Nothing is said during the last pass over an utterance. On a computer that is slow and busy, as
an emulated one can be, it takes more than a minute."""
_LATE_S: Final = 0.1
_CLOSE_S: Final = 1.0
_MAX_UNREAD: Final = 4096


def worker_command(engine: str) -> tuple[str, ...]:
    """Return the argv of the worker that runs an engine."""
    return (sys.executable, "-P", "-m", "stt_edge.providers.worker", engine)


class WorkerHost:
    """Owns the one worker of a provider; ``aclose`` ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: str,
        *,
        idle_unload_s: float,
        stall_s: float = _STALL_S,
    ) -> None:
        """Start nothing yet. ``settings`` is one JSON object, the first thing a worker is told."""
        self.name = name
        self.stall_s = stall_s
        """A worker that owes an answer for this long is taken to hang."""
        self._command = tuple(command)
        self._settings = settings
        self._idle_unload_s = idle_unload_s
        self._process: WorkerProcess | None = None
        self._use = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._uses = 0

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while there is one."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def transport(self) -> WorkerTransport:
        """Return a new connection, not connected yet."""
        return WorkerTransport(self)

    def warm(self) -> None:
        """Start the worker in the background, or keep it a while longer."""
        if self._use.locked():
            return
        self._wait_for_use()
        if self.pid is None:
            self._spawn(self._start_early())

    async def acquire(self) -> tuple[WorkerProcess, int]:
        """Return the worker, for one use alone, and the number of that use.

        Waits for the use before it to be over. Raises ProviderError.
        """
        await self._use.acquire()
        self._stop_waiting()
        try:
            process = await self._ensure()
        except OSError as error:
            self._use.release()
            raise ProviderError(
                FailureKind.CONNECT, f"cannot start the worker of {self.name}: {error}"
            ) from error
        except BaseException:
            self._use.release()
            raise
        self._uses += 1
        return process, self._uses

    def release(self) -> None:
        """End a use."""
        self._use.release()
        self._wait_for_use()

    async def aclose(self) -> None:
        """End the worker and wait until it is gone."""
        self._stop_waiting()
        async with self._starting:
            process, self._process = self._process, None
        if process is not None:
            await process.stop()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _ensure(self) -> WorkerProcess:
        async with self._starting:
            if self._process is not None and not self._process.alive:
                self._spawn(self._process.stop())
                self._process = None
            if self._process is None:
                self._process = await WorkerProcess.start(self._command, self._settings, self.name)
            return self._process

    def _wait_for_use(self) -> None:
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._idle_unload_s, self._unload)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _unload(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _log.debug("worker %s is not needed and is ended", self.name)
            self._spawn(process.stop())

    async def _start_early(self) -> None:
        try:
            await self._ensure()
        except OSError as error:
            _log.debug("worker %s cannot be started: %s", self.name, error)  # a connect says so
        if not self._use.locked():
            self._wait_for_use()  # what ran out while it started found nothing to unload

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class WorkerTransport:
    """One use of the worker. See ``base.Transport``."""

    def __init__(self, host: WorkerHost) -> None:
        """Prepare a use of the host's worker."""
        self._host = host
        self._process: WorkerProcess | None = None
        self._number = 0
        self._unread: deque[Frame] = deque()
        self._news = asyncio.Event()
        """Something to read, or the end."""
        self._over = asyncio.Event()
        """The worker has closed this use, or is gone."""
        self._clean = False
        self._failure: ProviderError | None = None
        self._stall: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Take the worker, starting it where there is none. Raises ProviderError."""
        self._process, self._number = await self._host.acquire()
        self._process.on_frame = self._take
        self._process.on_end = self._end
        self._process.post(Frame.numbered(FrameKind.OPEN, self._number))
        self._expect_answer()

    async def send(self, message: Outgoing) -> None:
        """Send one message, waiting while the worker is slow. Raises TransportClosedError."""
        process = self._process
        if process is None or self._over.is_set():
            raise self._closed()
        kind, payload = FrameKind.BINARY, message
        if isinstance(message, str):
            kind, payload = FrameKind.TEXT, message.encode()
        assert isinstance(payload, bytes)
        self._expect_answer()
        try:
            await process.send(Frame(kind, payload))
        except ConnectionError as error:
            raise self._closed() from error

    async def receive(self) -> bytes | str:
        """Return the next message.

        Raises TransportClosedError; ProviderError when it hangs, or crashed while it was loading.
        """
        while not self._unread:
            if self._failure is not None:
                raise self._failure
            if self._over.is_set():
                self._raise_for_crash()
                raise self._closed()
            self._news.clear()
            await self._news.wait()
        frame = self._unread.popleft()
        if frame.kind is FrameKind.TEXT:
            return frame.payload.decode(errors="replace")
        return frame.payload

    async def close(self) -> None:
        """Give the use up and keep the worker; one that does not answer in a second is killed."""
        process = self._process
        if process is None:
            return
        if not self._over.is_set():
            self._unread.clear()
            process.post(Frame.numbered(FrameKind.CLOSE, self._number))
            try:
                if not await is_set_within(self._over, _CLOSE_S):
                    _log.warning("worker %s does not let go and is killed", self._host.name)
            except asyncio.CancelledError:
                self.abort()
                raise
        self.abort()

    def abort(self) -> None:
        """Let go at once; a worker in the middle of something is killed."""
        process, self._process = self._process, None
        self._stop_expecting()
        if process is None:
            return
        if not self._over.is_set():
            process.kill()
        process.on_frame = process.on_end = None
        self._over.set()
        self._news.set()
        self._host.release()

    def _take(self, frame: Frame) -> None:
        self._stop_expecting()
        if frame.kind is FrameKind.CLOSE:
            self._clean = frame.number == self._number
            self._over.set()
        elif len(self._unread) < _MAX_UNREAD:
            self._unread.append(frame)
        else:
            self._fail(FailureKind.PROTOCOL, "says more than can be")
        self._news.set()

    def _end(self) -> None:
        self._stop_expecting()
        self._over.set()
        self._news.set()

    def _closed(self) -> TransportClosedError:
        if self._clean or self._process is None:
            return TransportClosedError(0)
        said = self._process.last_line
        how = f"the worker ended: {self._process.end}"
        return TransportClosedError(self._process.code, f"{how}; {said}" if said else how)

    def _raise_for_crash(self) -> None:
        """Say that the model is to blame, and not the moment: it would crash each time."""
        if self._process is None or not self._process.crashed_loading:
            return
        said = self._process.last_line
        raise ProviderError(
            FailureKind.SETUP,
            f"the worker of {self._host.name} crashed while it loaded the model"
            f" ({self._process.end}){f'; {said}' if said else ''}.",
            code=str(self._process.code),
            remedy="The model is damaged or of another kind, or its library is not for this CPU.",
        )

    def _expect_answer(self) -> None:
        if self._stall is None:
            loop = asyncio.get_running_loop()
            self._stall = loop.call_later(self._host.stall_s, self._stalled)

    def _stop_expecting(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _stalled(self) -> None:
        assert self._stall is not None
        late_s = asyncio.get_running_loop().time() - self._stall.when()
        self._stall = None
        if late_s > _LATE_S:  # it was us who stood still; the answer may be waiting to be read
            self._expect_answer()
            return
        self._fail(FailureKind.TIMEOUT, f"has not answered for {self._host.stall_s:g} s")

    def _fail(self, kind: FailureKind, what: str) -> None:
        self._failure = ProviderError(kind, f"the worker of {self._host.name} {what}")
        if self._process is not None:
            self._process.kill()
