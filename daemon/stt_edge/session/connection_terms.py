"""What the machine of a connection is told and what it asks for: plain data.

Events are what happens to a connection; effects are what is to be done about it (``link.py``).
"""

from __future__ import annotations

from enum import StrEnum

from stt_edge.errors import ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.base import Partial


class Phase(StrEnum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    DRAINING = "draining"
    """All audio has been sent; results are still coming."""
    HELD = "held"
    """Open, with no utterance in hand."""
    CLOSED = "closed"


class TimerName(StrEnum):
    """The timers of a connection; at most one of each runs."""

    CONNECT = "connect"
    FINALIZE = "finalize"
    """Until a finalize must have been answered."""
    GOODBYE = "goodbye"
    """Until the goodbye is said once more."""
    DRAIN = "drain"
    HOLD = "hold"
    KEEP_ALIVE = "keep-alive"


# --- events -------------------------------------------------------------------------------------


@frozen
class Connected:
    """The transport is open, and the provider is ready for audio."""


@frozen
class Assigned:
    """An utterance is to go on this connection."""

    utterance_id: str


@frozen
class AudioDone:
    """The last sample of the utterance in hand, which has ended, has been sent."""


@frozen
class GotPartial:
    """The provider sent a partial."""

    partial: Partial


@frozen
class GotFinal:
    """The provider sent a final."""

    final: FinalResult


@frozen
class GotSubmitted:
    """The provider has taken the utterance as a job."""

    token: str


@frozen
class GotFinalized:
    """The provider has said everything of the utterance in hand and stays."""


@frozen
class GotFarewell:
    """The connection ended in good order, or so it seems."""

    confirmed: bool = True


@frozen
class Broke:
    """The connection is of no more use."""

    failure: ProviderError


@frozen
class TimedOut:
    """A timer ran out."""

    timer: TimerName


@frozen
class Released:
    """We want the connection no more: give way to live speech, stop."""


Event = (
    Connected
    | Assigned
    | AudioDone
    | GotPartial
    | GotFinal
    | GotSubmitted
    | GotFinalized
    | GotFarewell
    | Broke
    | TimedOut
    | Released
)

# --- effects ------------------------------------------------------------------------------------


@frozen
class OpenTransport:
    """Connect, then say what the protocol says first."""


@frozen
class BeginUtterance:
    """Tell the protocol and follow the utterance's log from where it was acknowledged."""

    utterance_id: str


@frozen
class SendFinalize:
    """Ask for the rest and keep the connection."""


@frozen
class SendGoodbye:
    """Say that no more audio will come."""


@frozen
class SendKeepAlive:
    """Say what keeps a held connection open."""


@frozen
class CloseTransport:
    """Close the transport; nothing of the connection is needed any more."""


@frozen
class StartTimer:
    """Start (or start anew) a timer."""

    timer: TimerName
    seconds: float


@frozen
class CancelTimer:
    """Stop a timer, whether it runs or not."""

    timer: TimerName


@frozen
class ShowPartial:
    """Show what is understood so far."""

    utterance_id: str
    partial: Partial


@frozen
class AcceptFinal:
    """Commit a result."""

    utterance_id: str
    final: FinalResult


@frozen
class NoteJob:
    """Store the token the provider can be asked for the utterance with."""

    utterance_id: str
    token: str


@frozen
class CountLate:
    """A result came when nothing was in hand; count it and let it go."""


@frozen
class CompleteUtterance:
    """Everything the provider had to say of it has been said, or so it seems."""

    utterance_id: str
    confirmed: bool = True


@frozen
class DrainFailed:
    """The provider never confirmed the end: promote the partial, or send it all again, once."""

    utterance_id: str


@frozen
class ReturnUtterance:
    """The utterance has to go on elsewhere, from where it was acknowledged."""

    utterance_id: str


@frozen
class ReportFailure:
    """Tell the provider's standing."""

    failure: ProviderError
    established: bool
    """A session was streaming or draining when it broke."""


@frozen
class ReportFree:
    """The connection can take an utterance."""


Effect = (
    OpenTransport
    | BeginUtterance
    | SendFinalize
    | SendGoodbye
    | SendKeepAlive
    | CloseTransport
    | StartTimer
    | CancelTimer
    | ShowPartial
    | AcceptFinal
    | NoteJob
    | CountLate
    | CompleteUtterance
    | DrainFailed
    | ReturnUtterance
    | ReportFailure
    | ReportFree
)
