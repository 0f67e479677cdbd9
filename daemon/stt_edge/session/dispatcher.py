"""Who speaks to the provider when: places utterances on connections and takes results back.

Everything in here runs on the event loop and returns at once; waiting is done by the connections
(``link.py``) and by whoever carries results to the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

from stt_edge.clock import Clock
from stt_edge.errors import FailureKind, LogError, ProviderError
from stt_edge.model import Part, UtteranceEnd, UtteranceStart, UtteranceState, samples_to_s
from stt_edge.providers import base
from stt_edge.session.link import Link, Usage
from stt_edge.session.ports import AudioLog, Listener, Results
from stt_edge.session.progress import Progress
from stt_edge.session.record import build_record
from stt_edge.session.standing import PROOF_STREAMING_S, Health, Standing

_log = logging.getLogger(__name__)

LIVE_S: Final = 5.0
"""So long after its end an utterance still counts as live; later it is backlog, and delayed."""
STRIKES: Final = 5
"""Typed errors of its own after which an utterance is set aside as poisoned."""
_RETRY_CONGESTED_S: Final = 1.0
_GOODBYE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """What the status document says of sessions."""

    provider: str
    health: str
    message: str
    """The last failure in one line; empty while all is well."""
    retry_in_s: float
    connections: tuple[str, ...]
    unfinished: int
    """Utterances that are not finished, with those that wait."""
    waiting: int
    """Utterances that wait for a connection."""
    waiting_s: float
    """Audio in them, in seconds."""
    late_results: int
    poisoned: int


class Dispatcher:
    """Places utterances on connections of one provider."""

    def __init__(
        self,
        provider: base.Provider,
        audio: AudioLog,
        results: Results,
        listener: Listener,
        clock: Clock,
        *,
        node: str,
        hold_s: float | None = None,
        connect_early: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        """Start with nothing to do; for ``hold_s`` and ``connect_early`` see ``configure``."""
        self._audio = audio
        self._results = results
        self._listener = listener
        self._clock = clock
        self._node = node
        self._rng = rng or random.Random()  # noqa: S311  jitter, not secrecy
        self._loop = asyncio.get_running_loop()
        self._standing = Standing()
        self._known: dict[str, Progress] = {}
        self._waiting: list[Progress] = []
        self._links: list[Link] = []
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._late = 0
        self._poisoned = 0
        self._finished = 0
        self.configure(provider, hold_s=hold_s, connect_early=connect_early)

    # --- what the service tells it ---

    def onset(self) -> None:
        """Prepare for speech that may be confirmed in a moment, where preparing costs nothing."""
        self._standing = self._standing.woken(self._now())
        if self._provider.warm is not None:
            self._provider.warm()
        elif self._early and self._can_open() and not any(link.free for link in self._links):
            self._open(None)

    def opened(self, head: UtteranceStart) -> None:
        """Take an utterance that has begun."""
        self._standing = self._standing.woken(self._now())
        self._enqueue(Progress(head))

    def grew(self, utterance_id: str) -> None:
        """Take that more of an utterance is in the log."""
        if (link := self._link_of(utterance_id)) is not None:
            link.wake()

    def ended(self, utterance_id: str, tail: UtteranceEnd) -> None:
        """Take that an utterance is over."""
        progress = self._known.get(utterance_id)
        if progress is not None:
            progress.tail = tail
            progress.ended_s = self._now()
            if progress.unreadable:
                self._finish(progress)
            else:
                self.grew(utterance_id)

    def recovered(
        self, head: UtteranceStart, tail: UtteranceEnd, parts: list[Part], acked: int
    ) -> None:
        """Take an utterance that an earlier run left unfinished."""
        progress = Progress(head, recovered=True)
        progress.tail, progress.ended_s = tail, self._now() - LIVE_S
        progress.resume(parts, acked)
        if progress.acked >= tail.end:
            self._known[progress.id] = progress
            self._finish(progress)
        else:
            self._enqueue(progress)

    @property
    def busy(self) -> bool:
        """Whether there are utterances that are not finished."""
        return bool(self._known)

    def configure(
        self, provider: base.Provider, *, hold_s: float | None, connect_early: bool
    ) -> None:
        """Use a provider as newly configured, from the next connection on.

        ``hold_s`` None is what the provider says is free.
        """
        capabilities = provider.capabilities
        free_s = capabilities.hold_s if hold_s is None else hold_s
        self._provider = provider
        self._hold_s = free_s if capabilities.finalize else 0.0
        self._early = connect_early and capabilities.billing is not base.Billing.SESSION
        self._standing = Standing()
        for link in list(self._links):
            if link.free:
                link.release()
        self._place()

    async def drain(self, timeout_s: float | None) -> bool:
        """Wait until every utterance that has ended is finished; return whether all are."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Let go of all connections; what is unfinished stays in the log."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        links = list(self._links)
        joined = asyncio.gather(*(link.join() for link in links))
        for link in links:
            link.release()
        await asyncio.wait([joined], timeout=_GOODBYE_S)
        for link in links:
            link.release()  # those that were still saying goodbye
        await joined

    def status(self) -> DispatcherStatus:
        """Return what the status document says of sessions."""
        failure = self._standing.last_failure
        return DispatcherStatus(
            provider=self._provider.name,
            health=self._standing.health.value,
            message="" if failure is None else str(failure),
            retry_in_s=round(self._standing.wait_s(self._now()), 1),
            connections=tuple(link.phase.value for link in self._links),
            unfinished=len(self._known),
            waiting=len(self._waiting),
            waiting_s=round(sum(self._remaining_s(progress) for progress in self._waiting), 1),
            late_results=self._late,
            poisoned=self._poisoned,
        )

    # --- placing ---

    def _enqueue(self, progress: Progress) -> None:
        self._known[progress.id] = progress
        self._idle.clear()
        self._waiting.append(progress)
        self._place()

    def _place(self) -> None:
        """Put waiting utterances on connections, as far as there are any to be had."""
        while self._waiting and not self._stopping:
            if self._results.congested():
                self._place_later(_RETRY_CONGESTED_S)
                return
            if (wait_s := self._standing.wait_s(self._now())) > 0:
                self._place_later(wait_s)
                return
            progress = min(self._waiting, key=self._urgency)
            free = next((link for link in self._links if link.free), None)
            if free is None and not self._can_open():
                self._make_room(progress)
                return
            self._waiting.remove(progress)
            if free is not None:
                free.assign(progress)
            else:
                self._open(progress)

    def _place_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._place)

    def _urgency(self, progress: Progress) -> tuple[bool, int, str]:
        """Live before backlog, untroubled before troubled, old before new (ids sort by time)."""
        return (not self._is_live(progress), progress.strikes, progress.id)

    def _is_live(self, progress: Progress) -> bool:
        return progress.ended_s is None or self._now() - progress.ended_s < LIVE_S

    def _make_room(self, progress: Progress) -> None:
        """Let backlog give way to live speech: it goes on later from where it was acknowledged."""
        if not self._is_live(progress):
            return
        for link in self._links:
            if link.progress is not None and not self._is_live(link.progress):
                link.release()
                return

    def _can_open(self) -> bool:
        limit = self._provider.capabilities.max_connections
        return len(self._links) < limit and self._standing.wait_s(self._now()) <= 0

    def _open(self, progress: Progress | None) -> None:
        link = Link(self._provider, self, self._audio, hold_s=self._hold_s, progress=progress)
        self._links.append(link)
        link.start()

    def _link_of(self, utterance_id: str) -> Link | None:
        for link in self._links:
            if link.progress is not None and link.progress.id == utterance_id:
                return link
        return None

    def _remaining_s(self, progress: Progress) -> float:
        end = progress.tail.end if progress.tail is not None else progress.position
        return samples_to_s(max(0, end - progress.acked))

    def _now(self) -> float:
        return self._loop.time()

    # --- what connections tell it (LinkOwner) ---

    def link_partial(self, progress: Progress, partial: base.Partial) -> None:
        """Show a partial behind what is committed already."""
        progress.note(partial)
        said = [part.text for part in progress.parts] + [partial.text]
        self._listener.partial(progress.id, " ".join(text for text in said if text))

    def link_final(self, progress: Progress, final: base.Final) -> None:
        """Commit a final, if it says something new."""
        self._proved()
        if (part := progress.accept(final)) is not None:
            self._results.commit(part, progress.acked)

    def link_complete(self, progress: Progress) -> None:
        """Finish an utterance whose end the provider has confirmed."""
        self._proved()
        self._finish(progress)

    def link_drain_failed(self, progress: Progress) -> None:
        """Make do with the partial, or send the utterance once more, or make do with nothing."""
        late = ProviderError(FailureKind.TIMEOUT, "no result in time after the end of speech")
        self._fail(late, established=True)
        promote = self._provider.capabilities.on_drain_timeout == "promote"
        part = progress.promote() if promote else None
        if part is not None:
            self._results.commit(part, progress.acked)
            self._finish(progress)
        elif progress.resent:
            progress.truncated = True
            self._finish(progress)
        else:
            progress.resent = True
            self.link_returned(progress)

    def link_returned(self, progress: Progress) -> None:
        """Let an utterance wait for another connection."""
        if progress.unreadable:
            if progress.tail is not None:
                self._finish(progress)
            return
        if progress.strikes >= STRIKES and self._finished > progress.finished_at_strike:
            self._poison(progress)
            return
        progress.reconnects += 1
        self._waiting.append(progress)
        # The caller is in the middle of closing a connection; place when that is done.
        self._place_later(0)

    def link_unreadable(self, progress: Progress, error: LogError) -> None:
        """Finish an utterance whose audio is lost with what there is of it."""
        _log.error("audio of utterance %s cannot be read: %s", progress.id, error)
        progress.unreadable = progress.truncated = True

    def link_failed(
        self, link: Link, failure: ProviderError, progress: Progress | None, *, established: bool
    ) -> None:
        """Count a failure against the provider, or against the utterance it is about."""
        if established and link.streamed_s >= PROOF_STREAMING_S:
            self._proved()
        self._fail(failure, established=established)
        # A local engine that dies of an utterance says nothing; its death says it.
        dies = link.provider.capabilities.local and failure.kind is FailureKind.LOST
        if progress is not None and (failure.kind is FailureKind.UTTERANCE or dies):
            if not progress.strikes:
                progress.finished_at_strike = self._finished
            progress.strikes += 1

    def link_late(self) -> None:
        """Count a result that came after its utterance was finished."""
        self._late += 1

    def link_free(self) -> None:
        """Give the connection the most urgent utterance, if one waits."""
        self._place_later(0)

    def link_closed(self, link: Link, usage: Usage) -> None:
        """Forget the connection and note what it cost."""
        self._links.remove(link)
        self._results.usage(link.provider.name, usage.seconds_sent, usage.connection_s)
        if not self._stopping:
            self._place()

    # --- standing and ends ---

    def _fail(self, failure: ProviderError, *, established: bool) -> None:
        before = self._standing
        self._standing = before.failed(failure, self._now(), self._rng, established=established)
        if self._standing.health is not before.health:
            health = self._standing.health.value
            self._listener.standing(self._provider.name, health, str(failure))

    def _proved(self) -> None:
        if self._standing.health is not Health.UP:
            self._listener.standing(self._provider.name, Health.UP.value, "")
        self._standing = self._standing.proved()

    def _finish(self, progress: Progress) -> None:
        for part in progress.settle():
            self._results.commit(part, progress.acked)
        delayed = progress.recovered or (
            progress.ended_s is not None and progress.begun_s - progress.ended_s > LIVE_S
        )
        record = build_record(progress, self._node, self._clock, delayed=delayed)
        if record is None:
            self._listener.partial(progress.id, "")  # what was shown of it is withdrawn
        state = UtteranceState.DROPPED if progress.unreadable else UtteranceState.DONE
        self._results.finish(progress.id, state, record)
        self._finished += 1
        self._forget(progress)

    def _poison(self, progress: Progress) -> None:
        _log.error(
            "utterance %s is set aside: the provider failed on it %d times",
            progress.id,
            progress.strikes,
        )
        self._poisoned += 1
        self._results.finish(progress.id, UtteranceState.POISONED, None)
        self._forget(progress)

    def _forget(self, progress: Progress) -> None:
        del self._known[progress.id]
        if not self._known:
            self._idle.set()
