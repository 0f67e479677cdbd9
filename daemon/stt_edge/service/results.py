"""Carrying results to the store: in order, each surely, and never holding up the loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from stt_edge.clock import Clock
from stt_edge.errors import LogError, StoreConflictError, StoreError
from stt_edge.frozen import frozen
from stt_edge.model import Part, Record, UtteranceEnd, UtteranceStart, UtteranceState
from stt_edge.service.counters import Counters
from stt_edge.session.budget import Cost
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)

CONGESTED: Final = 10
"""So many results waiting for the store keep new sessions from opening."""
RETRY_FIRST_S: Final = 1.0
_RETRY_CAP_S: Final = 30.0


@frozen
class _Operation:
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    utterance_id: str
    """What it is about; empty where it is about none."""
    result: bool
    """It carries something recognised, which is what waiting for the store is counted in."""
    done: Callable[[Any], None] | None = None
    """Gets what the call returned."""


class ResultWriter:
    """One queue of operations on the store, carried out in order and retried until they succeed.

    The audio of an utterance is deleted only after its end has been committed.
    """

    def __init__(
        self,
        store: StoreThread,
        audio: UtteranceLog,
        clock: Clock,
        *,
        on_record: Callable[[], None],
    ) -> None:
        """Prepare; ``run`` does the work. ``on_record`` is called after each committed record."""
        self._store = store
        self._audio = audio
        self._clock = clock
        self._on_record = on_record
        self._queue: deque[_Operation] = deque()
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._forgotten: set[str] = set()
        self.counters = Counters()
        """What has come of it so far."""
        self.last_seq = 0
        """The ``seq`` of the newest record."""
        self.last_record_ns: int | None = None
        """CLOCK_MONOTONIC when it was committed, if this run has committed one."""
        self.trouble = ""
        """Why the store does not take results, in one line; empty while it does."""

    @property
    def pending(self) -> int:
        """How many results wait for the store."""
        return sum(operation.result for operation in self._queue)

    def opened(self, head: UtteranceStart) -> None:
        """Store that an utterance exists."""
        self._put(Store.add_utterance, head, about=head.id)

    def ended(self, utterance_id: str, tail: UtteranceEnd) -> None:
        """Store that an utterance has ended."""
        self._put(Store.end_utterance, utterance_id, tail, about=utterance_id)

    def commit(self, part: Part, acked: int) -> None:
        """Store a part together with the utterance's acknowledged position."""
        acknowledged = partial(self._audio.acknowledged, part.utterance_id)
        self._put(
            Store.commit_part,
            part,
            acked,
            about=part.utterance_id,
            result=True,
            done=acknowledged,
        )

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> None:
        """Store the record and the final state; then the audio is deleted and sinks are told."""

        def done(seq: int | None) -> None:
            if state is UtteranceState.DONE:
                self._delete_audio(utterance_id)
            self._note_record(seq, record)

        self._put(
            Store.finish,
            utterance_id,
            state,
            record,
            about=utterance_id,
            result=record is not None,
            done=done,
        )

    def provisional(self, utterance_id: str, record: Record | None) -> None:
        """Store a fallback's record; the utterance begins anew and keeps its audio."""
        self._put(
            Store.begin_anew,
            utterance_id,
            record,
            about=utterance_id,
            result=record is not None,
            done=partial(self._note_record, record=record),
        )

    def job(self, utterance_id: str, job: tuple[str, str] | None) -> None:
        """Store which provider has made a job of the utterance, and its token; None for none."""
        self._put(Store.set_job, utterance_id, job, about=utterance_id)

    def usage(self, provider: str, cost: Cost) -> None:
        """Add to the provider's meter of today."""
        add = partial(
            Store.add_usage,
            seconds_sent=cost.seconds_sent,
            connection_seconds=cost.connection_s,
            cost=cost.money,
            billed_seconds=cost.billed_s,
        )
        self._put(add, provider, self._clock.now().astimezone().date())

    def forget(self, utterance_ids: Iterable[str]) -> None:
        """Store nothing more of utterances that are being deleted, whatever is still to come."""
        self._forgotten.update(utterance_ids)

    def congested(self) -> bool:
        """Return whether so many results wait that no new session should open."""
        return self.pending >= CONGESTED

    async def run(self) -> None:
        """Carry out operations for ever."""
        while True:
            while not self._queue:
                self._empty.set()
                self._changed.clear()
                await self._changed.wait()
            if self._queue[0].utterance_id not in self._forgotten:
                await self._carry_out(self._queue[0])
            self._queue.popleft()

    async def drain(self, timeout_s: float | None) -> bool:
        """Wait until nothing is left to store; return whether that was reached."""
        return await is_set_within(self._empty, timeout_s)

    def _note_record(self, seq: int | None, record: Record | None) -> None:
        if seq is not None and record is not None:
            self.counters.committed(record)
            self.last_seq, self.last_record_ns = seq, self._clock.monotonic_ns()
            self._on_record()

    def _put(
        self,
        call: Callable[..., Any],
        *arguments: Any,
        about: str = "",
        result: bool = False,
        done: Callable[[Any], None] | None = None,
    ) -> None:
        self._queue.append(_Operation(call, arguments, about, result, done))
        self._empty.clear()
        self._changed.set()

    async def _carry_out(self, operation: _Operation) -> None:
        failures = 0
        while True:
            try:
                returned = await self._store.call(operation.call, *operation.arguments)
            except StoreConflictError as error:
                _log.error("a result the store cannot take is dropped: %s", error)
                return
            except StoreError as error:
                if not self.trouble:
                    _log.warning("results wait in memory: %s", error)
                self.trouble = str(error)
                await asyncio.sleep(min(_RETRY_CAP_S, RETRY_FIRST_S * 2**failures))
                failures += 1
                continue
            if self.trouble:
                _log.info("the store takes results again")
                self.trouble = ""
            if operation.done is not None:
                operation.done(returned)
            return

    def _delete_audio(self, utterance_id: str) -> None:
        try:
            self._audio.done(utterance_id)
        except LogError as error:
            _log.warning("audio of a finished utterance stays behind: %s", error)
