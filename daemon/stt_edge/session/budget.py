"""What a day may cost, and what it has cost so far. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from stt_edge.frozen import frozen
from stt_edge.providers.base import Billing, Provider

_SECONDS_PER_HOUR = 3600


@frozen
class Cost:
    """What one connection cost, or a day."""

    seconds_sent: float = 0.0
    """Audio sent."""
    connection_s: float = 0.0
    """Time the connection was open."""
    billed_s: float = 0.0
    """What the provider charges for, in seconds, as far as its rule is known."""
    money: float = 0.0
    """An estimate: billed time by the price in the configuration."""

    def plus(self, other: Cost) -> Cost:
        """Return the sum."""
        return Cost(
            self.seconds_sent + other.seconds_sent,
            self.connection_s + other.connection_s,
            self.billed_s + other.billed_s,
            self.money + other.money,
        )

    def minus(self, other: Cost) -> Cost:
        """Return the difference."""
        return Cost(
            self.seconds_sent - other.seconds_sent,
            self.connection_s - other.connection_s,
            self.billed_s - other.billed_s,
            self.money - other.money,
        )


def cost_of(provider: Provider, seconds_sent: float, connection_s: float) -> Cost:
    """Return what a connection cost by the provider's billing rule."""
    rule = provider.capabilities
    base_s = {Billing.AUDIO: seconds_sent, Billing.SESSION: connection_s}.get(rule.billing, 0.0)
    billed_s = max(base_s, rule.minimum_billed_s) if base_s else 0.0
    money = billed_s / _SECONDS_PER_HOUR * (provider.price_per_hour or 0.0)
    return Cost(seconds_sent, connection_s, billed_s, money)


@frozen
class Budget:
    """Limits of a local day, over all providers that charge for something; None is 'no limit'."""

    seconds_per_day: float | None = None
    money_per_day: float | None = None


@frozen
class Ledger:
    """What a day has cost, provider by provider."""

    day: date
    costs: tuple[tuple[str, Cost], ...] = ()

    def with_cost(self, provider: str, cost: Cost) -> Ledger:
        """Return the ledger with the cost of another connection."""
        known = dict(self.costs)
        known[provider] = known.get(provider, Cost()).plus(cost)
        return replace(self, costs=tuple(sorted(known.items())))

    def of(self, provider: str) -> Cost:
        """Return what a provider has cost."""
        return dict(self.costs).get(provider, Cost())

    def spent(self, budget: Budget) -> bool:
        """Return whether a limit has been reached."""
        billed_s = sum(cost.billed_s for _, cost in self.costs)
        money = sum(cost.money for _, cost in self.costs)
        return (budget.seconds_per_day is not None and billed_s >= budget.seconds_per_day) or (
            budget.money_per_day is not None and money >= budget.money_per_day
        )
