"""What goes to the cold directory and when, and what is given up when there is no room for it.

Decides and does nothing: ``service/spool_thread.py`` asks once a second while there is something to
decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.model import NS_PER_SAMPLE
from stt_edge.utterance.contents import Holding

UNFINISHED_S: Final = 5.0
"""An utterance that ended so long ago and has no record yet goes cold."""
UNACKNOWLEDGED_S: Final = 20.0
"""So does one with audio that has been unacknowledged for so long."""
_NS_PER_S: Final = 1_000_000_000


@frozen
class SpoolRules:
    """What the configuration says of audio that waits."""

    max_bytes: int = 512 << 20
    max_age_s: float = 168 * 3600.0
    keep_free_bytes: int = 200 << 20
    """Room on the medium that is left to others."""
    always: bool = False
    """Everything goes cold at once."""
    hot_bytes: int = 16 << 20
    """What the hot directory may take: 8.7 minutes."""


@frozen
class Excess:
    """What is too much."""

    expired: tuple[str, ...] = ()
    """Utterances that are too old."""
    bytes: int = 0
    """Room to be made by giving up the oldest ones."""

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.expired or self.bytes)


class Ages:
    """Remembers when it was first seen that utterances had ended; times are CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._ended_ns: dict[str, int] = {}
        self._seen_ns: dict[str, int] = {}

    def note(self, holdings: Iterable[Holding], now_ns: int) -> None:
        """Take what there is now."""
        there = {holding.id: holding for holding in holdings}
        for ages in (self._ended_ns, self._seen_ns):
            for gone in ages.keys() - there.keys():
                del ages[gone]
        for id_, holding in there.items():
            self._seen_ns.setdefault(id_, now_ns)
            if holding.ended:
                self._ended_ns.setdefault(id_, now_ns)

    def since_end_s(self, holding: Holding, now_ns: int) -> float:
        """Return how long ago an utterance ended; 0 while it is open."""
        return (now_ns - self._ended_ns.get(holding.id, now_ns)) / _NS_PER_S

    def unacknowledged_s(self, holding: Holding, now_ns: int) -> float:
        """Return how long the oldest audio not yet acknowledged has been there."""
        if holding.acked >= holding.end_so_far:
            return 0.0
        if holding.recovered:  # its times may be of another boot
            since_ns = self._seen_ns.get(holding.id, now_ns)
        else:
            heard = max(0, holding.acked - holding.start.start)
            since_ns = holding.start.started_mono_ns + heard * NS_PER_SAMPLE
        return (now_ns - since_ns) / _NS_PER_S


def to_go_cold(
    holdings: Sequence[Holding], ages: Ages, now_ns: int, rules: SpoolRules, *, at_once: bool
) -> list[str]:
    """Return the utterances to be copied to the cold directory from now on.

    ``at_once`` is for a provider that is known to be down, and for a program about to end.
    """
    cramped = sum(holding.hot_bytes for holding in holdings) > rules.hot_bytes
    return [
        holding.id
        for holding in holdings
        if not holding.cold
        and (
            at_once
            or cramped
            or rules.always
            or ages.since_end_s(holding, now_ns) >= UNFINISHED_S
            or ages.unacknowledged_s(holding, now_ns) >= UNACKNOWLEDGED_S
        )
    ]


def excess_of(
    holdings: Sequence[Holding], rules: SpoolRules, now: datetime | None, *, stuck: bool
) -> Excess:
    """Return what is too much.

    ``now`` is None where the clock is not known to be right: then nothing is too old. ``stuck``
    says that nothing can be copied: the hot directory must do with what it may take.
    """
    expired: list[str] = []
    if now is not None:
        expired = [
            holding.id
            for holding in holdings
            if holding.ended
            and not holding.start.clock_unsynced
            and (now - holding.start.started_at).total_seconds() > rules.max_age_s
        ]
    over = sum(holding.cold_bytes for holding in holdings) - rules.max_bytes
    if stuck:
        over = max(over, sum(holding.hot_bytes for holding in holdings) - rules.hot_bytes)
    return Excess(tuple(expired), max(0, over))


def oldest_first(holdings: Iterable[Holding]) -> list[Holding]:
    """Return what may be given up: audio that is kept for no need first, then the oldest."""
    ended = [holding for holding in holdings if holding.ended]
    return sorted(ended, key=lambda holding: not holding.done)
