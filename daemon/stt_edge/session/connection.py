"""The life of one connection to a provider, as a table.

    CONNECTING ──ready──► STREAMING ──audio done──► DRAINING ──farewell──► CLOSED
         │                    ▲                        │
         └──ready, idle──► HELD ◄────finalized─────────┘

``step(connection, event)`` returns the connection after the event and what is to be done about it,
as data. No socket, no clock and no disk in here; a pair of phase and event that is not in the table
raises IllegalTransitionError. Whatever goes wrong, an utterance in hand is completed or returned,
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Capabilities, Partial
from stt_edge.providers.base import Final as FinalResult


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
    DRAIN = "drain"
    HOLD = "hold"


class IllegalTransitionError(Exception):
    """An event came in a phase that has no rule for it: a mistake of ours."""


# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The transport is open, and the provider is ready for audio."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """An utterance is to go on this connection."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class AudioDone:
    """The last sample of the utterance in hand, which has ended, has been sent."""


@dataclass(frozen=True, slots=True)
class GotPartial:
    """The provider sent a partial."""

    partial: Partial


@dataclass(frozen=True, slots=True)
class GotFinal:
    """The provider sent a final."""

    final: FinalResult


@dataclass(frozen=True, slots=True)
class GotFinalized:
    """The provider has said everything of the utterance in hand and stays."""


@dataclass(frozen=True, slots=True)
class GotFarewell:
    """The connection ended in good order."""


@dataclass(frozen=True, slots=True)
class Broke:
    """The connection is of no more use."""

    failure: ProviderError


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A timer ran out."""

    timer: TimerName


@dataclass(frozen=True, slots=True)
class Released:
    """We want the connection no more: give way to live speech, stop."""


Event = (
    Connected
    | Assigned
    | AudioDone
    | GotPartial
    | GotFinal
    | GotFinalized
    | GotFarewell
    | Broke
    | TimedOut
    | Released
)

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenTransport:
    """Connect, then say what the protocol says first."""


@dataclass(frozen=True, slots=True)
class BeginUtterance:
    """Tell the protocol and follow the utterance's log from where it was acknowledged."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class SendFinalize:
    """Ask for the rest and keep the connection."""


@dataclass(frozen=True, slots=True)
class SendGoodbye:
    """Say that no more audio will come."""


@dataclass(frozen=True, slots=True)
class CloseTransport:
    """Close the transport; nothing of the connection is needed any more."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start (or start anew) a timer."""

    timer: TimerName
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Stop a timer, whether it runs or not."""

    timer: TimerName


@dataclass(frozen=True, slots=True)
class ShowPartial:
    """Show what is understood so far."""

    utterance_id: str
    partial: Partial


@dataclass(frozen=True, slots=True)
class AcceptFinal:
    """Commit a result."""

    utterance_id: str
    final: FinalResult


@dataclass(frozen=True, slots=True)
class CountLate:
    """A result came when nothing was in hand; count it and let it go."""


@dataclass(frozen=True, slots=True)
class CompleteUtterance:
    """Everything the provider had to say of it has been said."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class DrainFailed:
    """The provider never confirmed the end: promote the partial, or send it all again, once."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class ReturnUtterance:
    """The utterance has to go on elsewhere, from where it was acknowledged."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Tell the provider's standing."""

    failure: ProviderError
    established: bool
    """A session was streaming or draining when it broke."""


@dataclass(frozen=True, slots=True)
class ReportFree:
    """The connection can take an utterance."""


Effect = (
    OpenTransport
    | BeginUtterance
    | SendFinalize
    | SendGoodbye
    | CloseTransport
    | StartTimer
    | CancelTimer
    | ShowPartial
    | AcceptFinal
    | CountLate
    | CompleteUtterance
    | DrainFailed
    | ReturnUtterance
    | ReportFailure
    | ReportFree
)

# --- the machine --------------------------------------------------------------------------------

