"""The providers in their order: which one an utterance goes to, and what a day may cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import date, datetime, time, timedelta

from stt_edge.clock import Clock
from stt_edge.frozen import frozen
from stt_edge.providers.base import Billing, Provider
from stt_edge.session.budget import Budget, Cost, Ledger
from stt_edge.session.lane import Lane
from stt_edge.session.link import Link
from stt_edge.session.progress import Progress


@frozen
class SessionRules:
    """What the configuration says of sessions."""

    hold_s: float | None = None
    """None is what each provider says is free."""
    connect_early: bool = True
    keep_for_first: bool = False
    """What a fallback has done is done again by the first provider when that is back."""
    budget: Budget = field(default_factory=Budget)
    longest_s: float = 60.0
    """How long an utterance can become."""
    live: bool = True
    """Somebody may begin to speak: backlog leaves a connection free for that."""


class Chain:
    """An ordered list of providers with what is known of each."""

    def __init__(self, providers: Sequence[Provider], rules: SessionRules, clock: Clock) -> None:
        """Begin with a good opinion of all; there is at least one."""
        self._clock = clock
        self.lanes: list[Lane] = []
        self._replaced: list[Lane] = []
        self._ledger = Ledger(self._today())
        self.configure(providers, rules)

    def configure(self, providers: Sequence[Provider], rules: SessionRules) -> None:
        """Use other providers from now on; connections of the old ones end by themselves."""
        self._replaced += self.lanes
        self.rules = rules
        self.lanes = [
            Lane(provider, hold_s=rules.hold_s, connect_early=rules.connect_early)
            for provider in providers
        ]

    @property
    def first(self) -> Lane:
        """The provider that is preferred."""
        return self.lanes[0]

    @property
    def links(self) -> list[Link]:
        """All connections, those of replaced providers too."""
        return [link for lane in (*self.lanes, *self._replaced) for link in lane.links]

    def lane_of(self, link: Link) -> Lane:
        """Return the lane a connection belongs to."""
        return next(lane for lane in (*self.lanes, *self._replaced) if link in lane.links)

    def forget(self, link: Link) -> None:
        """Take that a connection is gone."""
        lane = self.lane_of(link)
        lane.links.remove(link)
        if lane.probe is link:
            lane.probe = None
        self._replaced = [old for old in self._replaced if old.links]

    def choose(self, progress: Progress | None, now_s: float) -> Lane | None:
        """Return where an utterance is to go, or one that may follow; None while there is nowhere.

        The first in order that is not down; where all are, the first whose wait is over.
        """
        if progress is not None and progress.redone:
            wanted = self.first.usable() and self.affordable(self.first)
            return self.first if wanted else None
        lanes = [lane for lane in self.lanes if self.affordable(lane)]
        for lane in lanes:
            if lane.usable():
                return lane
        return next((lane for lane in lanes if lane.standing.wait_s(now_s) <= 0), None)

    @property
    def reachable(self) -> bool:
        """Whether there is a provider that is not known to be down, and may be used today."""
        return any(lane.usable() and self.affordable(lane) for lane in self.lanes)

    def to_probe(self, now_s: float) -> Iterator[Lane]:
        """Yield the providers that are down and to be asked whether they are back."""
        able = [lane for lane in self.lanes if lane.usable() and self.affordable(lane)]
        if able:
            yield from (lane for lane in self.lanes if lane.wants_probe(now_s))

    def has_alternative(self, lane: Lane) -> bool:
        """Return whether another provider could take what this one does not."""
        return any(other.usable() for other in self.lanes if other is not lane)

    def by_fallback(self, progress: Progress) -> bool:
        """Return whether a fallback has done some of an utterance that the first is to do again."""
        if not self.rules.keep_for_first or progress.redone or len(self.lanes) < 2:
            return False
        return progress.provider_name not in (None, self.first.name)

    # --- money ---

    def load(self, ledger: Ledger) -> None:
        """Take what an earlier run spent today."""
        self._ledger = ledger

    def spend(self, provider: str, cost: Cost) -> None:
        """Note what a connection cost."""
        self._ledger = self.ledger.with_cost(provider, cost)

    @property
    def ledger(self) -> Ledger:
        """What this local day has cost."""
        if self._ledger.day != self._today():
            self._ledger = Ledger(self._today())
        return self._ledger

    @property
    def spent(self) -> bool:
        """Whether the budget of the day is used up."""
        return self.ledger.spent(self.rules.budget)

    def affordable(self, lane: Lane) -> bool:
        """Return whether a provider may be used today."""
        return lane.provider.capabilities.billing is Billing.NOTHING or not self.spent

    def until_tomorrow_s(self) -> float:
        """Return how long the local day will last, by the wall clock."""
        now = self._clock.now().astimezone()
        midnight = datetime.combine(now.date() + timedelta(days=1), time.min).astimezone()
        return max(1.0, (midnight - now).total_seconds())

    def _today(self) -> date:
        return self._clock.now().astimezone().date()
