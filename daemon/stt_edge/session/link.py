"""One connection in action: performs what its state machine asks for.

Three tasks a connection: one connects and then receives, one pumps the utterance's audio from the
log, and short ones flush what the protocol has queued. They tell the machine what happened; the
machine's effects are performed here, or by the owner where they concern more than this connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from stt_edge.errors import FailureKind, LogError, ProviderError
from stt_edge.frozen import frozen
from stt_edge.model import AudioSpan, ms_to_samples, samples_to_s
from stt_edge.providers import base
from stt_edge.session import connection as machine
from stt_edge.session import connection_terms as terms
from stt_edge.session.connection import Connection
from stt_edge.session.connection_terms import Phase, TimerName
from stt_edge.session.pacing import Chunk, TokenBucket, cut, pcm_of, samples_of
from stt_edge.session.ports import AudioLog
from stt_edge.session.progress import Progress

_log = logging.getLogger(__name__)

_READ_SAMPLES: Final = ms_to_samples(2000)
_STALLED_S: Final = 8.0
"""A provider on a network that takes nothing for so long has stopped reading, or is not there."""


@frozen
class Usage:
    """What one connection was used for."""

    seconds_sent: float
    connection_s: float


class LinkOwner(Protocol):
    """Who is told what concerns more than one connection."""

    def link_partial(self, progress: Progress, partial: base.Partial) -> None:
        """Take a partial of the utterance in hand."""

    def link_final(self, link: Link, progress: Progress, final: base.Final) -> None:
        """Take a final of the utterance in hand."""

    def link_complete(self, link: Link, progress: Progress, *, confirmed: bool) -> None:
        """Take that the utterance is complete; not ``confirmed`` is 'as far as can be seen'."""

    def link_drain_failed(self, link: Link, progress: Progress) -> None:
        """Take that the provider never confirmed the end of the utterance."""

    def link_returned(self, link: Link, progress: Progress) -> None:
        """Take back an utterance that has to go on elsewhere."""

    def link_unreadable(self, progress: Progress, error: LogError) -> None:
        """Take that the audio of the utterance cannot be read."""

    def link_failed(
        self, link: Link, failure: ProviderError, progress: Progress | None, *, established: bool
    ) -> None:
        """Take a failure of the provider."""

    def link_job(self, progress: Progress, provider: str, token: str) -> None:
        """Take the token of a job the provider has made of the utterance in hand."""

    def link_late(self) -> None:
        """Take that a result came too late for its utterance."""

    def link_free(self, link: Link) -> None:
        """Take that a connection is open and can be given an utterance."""

    def link_closed(self, link: Link) -> None:
        """Take that the connection is gone; the last call about it."""


class Link:
    """Drives one connection of a provider."""

    def __init__(
        self,
        provider: base.Provider,
        owner: LinkOwner,
        audio: AudioLog,
        *,
        hold_s: float,
        progress: Progress | None,
        connect_timeout_s: float | None = None,
    ) -> None:
        """Prepare a connection, for an utterance or for one that may follow."""
        self.provider = provider
        self.progress = progress
        """The utterance in hand."""
        self.streaming_since_s: float | None = None
        self._owner = owner
        self._audio = audio
        self._state = Connection(
            provider.capabilities,
            hold_s=hold_s,
            connect_timeout_s=connect_timeout_s,
            utterance_id=None if progress is None else progress.id,
        )
        self._protocol = provider.make_protocol()
        self._transport = provider.make_transport()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._timers: dict[TimerName, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._outgoing: deque[base.Outgoing] = deque()
        self._opened_s = self._loop.time()
        self._samples_sent = 0
        self._broken = False
        """Lost without a word: there is nobody to say goodbye to."""
        self._bucket = TokenBucket(provider.capabilities.pacing, self._opened_s)

    @property
    def phase(self) -> Phase:
        """Where the connection is in its life."""
        return self._state.phase

    @property
    def free(self) -> bool:
        """Whether it can be given an utterance."""
        idle = self._state.utterance_id is None
        return idle and self.phase in (Phase.CONNECTING, Phase.HELD)

    @property
    def usage(self) -> Usage:
        """What it was used for, up to now."""
        return Usage(samples_to_s(self._samples_sent), self._loop.time() - self._opened_s)

    @property
    def session_left_s(self) -> float:
        """For how long the provider will let the session go on."""
        longest_s = self.provider.capabilities.max_session_s
        return math.inf if longest_s is None else longest_s - (self._loop.time() - self._opened_s)

    @property
    def streamed_s(self) -> float:
        """For how long audio has been flowing."""
        began = self.streaming_since_s
        return 0.0 if began is None else self._loop.time() - began

    def start(self) -> None:
        """Begin to connect."""
        self._state, effects = machine.start(self._state)
        self._perform(effects)

    def assign(self, progress: Progress) -> None:
        """Give it an utterance; it must be ``free``."""
        self.progress = progress
        self._handle(terms.Assigned(progress.id))

    def release(self) -> None:
        """Let go of it; an utterance in hand is returned to the owner."""
        self._handle(terms.Released())

    def wake(self) -> None:
        """Look at the log again: the utterance has grown or ended."""
        self._wake.set()

    async def join(self) -> None:
        """Wait until every task of a closed connection has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- the machine and its effects ---

    def _handle(self, event: terms.Event) -> None:
        self._state, effects = machine.step(self._state, event)
        self._perform(effects)

    def _perform(self, effects: tuple[terms.Effect, ...]) -> None:
        for effect in effects:
            self._perform_one(effect)

    def _perform_one(self, effect: terms.Effect) -> None:
        match effect:
            case terms.OpenTransport():
                self._spawn(self._connect_and_receive())
            case terms.BeginUtterance():
                self._begin()
            case terms.SendFinalize():
                self._protocol.finalize()
                self._spawn(self._flush())
            case terms.SendGoodbye():
                self._say_goodbye()
            case terms.SendKeepAlive():
                self._protocol.keep_alive()
                self._spawn(self._flush())
            case terms.StartTimer(timer, seconds):
                self._start_timer(timer, seconds)
            case terms.CancelTimer(timer):
                self._cancel_timer(timer)
            case terms.CloseTransport():
                self._close()
            case _:
                self._tell(effect)

    def _tell(self, effect: terms.Effect) -> None:
        progress, owner = self.progress, self._owner
        match effect:
            case terms.ReportFailure(failure, established):
                owner.link_failed(self, failure, progress, established=established)
            case terms.ReportFree():
                owner.link_free(self)
            case terms.CountLate():
                owner.link_late()
            case terms.ShowPartial(_, partial):
                owner.link_partial(self._in_hand(), partial)
            case terms.AcceptFinal(_, final):
                owner.link_final(self, self._in_hand(), final)
            case terms.NoteJob(_, token):
                owner.link_job(self._in_hand(), self.provider.name, token)
            case terms.CompleteUtterance(_, confirmed):
                owner.link_complete(self, self._let_go(), confirmed=confirmed)
            case terms.DrainFailed():
                owner.link_drain_failed(self, self._let_go())
            case terms.ReturnUtterance():
                owner.link_returned(self, self._let_go())

    def _in_hand(self) -> Progress:
        assert self.progress is not None
        return self.progress

    def _let_go(self) -> Progress:
        progress, self.progress = self._in_hand(), None
        self._stop_pump()
        return progress

    def _begin(self) -> None:
        progress = self._in_hand()
        progress.begin(self.provider)
        progress.begun_s = self.streaming_since_s = self._loop.time()
        self._protocol.begin()
        self._wake.clear()
        self._pump = self._spawn(self._send_utterance(progress))

    def _say_goodbye(self) -> None:
        self._protocol.goodbye()
        self._outgoing += self._protocol.to_send()
        in_hand = self.progress is not None and self.progress.sent_samples > 0
        if self._outgoing or in_hand:
            self._spawn(self._flush())
        else:  # there is nothing to say, so nothing will be answered
            self._loop.call_soon(self._handle, terms.GotFarewell())

    def _close(self) -> None:
        self._stop_pump()
        self._spawn(self._finish_closing())

    def _stop_pump(self) -> None:
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
        self._pump = None

    def _start_timer(self, timer: TimerName, seconds: float) -> None:
        self._cancel_timer(timer)
        event = terms.TimedOut(timer)
        self._timers[timer] = self._loop.call_later(seconds, self._handle, event)

    def _cancel_timer(self, timer: TimerName) -> None:
        if (handle := self._timers.pop(timer, None)) is not None:
            handle.cancel()

    # --- tasks ---

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one cancelled before it began
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ProviderError as failure:
            self._broken = True
            self._handle(terms.Broke(failure))
        except Exception as error:  # noqa: BLE001  a mistake in one connection must not end capture
            _log.exception("connection to %s failed by a mistake of ours", self.provider.name)
            name = type(error).__name__
            self._handle(terms.Broke(ProviderError(FailureKind.PROTOCOL, f"internal: {name}")))

    async def _connect_and_receive(self) -> None:
        await self._transport.connect()
        self._protocol.open()
        await self._flush()
        if not self.provider.capabilities.ready_message:
            self._handle(terms.Connected())
        while self.phase is not Phase.CLOSED:
            try:
                message = await self._transport.receive()
            except base.TransportClosedError as closed:
                self._heard(self._protocol.closed(closed.code, closed.reason))
                return
            self._heard(self._protocol.feed(message))
            self._outgoing += self._protocol.to_send()
            if self._outgoing:  # never waited for: who waits to send would not hear the answers
                self._spawn(self._flush())

    def _heard(self, events: Sequence[base.Event]) -> None:
        for event in events:
            match event:
                case base.Ready():
                    if self.phase is Phase.CONNECTING:
                        self._handle(terms.Connected())
                case base.Partial():
                    self._handle(terms.GotPartial(event))
                case base.Final():
                    self._handle(terms.GotFinal(event))
                case base.Submitted(token):
                    self._handle(terms.GotSubmitted(token))
                case base.Finalized():
                    self._handle(terms.GotFinalized())
                case base.Farewell(confirmed):
                    self._handle(terms.GotFarewell(confirmed))
                case base.Failed(failure):
                    self._handle(terms.Broke(failure))

    async def _flush(self) -> None:
        patience_s = None if self.provider.capabilities.local else _STALLED_S
        async with self._sending:
            self._outgoing += self._protocol.to_send()
            while self._outgoing:
                message = self._outgoing.popleft()
                try:
                    async with asyncio.timeout(patience_s):
                        await self._transport.send(message)
                except base.TransportClosedError:
                    return  # the receiver learns of it too, with the code
                except TimeoutError:
                    raise ProviderError(
                        FailureKind.TIMEOUT, f"the provider took nothing for {_STALLED_S:g} s"
                    ) from None

    async def _send_utterance(self, progress: Progress) -> None:
        token = progress.job_with(self.provider.name)
        try:
            await (self._follow(progress) if token is None else self._ask_for_job(token))
        except LogError as error:
            self._owner.link_unreadable(progress, error)
            self._handle(terms.Released())

    async def _follow(self, progress: Progress) -> None:
        """Send the utterance as it grows, to its end."""
        while True:
            ended = progress.tail is not None  # asked first: audio is written before the end is
            spans = self._read(progress)
            if ended and not spans:
                self._handle(terms.AudioDone())
                return
            last = ended and samples_of(tuple(spans)) < _READ_SAMPLES
            moved = False
            for chunk in cut(spans, self.provider.capabilities, whole=last):
                await self._send_chunk(progress, chunk)
                moved = True
            if not moved:
                await self._wake.wait()
                self._wake.clear()

    async def _ask_for_job(self, token: str) -> None:
        """Ask for what was sent on an earlier connection, in place of sending it again."""
        progress = self._in_hand()
        while spans := self._read(progress):
            for span in spans:
                progress.sent(span)
        self._protocol.resume(token)
        await self._flush()
        self._handle(terms.AudioDone())

    def _read(self, progress: Progress) -> list[AudioSpan]:
        return self._audio.read(progress.id, progress.position, _READ_SAMPLES)

    async def _send_chunk(self, progress: Progress, chunk: Chunk) -> None:
        if (wait_s := self._bucket.wait_s(self._loop.time())) > 0:
            await asyncio.sleep(wait_s)
        samples = samples_of(chunk)
        self._bucket.take(samples, self._loop.time())
        self._protocol.send_audio(pcm_of(chunk))
        for span in chunk:
            progress.sent(span)
        self._samples_sent += samples
        await self._flush()

    async def _finish_closing(self) -> None:
        me = asyncio.current_task()
        others = {task for task in self._tasks if task is not me}
        if self._broken:
            self._transport.abort()
        await self._transport.close()
        for task in others:
            task.cancel()
        self._owner.link_closed(self)
