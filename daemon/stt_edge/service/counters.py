"""What has happened since the start of the daemon, counted; for ``status`` and the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Any, Final

from stt_edge.errors import ProviderError
from stt_edge.model import Record, UtteranceEnd, samples_to_s
from stt_edge.service.status import CountersStatus, LatencyStatus
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.link import Link
from stt_edge.session.progress import Progress

LATENCIES_S: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Upper bounds of the histogram of latencies, in seconds."""


class Counters:
    """Counts from 0 and only upwards."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._speech_samples = 0
        self._finals: Counter[str] = Counter()
        self._reconnects: Counter[str] = Counter()
        self._latencies = [0] * (len(LATENCIES_S) + 1)
        self._latency_ms = 0

    def ended(self, tail: UtteranceEnd) -> None:
        """Count the speech in an utterance that has ended."""
        self._speech_samples += tail.speech_samples

    def committed(self, record: Record) -> None:
        """Count a record that was stored."""
        self._finals[record.provider] += 1
        if record.latency_ms is not None and not record.delayed:
            self._latencies[bisect_left(LATENCIES_S, record.latency_ms / 1000)] += 1
            self._latency_ms += record.latency_ms

    def reconnected(self, reason: str) -> None:
        """Count that an utterance has to go on with another connection."""
        self._reconnects[reason] += 1

    def status(self) -> CountersStatus:
        """Return what was counted."""
        within = accumulate(self._latencies)
        return CountersStatus(
            speech_s=round(samples_to_s(self._speech_samples), 3),
            finals=dict(self._finals),
            reconnects=dict(self._reconnects),
            latency=LatencyStatus(
                count=sum(self._latencies),
                sum_s=self._latency_ms / 1000,
                within_s={f"{bound:g}": next(within) for bound in LATENCIES_S},
            ),
        )


class CountedDispatcher(Dispatcher):
    """A dispatcher that counts why utterances had to go on with another connection."""

    def __init__(self, counters: Counters, *arguments: Any, **options: Any) -> None:
        """Count in ``counters``; the rest is the dispatcher's."""
        super().__init__(*arguments, **options)
        self._counters = counters

    def link_failed(
        self, link: Link, failure: ProviderError, progress: Progress | None, *, established: bool
    ) -> None:
        """Count a failure with an utterance in hand by its kind."""
        if progress is not None:
            self._counters.reconnected(failure.kind.value)
        super().link_failed(link, failure, progress, established=established)

    def link_drain_failed(self, link: Link, progress: Progress) -> None:
        """Count an utterance that is sent once more because no result came."""
        before = progress.reconnects
        super().link_drain_failed(link, progress)
        if progress.reconnects > before:
            self._counters.reconnected("no-result")

    def link_complete(self, link: Link, progress: Progress, *, confirmed: bool) -> None:
        """Count an utterance whose end may have been a drop and is sent again."""
        before = progress.reconnects
        super().link_complete(link, progress, confirmed=confirmed)
        if progress.reconnects > before:
            self._counters.reconnected("unconfirmed")
