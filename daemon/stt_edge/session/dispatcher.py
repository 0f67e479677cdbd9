"""The session as the service sees it: takes utterances in, and what connections say of them back.

Everything in here runs on the event loop and returns at once; waiting is done by the connections
(``link.py``) and by whoever carries results to the store. Which provider an utterance goes to is
for the chain to say (``chain.py``), and when for the placement (``placement.py``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Final

from stt_edge.clock import Clock
from stt_edge.errors import FailureKind, LogError, ProviderError
from stt_edge.model import (
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    UtteranceState,
)
from stt_edge.providers import base
from stt_edge.session.budget import Cost, Ledger, cost_of
from stt_edge.session.chain import Chain, SessionRules
from stt_edge.session.connection_terms import Phase
from stt_edge.session.lane import Lane
from stt_edge.session.link import Link
from stt_edge.session.overview import DispatcherStatus, LaneStatus
from stt_edge.session.placement import LIVE_S, Placement
from stt_edge.session.ports import AudioLog, Listener, Results
from stt_edge.session.progress import Progress
from stt_edge.session.record import build_record
from stt_edge.session.standing import PROOF_STREAMING_S, Health
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)

STRIKES: Final = 5
"""Typed errors of its own after which an utterance is set aside as poisoned."""
READY_WITHIN_S: Final = 5.0
"""Where there is another provider, one that is not ready by then counts as down."""
_TROUBLED_S: Final = (2.0, 300.0)
_GOODBYE_S: Final = 1.0
_UNKNOWN_SEQ: Final = 1 << 60
"""Behind every utterance the store knows; what is said from now on comes behind that."""


class Dispatcher:
    """Places utterances on connections of the providers of a chain."""

    def __init__(
        self,
        providers: Sequence[base.Provider],
        audio: AudioLog,
        results: Results,
        listener: Listener,
        clock: Clock,
        *,
        node: str,
        rules: SessionRules | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Start with nothing to do; there is at least one provider."""
        self._audio = audio
        self._results = results
        self._listener = listener
        self._clock = clock
        self._node = node
        self._rng = rng or random.Random()  # noqa: S311  jitter, not secrecy
        self._loop = asyncio.get_running_loop()
        self._chain = Chain(providers, rules or SessionRules(), clock)
        self._known: dict[str, Progress] = {}
        self._placement = Placement(self._chain, self._open, results, listener)
        self._idle = asyncio.Event()
        self._idle.set()
        self._live_seq = _UNKNOWN_SEQ
        self._late = 0
        self._poisoned = 0
        self._finished: dict[str, int] = {}
        self._charged: dict[Link, Cost] = {}

    # --- what the service tells it ---

    def onset(self) -> None:
        """Prepare for speech that may be confirmed in a moment, where preparing costs nothing."""
        self.hint()
        lane = self._chain.choose(None, self._now())
        if lane is None:
            return
        if lane.provider.warm is not None:
            lane.provider.warm()
        elif lane.early and lane.can_open(self._now()):
            self._placement.have_ready(lane)

    def hint(self) -> None:
        """Take a sign that waiting may be over: speech, or a change of the network."""
        self._wake()
        self._placement.place()

    def mended(self, provider: str) -> None:
        """Take that what blocked a provider may have been mended, such as its key file."""
        for lane in self._chain.lanes:
            if lane.name == provider:
                lane.standing = lane.standing.unblocked(self._now())
        self._placement.place()

    def watched(self) -> Mapping[str, tuple[str, ...]]:
        """Return the files whose change may mend a provider that is blocked."""
        blocked = (lane for lane in self._chain.lanes if lane.standing.health is Health.BLOCKED)
        return {lane.name: lane.provider.watched for lane in blocked}

    def opened(self, head: UtteranceStart) -> None:
        """Take an utterance that has begun."""
        self._wake()
        self._live_seq += 1
        self._enqueue(Progress(head, seq=self._live_seq))

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
        self,
        head: UtteranceStart,
        tail: UtteranceEnd,
        parts: list[Part],
        acked: int,
        *,
        job: tuple[str, str] | None = None,
        supersedes: str | None = None,
        seq: int = _UNKNOWN_SEQ,
    ) -> None:
        """Take an utterance that an earlier run left unfinished; ``seq`` is the store's."""
        progress = Progress(head, recovered=True, seq=seq)
        progress.tail, progress.ended_s = tail, self._now() - LIVE_S
        progress.job, progress.supersedes = job, supersedes
        progress.resume(parts, acked)
        if progress.acked >= tail.end:
            self._known[progress.id] = progress
            self._finish(progress)
        else:
            self._enqueue(progress)

    def drop(self, utterance_id: str, *, interrupt: bool = False) -> bool:
        """Give up an utterance that waits, with a record of what was committed of it.

        Returns whether its audio is not needed any more; it is while somebody speaks, or while a
        provider has it in hand. ``interrupt`` takes it away from a provider, which takes a moment.
        """
        progress = self._known.get(utterance_id)
        if progress is None:
            return True
        if progress.tail is None:
            return False
        if progress in self._placement.waiting:
            self._placement.waiting.remove(progress)
            progress.unreadable = progress.truncated = True
            self._finish(progress)
            return True
        if interrupt and (link := self._link_of(utterance_id)) is not None:
            progress.unreadable = progress.truncated = True
            link.release()
        return False

    @property
    def offline(self) -> bool:
        """Whether what is said cannot be sent anywhere now, as far as is known."""
        if not self._chain.reachable:
            return True
        return any(map(self._is_stalled, self._known.values()))

    @property
    def busy(self) -> bool:
        """Whether there are utterances of which there is no record yet."""
        return any(not progress.redone for progress in self._known.values())

    def configure(self, providers: Sequence[base.Provider], rules: SessionRules) -> None:
        """Use the providers and rules as newly configured, from the next connection on."""
        self._chain.configure(providers, rules)
        for link in self._chain.links:
            if link.free:
                link.release()
        self._placement.place()

    def spent_before(self, ledger: Ledger) -> None:
        """Take what an earlier run spent today."""
        self._chain.load(ledger)

    async def drain(self, timeout_s: float | None) -> bool:
        """Wait until every utterance that has ended has its record; return whether all have."""
        return await is_set_within(self._idle, timeout_s)

    def stuck(self, within_s: float) -> bool:
        """Return whether nothing more will be finished within so many seconds."""
        in_hand = any(link.progress is not None for link in self._chain.links)
        return not in_hand and self._placement.stuck(within_s)

    async def aclose(self) -> None:
        """Let go of all connections; what is unfinished stays in the log."""
        self._placement.stop()
        links = self._chain.links
        joined = asyncio.gather(*(link.join() for link in links))
        for link in links:
            link.release()
        await asyncio.wait([joined], timeout=_GOODBYE_S)
        for link in links:
            link.release()  # those that were still saying goodbye
        await joined

    def status(self) -> DispatcherStatus:
        """Return what the status document says of sessions."""
        lane = self._chain.choose(None, self._now())
        return DispatcherStatus(
            lanes=tuple(map(self._lane_status, self._chain.lanes)),
            in_use=(lane or self._chain.first).name,
            budget_spent=self._chain.spent,
            unfinished=len(self._known),
            waiting=len(self._placement.waiting),
            waiting_s=self._placement.waiting_s,
            late_results=self._late,
            poisoned=self._poisoned,
        )

    def _lane_status(self, lane: Lane) -> LaneStatus:
        failure = lane.standing.last_failure
        return LaneStatus(
            provider=lane.name,
            health=lane.standing.health.value,
            message="" if failure is None else str(failure),
            retry_in_s=round(lane.standing.wait_s(self._now()), 1),
            connections=tuple(link.phase.value for link in lane.links),
            today=self._chain.ledger.of(lane.name),
        )

    def _wake(self) -> None:
        """Cut the waits of providers short, as far as their standing allows."""
        for lane in self._chain.lanes:
            lane.standing = lane.standing.woken(self._now())

    def _enqueue(self, progress: Progress) -> None:
        self._known[progress.id] = progress
        if not progress.redone:
            self._idle.clear()
        self._placement.add(progress)
        self._placement.place()

    def _open(self, lane: Lane, progress: Progress | None) -> None:
        patience_s = READY_WITHIN_S if self._chain.has_alternative(lane) else None
        link = Link(
            lane.provider,
            self,
            self._audio,
            hold_s=lane.hold_s,
            progress=progress,
            connect_timeout_s=patience_s,
        )
        lane.links.append(link)
        link.start()

    def _is_stalled(self, progress: Progress) -> bool:
        """Return whether live speech has found nobody ready to take it for some time."""
        if progress.recovered or not self._placement.is_live(progress):
            return False
        age_ns = self._clock.monotonic_ns() - progress.head.started_mono_ns
        if age_ns < READY_WITHIN_S * 1e9:
            return False
        link = self._link_of(progress.id)
        return link is None or link.phase is Phase.CONNECTING

    def _link_of(self, utterance_id: str) -> Link | None:
        for link in self._chain.links:
            if link.progress is not None and link.progress.id == utterance_id:
                return link
        return None

    def _now(self) -> float:
        return self._loop.time()

    # --- what connections tell it (LinkOwner) ---

    def link_partial(self, progress: Progress, partial: base.Partial) -> None:
        """Show a partial behind what is committed already."""
        progress.note(partial)
        if progress.redone:
            return
        said = [part.text for part in progress.parts] + [partial.text]
        self._listener.partial(progress.id, " ".join(text for text in said if text))

    def link_final(self, link: Link, progress: Progress, final: base.Final) -> None:
        """Commit a final, if it says something new."""
        self._proved(self._chain.lane_of(link))
        if (part := progress.accept(final)) is not None:
            self._results.commit(part, progress.acked)

    def link_complete(self, link: Link, progress: Progress, *, confirmed: bool) -> None:
        """Finish an utterance; where its end may have been a drop, send on what is missing."""
        if not confirmed and progress.resend_rest():
            self.link_returned(link, progress)
            return
        self._proved(self._chain.lane_of(link))
        self._charge(link)
        self._finish(progress)

    def link_drain_failed(self, link: Link, progress: Progress) -> None:
        """Make do with the partial, or send the utterance once more, or make do with nothing."""
        late = ProviderError(FailureKind.TIMEOUT, "no result in time after the end of speech")
        self._fail(self._chain.lane_of(link), late, established=True)
        promote = link.provider.capabilities.on_drain_timeout == "promote"
        promoted = progress.promote() if promote else []
        if promoted:
            for part in promoted:
                self._results.commit(part, progress.acked)
            self._finish(progress)
        elif progress.resent:
            progress.truncated = True
            self._finish(progress)
        else:
            progress.resent = True
            self.link_returned(link, progress)

    def link_returned(self, link: Link, progress: Progress) -> None:
        """Let an utterance wait for another connection."""
        self._chain.lane_of(link).returned(progress.id)
        if progress.unreadable:
            if progress.tail is not None:
                self._finish(progress)
            return
        finished = self._finished.get(link.provider.name, 0)
        if progress.strikes >= STRIKES and finished > progress.finished_at_strike:
            self._poison(progress)
            return
        progress.reconnects += 1
        # The caller is in the middle of closing a connection; placing waits until that is done.
        self._placement.add(progress)

    def link_unreadable(self, progress: Progress, error: LogError) -> None:
        """Finish an utterance whose audio is lost with what there is of it."""
        _log.error("audio of utterance %s cannot be read: %s", progress.id, error)
        progress.unreadable = progress.truncated = True

    def link_failed(
        self, link: Link, failure: ProviderError, progress: Progress | None, *, established: bool
    ) -> None:
        """Count a failure against the provider, or against the utterance it is about."""
        lane = self._chain.lane_of(link)
        if established and link.streamed_s >= PROOF_STREAMING_S:
            self._proved(lane)
        if progress is not None and progress.job_with(lane.name) is not None:
            failure = self._job_failed(progress, failure)
        self._fail(lane, failure, established=established)
        # A local engine that dies of an utterance says nothing; its death says it.
        dies = link.provider.capabilities.local and failure.kind is FailureKind.LOST
        if progress is not None and (failure.kind is FailureKind.UTTERANCE or dies):
            self._strike(lane, progress)

    def link_job(self, progress: Progress, provider: str, token: str) -> None:
        """Store the token of a job, so that the audio need not be sent a second time."""
        progress.job = (provider, token)
        self._results.job(progress.id, progress.job)

    def link_late(self) -> None:
        """Count a result that came after its utterance was finished."""
        self._late += 1

    def link_free(self, link: Link) -> None:
        """Give the connection the most urgent utterance, if one waits; a probe has done its job."""
        lane = self._chain.lane_of(link)
        if link is lane.probe:
            lane.greeted()
            self._loop.call_soon(link.release)
        self._placement.later(0)

    def link_closed(self, link: Link) -> None:
        """Forget the connection and note what it cost."""
        self._chain.forget(link)
        self._charge(link)
        self._charged.pop(link, None)
        self._placement.place()

    def _charge(self, link: Link) -> None:
        """Note what a connection has cost since this was last noted; it may be held for hours."""
        total = cost_of(link.provider, link.usage.seconds_sent, link.usage.connection_s)
        cost = total.minus(self._charged.get(link, Cost()))
        self._charged[link] = total
        self._chain.spend(link.provider.name, cost)
        self._results.usage(link.provider.name, cost)

    # --- standing and ends ---

    def _fail(self, lane: Lane, failure: ProviderError, *, established: bool) -> None:
        before = lane.standing
        lane.failed(failure, self._now(), self._rng, established=established)
        if lane.standing.health is not before.health:
            self._listener.standing(lane.name, lane.standing.health.value, str(failure))

    def _proved(self, lane: Lane) -> None:
        if lane.standing.health is not Health.UP:
            self._listener.standing(lane.name, Health.UP.value, "")
        lane.proved()

    def _strike(self, lane: Lane, progress: Progress) -> None:
        """Count a failure an utterance is to blame for; the next attempt comes later each time."""
        if not progress.strikes:
            progress.finished_at_strike = self._finished.get(lane.name, 0)
        progress.strikes += 1
        first_s, cap_s = _TROUBLED_S
        if progress.strikes > 1:
            progress.due_s = self._now() + min(cap_s, first_s ** (progress.strikes - 1))

    def _job_failed(self, progress: Progress, failure: ProviderError) -> ProviderError:
        """Give up a job the provider does not know any more, or has failed at: send the audio."""
        if failure.kind not in (FailureKind.REQUEST, FailureKind.UTTERANCE):
            return failure
        progress.job = None
        self._results.job(progress.id, None)
        if failure.kind is FailureKind.UTTERANCE:
            return failure
        return ProviderError(FailureKind.SERVER, failure.message, code=failure.code)

    def _finish(self, progress: Progress) -> None:
        for part in progress.settle():
            self._results.commit(part, progress.acked)
        delayed = progress.recovered or (
            progress.ended_s is not None and progress.begun_s - progress.ended_s > LIVE_S
        )
        record = build_record(progress, self._node, self._clock, delayed=delayed)
        if record is None:
            self._listener.partial(progress.id, "")  # what was shown of it is withdrawn
        name = progress.provider_name or ""
        self._finished[name] = self._finished.get(name, 0) + 1
        if self._chain.by_fallback(progress) and not progress.unreadable:
            self._do_again(progress, record)
            return
        state = UtteranceState.DROPPED if progress.unreadable else UtteranceState.DONE
        self._results.finish(progress.id, state, record)
        self._forget(progress)

    def _do_again(self, progress: Progress, record: Record | None) -> None:
        """Keep an utterance for the first provider, now that a fallback has made a record of it."""
        self._results.provisional(progress.id, record)
        progress.redo("" if record is None else record.id)
        self._placement.add(progress)
        self._notice_idle()

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
        self._notice_idle()

    def _notice_idle(self) -> None:
        if not self.busy:
            self._idle.set()
