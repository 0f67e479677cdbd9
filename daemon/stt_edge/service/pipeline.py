"""From the events of an ear to committed records: log, session and store, joined.

The daemon and ``transcribe`` run the same pipeline; what is around it differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from stt_edge.clock import Clock, rfc3339
from stt_edge.ear import wire
from stt_edge.message_ids import MessageId
from stt_edge.model import EndReason, Part, UtteranceEnd, UtteranceState, samples_to_s
from stt_edge.providers.base import Provider
from stt_edge.service.counters import CountedDispatcher
from stt_edge.service.intake import (
    IntakeEvent,
    LogFailed,
    LogRecovered,
    UtteranceEnded,
    UtteranceGrew,
    UtteranceOpened,
)
from stt_edge.service.results import ResultWriter
from stt_edge.session.budget import Cost, Ledger
from stt_edge.session.chain import SessionRules
from stt_edge.session.ports import Listener
from stt_edge.store.codec import UtteranceRow
from stt_edge.store.store import FINISHED, Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.contents import LogInfo
from stt_edge.utterance.log import UtteranceLog

_log = logging.getLogger(__name__)

_LOOK_S: Final = 0.2
_STORE_S: Final = 2.0
"""At least this long the store may take to write what is in hand at the end."""


class Pipeline:
    """The log, the store, and the dispatcher between them."""

    def __init__(
        self,
        log: UtteranceLog,
        store: StoreThread,
        providers: Sequence[Provider],
        listener: Listener,
        clock: Clock,
        *,
        node: str,
        rules: SessionRules,
        on_record: Callable[[], None],
    ) -> None:
        """Join what is open already; ``recover`` takes up what an earlier run left."""
        self.log = log
        self.store = store
        self.results = ResultWriter(store, log, clock, on_record=on_record)
        self.dispatcher = CountedDispatcher(
            self.results.counters,
            providers,
            log,
            self.results,
            listener,
            clock,
            node=node,
            rules=rules,
        )
        self._clock = clock
        self.log_trouble = ""
        """Why the log cannot be written, in one line; empty while it can."""

    async def recover(self, found: list[LogInfo]) -> int:
        """Take up what an earlier run left unfinished; returns how many utterances that is.

        ``found`` is what the log's own ``recover`` returned. What is in its cold directory only is
        read by another thread: there may be hours of it, and the oldest of all is to be first.
        """
        cold = await asyncio.to_thread(self.log.recover_cold)
        self.log.arrange(await self.store.call(Store.sequence))
        for warning in self.log.take_warnings():
            _log.warning("utterance log: %s: %s", warning.path, warning.message)
        there = {info.id: info for info in (*found, *cold)}
        left = sum([await self._take_up(there[id_]) for id_ in self.log.ids() if id_ in there])
        known = {*there, *self.log.ids()}
        for row in await self.store.call(Store.unfinished):
            if row.id not in known:
                await self._recover_without_audio(row)
        for where in await self.store.call(Store.take_unreadable):
            _log.error("a row of the store makes no sense and is passed over: %s", where)
        if left:
            _log.info("%d utterances of an earlier run are transcribed now", left)
        return left

    async def load_ledger(self) -> None:
        """Let what was spent earlier today count."""
        today = self._clock.now().astimezone().date()
        ledger = Ledger(today)
        for used in await self.store.call(Store.usage, today):
            cost = Cost(used.seconds_sent, used.connection_seconds, used.billed_seconds, used.cost)
            ledger = ledger.with_cost(used.provider, cost)
        self.dispatcher.spent_before(ledger)

    async def replay(self, utterance_id: str) -> bool:
        """Transcribe again what was set aside, or is kept; returns whether that is possible."""
        if utterance_id not in self.log.ids():
            return False
        info = self.log.info(utterance_id)
        row = await self.store.call(Store.reopen, utterance_id)
        if row is None or info.tail is None:
            return False
        self.log.reopen(utterance_id, row.acked_sample)
        parts = await self.store.call(Store.parts, utterance_id)
        self._hand_over(info, row, parts)
        return True

    def take(self, event: IntakeEvent) -> None:
        """Take an event of the ear, on the loop."""
        match event:
            case UtteranceOpened():
                self.results.opened(event.head)
                self.dispatcher.opened(event.head)
            case UtteranceGrew():
                self.dispatcher.grew(event.id)
            case UtteranceEnded():
                self.results.counters.ended(event.tail)
                self.results.ended(event.id, event.tail)
                self.dispatcher.ended(event.id, event.tail)
            case wire.Onset():
                self.dispatcher.onset()
            case LogFailed():
                self.log_trouble = event.message
                _log.error(
                    "speech cannot be kept: %s",
                    event.message,
                    extra={"message_id": MessageId.SPEECH_LOST},
                )
            case LogRecovered():
                self.log_trouble = ""
                lost_s = samples_to_s(event.lost_samples)
                _log.warning("speech can be kept again; %.1f s are lost", lost_s)
            case _:
                pass

    async def close(self, drain_s: float, hurry: asyncio.Event) -> bool:
        """Finish what can be finished in time, then close; returns whether all was finished.

        What is unfinished stays in the log. ``hurry`` cuts the wait short.
        """
        impatient = asyncio.create_task(hurry.wait())
        draining = asyncio.create_task(self._drain(drain_s))
        await asyncio.wait((draining, impatient), return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        draining.cancel()
        finished = not self.dispatcher.busy
        await self.dispatcher.aclose()
        return await self.results.drain(_STORE_S) and finished

    async def _drain(self, drain_s: float) -> None:
        """Wait for what can be finished; a provider that is away for longer is not waited for."""
        end_s = asyncio.get_running_loop().time() + drain_s
        while not await self.dispatcher.drain(_LOOK_S):
            left_s = end_s - asyncio.get_running_loop().time()
            if left_s <= 0 or self.dispatcher.stuck(left_s):
                return

    async def _take_up(self, info: LogInfo) -> bool:
        """Take up an utterance whose audio is there; returns whether it is to be transcribed."""
        head, tail = info.start, info.tail
        assert tail is not None, "recover() ends every utterance"
        row = await self.store.call(Store.utterance, head.id)
        if row is not None and row.state in FINISHED:
            if row.state is not UtteranceState.POISONED:
                self.log.done(head.id)
            return False
        self.results.opened(head)
        self.results.ended(head.id, tail)
        parts = [] if row is None else await self.store.call(Store.parts, head.id)
        self._hand_over(info, row, parts)
        return True

    def _hand_over(self, info: LogInfo, row: UtteranceRow | None, parts: list[Part]) -> None:
        """Give the dispatcher an utterance that has ended."""
        head, tail = info.start, info.tail
        assert tail is not None
        if row is None:
            self.dispatcher.recovered(head, tail, parts, head.start)
            return
        self.log.acknowledged(head.id, row.acked_sample)
        self.dispatcher.recovered(
            head,
            tail,
            parts,
            row.acked_sample,
            job=row.job,
            supersedes=row.supersedes,
            seq=row.seq,
        )

    async def _recover_without_audio(self, row: UtteranceRow) -> None:
        """Finish an utterance whose audio is gone (a reboot emptied the tmpfs) with its parts."""
        parts = await self.store.call(Store.parts, row.id)
        if not parts:
            lost_s = samples_to_s(row.end.end - row.start.start) if row.end else 0.0
            _log.warning(
                "the audio of utterance %s of %s is gone (%.1f s); nothing of it was transcribed",
                row.id,
                rfc3339(row.start.started_at),
                lost_s,
                extra={"message_id": MessageId.SPEECH_LOST},
            )
            self.results.finish(row.id, UtteranceState.DROPPED, None)
            return
        acked, start = row.acked_sample, row.start.start
        tail = row.end or UtteranceEnd(acked, EndReason.CRASH, acked, acked - start)
        if acked < tail.end:
            tail = replace(tail, reason=EndReason.CRASH)
        self.results.ended(row.id, tail)
        self.dispatcher.recovered(row.start, tail, parts, tail.end)