EARLY_HOLD_S: Final = 5.0
"""How long a connection opened at a mere onset waits for the utterance that may follow."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything that decides what a connection does next."""

    capabilities: Capabilities
    hold_s: float = 0.0
    """How long to keep it between utterances; 0 closes it after each."""
    phase: Phase = Phase.CONNECTING
    utterance_id: str | None = None
    """The utterance in hand."""


Step = tuple[Connection, tuple[Effect, ...]]


def start(connection: Connection) -> Step:
    """Return the first step of a new connection, with or without an utterance in hand."""
    timeout_s = connection.capabilities.connect_timeout_s
    return connection, (OpenTransport(), StartTimer(TimerName.CONNECT, timeout_s))


def step(connection: Connection, event: Event) -> Step:
    """Return the connection after ``event`` and the effects to perform, in order."""
    rule = TABLE.get((connection.phase, type(event)))
    if rule is None:
        raise IllegalTransitionError(f"{type(event).__name__} while {connection.phase}")
    return rule(connection, event)


def _connected(connection: Connection, _: Connected) -> Step:
    stop = CancelTimer(TimerName.CONNECT)
    if connection.utterance_id is None:
        hold = StartTimer(TimerName.HOLD, max(connection.hold_s, EARLY_HOLD_S))
        return replace(connection, phase=Phase.HELD), (stop, hold, ReportFree())
    begin = BeginUtterance(connection.utterance_id)
    return replace(connection, phase=Phase.STREAMING), (stop, begin)


def _assigned_early(connection: Connection, event: Assigned) -> Step:
    if connection.utterance_id is not None:
        raise IllegalTransitionError("a second utterance while connecting")
    return replace(connection, utterance_id=event.utterance_id), ()


def _assigned_held(connection: Connection, event: Assigned) -> Step:
    after = replace(connection, phase=Phase.STREAMING, utterance_id=event.utterance_id)
    return after, (CancelTimer(TimerName.HOLD), BeginUtterance(event.utterance_id))


def _audio_done(connection: Connection, _: AudioDone) -> Step:
    ask = SendFinalize() if connection.capabilities.finalize else SendGoodbye()
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    return replace(connection, phase=Phase.DRAINING), (ask, drain)


def _partial(connection: Connection, event: GotPartial) -> Step:
    if connection.utterance_id is None:
        return connection, ()
    return connection, (ShowPartial(connection.utterance_id, event.partial),)


def _final(connection: Connection, event: GotFinal) -> Step:
    if connection.utterance_id is None:
        return connection, (CountLate(),)
    return connection, (AcceptFinal(connection.utterance_id, event.final),)


def _late(connection: Connection, _: Event) -> Step:
    return connection, (CountLate(),)


def _finalized(connection: Connection, _: GotFinalized) -> Step:
    if connection.utterance_id is None:
        return connection, ()
    complete = CompleteUtterance(connection.utterance_id)
    after = replace(connection, utterance_id=None)
    if connection.hold_s > 0:
        hold = StartTimer(TimerName.HOLD, connection.hold_s)
        held = replace(after, phase=Phase.HELD)
        return held, (CancelTimer(TimerName.DRAIN), complete, hold, ReportFree())
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    return after, (complete, SendGoodbye(), drain)


def _farewell(connection: Connection, _: GotFarewell) -> Step:
    if connection.utterance_id is None:
        return _closed(connection)
    return _closed(connection, CompleteUtterance(connection.utterance_id))


def _farewell_early(connection: Connection, _: GotFarewell) -> Step:
    left = ProviderError(FailureKind.LOST, "the provider ended the session in the middle")
    return _broke(connection, Broke(left))


def _broke(connection: Connection, event: Broke) -> Step:
    if connection.phase is Phase.DRAINING and connection.utterance_id is None:
        return _closed(connection)  # all was said; how the goodbye went is of no interest
    established = connection.phase in (Phase.STREAMING, Phase.DRAINING)
    report = ReportFailure(event.failure, established)
    if connection.utterance_id is None:
        return _closed(connection, report)
    return _closed(connection, report, ReturnUtterance(connection.utterance_id))


def _broke_idle(connection: Connection, _: Event) -> Step:
    # A provider may close what nobody uses; that says nothing about its health.
    return _closed(connection)


