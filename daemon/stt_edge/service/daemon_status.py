"""The daemon's status document, gathered from its parts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from stt_edge.clock import Clock
from stt_edge.model import UtteranceStart
from stt_edge.service.ear_keeper import EarKeeper
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.sink_set import SinkSet
from stt_edge.service.spool import Spool
from stt_edge.service.status import (
    BacklogStatus,
    CountersStatus,
    ProviderStatus,
    SinkStatus,
    SpeechStatus,
    SpoolStatus,
    StatusDocument,
    StatusSources,
    StoreStatus,
    assemble,
)
from stt_edge.service.upkeep import Upkeep
from stt_edge.session.overview import LaneStatus

_NS_PER_S = 1_000_000_000


class DaemonStatus:
    """Knows whom to ask for what; parts that are not there yet have nothing to say."""

    def __init__(self, identity: StatusDocument, clock: Clock) -> None:
        """Start counting the uptime."""
        self.identity = identity
        self.keeper: EarKeeper | None = None
        self.pipeline: Pipeline | None = None
        self.sinks: SinkSet | None = None
        self.spool: Spool | None = None
        self.upkeep: Upkeep | None = None
        self.speaking: UtteranceStart | None = None
        """The utterance that is open, if any."""
        self.rejected = ""
        """Why the configuration file is not in use; empty while it is."""
        self._clock = clock
        self._started_s = time.monotonic()

    def document(self) -> StatusDocument:
        """Return the document of this moment."""
        keeper = self.keeper
        assert keeper is not None
        sources = StatusSources(
            ear=keeper.status,
            muted=lambda: keeper.muted,
            speech=self._speech,
            provider=self._provider,
            providers=self._providers,
            backlog=self._backlog,
            budget_spent=self._budget_spent,
            spool=SpoolStatus if self.spool is None else self.spool.status,
            store=self._store,
            counters=self._counters,
            sinks=self._sinks,
            problems=self._problems,
        )
        uptime_s = round(time.monotonic() - self._started_s, 3)
        return assemble(self.identity, sources, uptime_s)

    def _speech(self) -> SpeechStatus:
        if self.speaking is None:
            return SpeechStatus()
        age_ns = self._clock.monotonic_ns() - self.speaking.started_mono_ns
        return SpeechStatus(open=True, seconds=round(age_ns / _NS_PER_S, 1))

    def _provider(self) -> ProviderStatus:
        if self.pipeline is None:
            return ProviderStatus()
        in_use = self.pipeline.dispatcher.status().in_use
        return next(one for one in self._providers() if one.name == in_use)

    def _providers(self) -> tuple[ProviderStatus, ...]:
        if self.pipeline is None:
            return ()
        return tuple(map(_provider_status, self.pipeline.dispatcher.status().lanes))

    def _backlog(self) -> BacklogStatus:
        if self.pipeline is None:
            return BacklogStatus()
        status = self.pipeline.dispatcher.status()
        return BacklogStatus(utterances=status.waiting, seconds=status.waiting_s)

    def _budget_spent(self) -> bool:
        return self.pipeline is not None and self.pipeline.dispatcher.status().budget_spent

    def _store(self) -> StoreStatus:
        if self.pipeline is None:
            return StoreStatus()
        results = self.pipeline.results
        last_ns = results.last_record_ns
        age_ns = None if last_ns is None else self._clock.monotonic_ns() - last_ns
        return StoreStatus(
            records=results.last_seq,
            last_record_age_s=None if age_ns is None else round(age_ns / _NS_PER_S, 1),
            pending=results.pending if results.trouble else 0,
            used_bytes=self.upkeep.retention.used_bytes if self.upkeep else 0,
            max_bytes=self.upkeep.retention.max_bytes if self.upkeep else 0,
            trouble=self.upkeep.retention.trouble if self.upkeep else "",
        )

    def _counters(self) -> CountersStatus:
        return self.pipeline.results.counters.status() if self.pipeline else CountersStatus()

    def _sinks(self) -> Mapping[str, SinkStatus]:
        if self.sinks is None or self.pipeline is None:
            return {}
        return self.sinks.status(self.pipeline.results.last_seq)

    def _problems(self) -> list[str]:
        found = [self.rejected] if self.rejected else []
        if self.upkeep is not None and self.upkeep.metrics.trouble:
            found.append(self.upkeep.metrics.trouble)
        if self.pipeline is not None:
            if self._budget_spent():
                found.append("The budget of the day is spent: only what costs nothing is used.")
            found += [
                text for text in (self.pipeline.log_trouble, self.pipeline.results.trouble) if text
            ]
        return found


def _provider_status(lane: LaneStatus) -> ProviderStatus:
    today = lane.today
    return ProviderStatus(
        name=lane.provider,
        state=lane.health,
        message=lane.message,
        retry_in_s=lane.retry_in_s,
        connections=lane.connections,
        sent_s=round(today.seconds_sent, 1),
        connected_s=round(today.connection_s, 1),
        billed_s=round(today.billed_s, 1),
        cost=round(today.money, 4),
    )
