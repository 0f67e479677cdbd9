"""One provider of the chain: its standing, its connections, and how it comes back.

A provider that is down and has another behind it is not tried with somebody's words: it is probed
by a handshake, then gets one utterance on trial. A failed trial doubles the time until the next
probe.
"""

from __future__ import annotations

import random

from stt_edge.errors import ProviderError
from stt_edge.providers.base import Billing, Provider
from stt_edge.session.connection_terms import Phase
from stt_edge.session.link import Link
from stt_edge.session.standing import Health, Standing

_TRIAL_FIRST_S = 30.0
_TRIAL_CAP_S = 960.0


class Lane:
    """A provider and everything that is known of it; times are of the monotonic clock."""

    def __init__(self, provider: Provider, *, hold_s: float | None, connect_early: bool) -> None:
        """Begin with a good opinion; ``hold_s`` None is what the provider says is free."""
        capabilities = provider.capabilities
        free_s = capabilities.hold_s if hold_s is None else hold_s
        self.provider = provider
        self.hold_s = free_s if capabilities.finalize else 0.0
        self.early = connect_early and capabilities.billing is not Billing.SESSION
        self.standing = Standing()
        self.links: list[Link] = []
        self.probe: Link | None = None
        """The connection that only finds out whether the provider is there."""
        self._greeted = False
        """A probe has come through since the provider went down."""
        self._trial: str | None = None
        self._trial_wait_s = 0.0

    @property
    def name(self) -> str:
        """The provider's name in the configuration."""
        return self.provider.name

    def usable(self) -> bool:
        """Return whether utterances may go here though there are other providers."""
        return not self.standing.down or (self._greeted and self._trial is None)

    def can_open(self, now_s: float) -> bool:
        """Return whether another connection may be opened now.

        As long as the provider has proved nothing one attempt at a time is enough.
        """
        if self.standing.wait_s(now_s) > 0 or len(self.links) >= self.max_connections:
            return False
        doubtful = self.standing.health is not Health.UP
        return not (doubtful and any(link.phase is Phase.CONNECTING for link in self.links))

    @property
    def max_connections(self) -> int:
        """How many connections it may have at a time."""
        return self.provider.capabilities.max_connections

    def wants_probe(self, now_s: float) -> bool:
        """Return whether it is time to see if it is back."""
        waiting = self.standing.down and not self._greeted and self.probe is None
        return waiting and self.can_open(now_s)

    def greeted(self) -> None:
        """Take that a probe has come through."""
        self._greeted = True

    def given(self, utterance_id: str) -> None:
        """Take that an utterance goes here; after a probe it is the one on trial."""
        if self.standing.down and self._greeted:
            self._trial = utterance_id

    def returned(self, utterance_id: str) -> None:
        """Take that an utterance was taken back, which decides nothing if it was on trial."""
        if self._trial == utterance_id:
            self._trial = None

    def failed(
        self, failure: ProviderError, now_s: float, rng: random.Random, *, established: bool
    ) -> None:
        """Take a failure."""
        self.standing = self.standing.failed(failure, now_s, rng, established=established)
        if self._trial is not None:
            doubled = 2 * self._trial_wait_s
            self._trial_wait_s = min(max(_TRIAL_FIRST_S, doubled), _TRIAL_CAP_S)
            self.standing = self.standing.postponed(now_s + self._trial_wait_s)
        self._trial, self._greeted = None, False

    def proved(self) -> None:
        """Take a result, or ten seconds of streaming."""
        self.standing = self.standing.proved()
        self._trial, self._greeted, self._trial_wait_s = None, False, 0.0