def _timed_out(connection: Connection, event: TimedOut) -> Step:
    if event.timer is TimerName.CONNECT and connection.phase is Phase.CONNECTING:
        wait = connection.capabilities.connect_timeout_s
        return _broke(
            connection, Broke(ProviderError(FailureKind.TIMEOUT, f"not ready after {wait:g} s"))
        )
    if event.timer is TimerName.DRAIN and connection.phase is Phase.DRAINING:
        if connection.utterance_id is None:
            return _closed(connection)
        return _closed(connection, DrainFailed(connection.utterance_id))
    if event.timer is TimerName.HOLD and connection.phase is Phase.HELD:
        return _released_held(connection, Released())
    return connection, ()  # ran out while being cancelled


def _released(connection: Connection, _: Released) -> Step:
    if connection.utterance_id is None:
        return _closed(connection)
    return _closed(connection, ReturnUtterance(connection.utterance_id))


def _released_held(connection: Connection, _: Released) -> Step:
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    after = replace(connection, phase=Phase.DRAINING)
    return after, (CancelTimer(TimerName.HOLD), SendGoodbye(), drain)


def _nothing(connection: Connection, _: Event) -> Step:
    return connection, ()


def _closed(connection: Connection, *effects: Effect) -> Step:
    stops = tuple(CancelTimer(timer) for timer in TimerName)
    after = replace(connection, phase=Phase.CLOSED, utterance_id=None)
    return after, (*stops, CloseTransport(), *effects)


Rule = Callable[[Connection, Any], Step]

TABLE: Final[dict[tuple[Phase, type], Rule]] = {
    (Phase.CONNECTING, Connected): _connected,
    (Phase.CONNECTING, Assigned): _assigned_early,
    (Phase.CONNECTING, GotPartial): _late,
    (Phase.CONNECTING, GotFinal): _late,
    (Phase.CONNECTING, GotFinalized): _nothing,
    (Phase.CONNECTING, GotFarewell): _farewell_early,
    (Phase.CONNECTING, Broke): _broke,
    (Phase.CONNECTING, TimedOut): _timed_out,
    (Phase.CONNECTING, Released): _released,
    (Phase.STREAMING, AudioDone): _audio_done,
    (Phase.STREAMING, GotPartial): _partial,
    (Phase.STREAMING, GotFinal): _final,
    (Phase.STREAMING, GotFinalized): _nothing,
    (Phase.STREAMING, GotFarewell): _farewell_early,
    (Phase.STREAMING, Broke): _broke,
    (Phase.STREAMING, TimedOut): _timed_out,
    (Phase.STREAMING, Released): _released,
    (Phase.DRAINING, GotPartial): _partial,
    (Phase.DRAINING, GotFinal): _final,
    (Phase.DRAINING, GotFinalized): _finalized,
    (Phase.DRAINING, GotFarewell): _farewell,
    (Phase.DRAINING, Broke): _broke,
    (Phase.DRAINING, TimedOut): _timed_out,
    (Phase.DRAINING, Released): _released,
    (Phase.HELD, Assigned): _assigned_held,
    (Phase.HELD, GotPartial): _late,
    (Phase.HELD, GotFinal): _late,
    (Phase.HELD, GotFinalized): _nothing,
    (Phase.HELD, GotFarewell): _broke_idle,
    (Phase.HELD, Broke): _broke_idle,
    (Phase.HELD, TimedOut): _timed_out,
    (Phase.HELD, Released): _released_held,
    # What was under way when the connection was closed may still arrive.
    (Phase.CLOSED, Connected): _nothing,
    (Phase.CLOSED, AudioDone): _nothing,
    (Phase.CLOSED, GotPartial): _late,
    (Phase.CLOSED, GotFinal): _late,
    (Phase.CLOSED, GotFinalized): _nothing,
    (Phase.CLOSED, GotFarewell): _nothing,
    (Phase.CLOSED, Broke): _nothing,
    (Phase.CLOSED, TimedOut): _nothing,
    (Phase.CLOSED, Released): _nothing,
}
