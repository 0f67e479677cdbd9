"""What the session tells of itself: providers, connections, and what waits for them."""

from __future__ import annotations

from stt_edge.frozen import frozen
from stt_edge.session.budget import Cost


@frozen
class LaneStatus:
    """What the status document says of a provider."""

    provider: str
    health: str
    message: str
    """The last failure in one line; empty while all is well."""
    retry_in_s: float
    connections: tuple[str, ...]
    today: Cost


@frozen
class DispatcherStatus:
    """What the status document says of sessions."""

    lanes: tuple[LaneStatus, ...]
    """In the order of the configuration."""
    in_use: str
    """The provider that the next utterance would go to."""
    budget_spent: bool
    unfinished: int
    """Utterances that are not finished, with those that wait."""
    waiting: int
    """Utterances that wait for a connection."""
    waiting_s: float
    """Audio in them, in seconds."""
    late_results: int
    poisoned: int
