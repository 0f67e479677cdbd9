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
from dataclasses import replace
from typing import Any, Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Capabilities
from stt_edge.session.connection_terms import (
    AcceptFinal,
    Assigned,
    AudioDone,
    BeginUtterance,
    Broke,
    CancelTimer,
    CloseTransport,
    CompleteUtterance,
    Connected,
    CountLate,
    DrainFailed,
    Effect,
    Event,
    GotFarewell,
    GotFinal,
    GotFinalized,
    GotPartial,
    GotSubmitted,
    NoteJob,
    OpenTransport,
    Phase,
    Released,
    ReportFailure,
    ReportFree,
    ReturnUtterance,
    SendFinalize,
    SendGoodbye,
    SendKeepAlive,
    ShowPartial,
    StartTimer,
    TimedOut,
    TimerName,
)


class IllegalTransitionError(Exception):
    """An event came in a phase that has no rule for it: a mistake of ours."""


EARLY_HOLD_S: Final = 5.0
"""How long a connection opened at a mere onset waits for the utterance that may follow."""


@frozen
class Connection:
    """Everything that decides what a connection does next."""

    capabilities: Capabilities
    hold_s: float = 0.0
    """How long to keep it between utterances; 0 closes it after each."""
    connect_timeout_s: float | None = None
    """Give up sooner than the provider is usually given; None is its own limit."""
    phase: Phase = Phase.CONNECTING
    utterance_id: str | None = None
    """The utterance in hand."""
    parted: bool = False
    """The goodbye has been said."""

    @property
    def ready_within_s(self) -> float:
        """Return how long connecting may take."""
        if self.connect_timeout_s is None:
            return self.capabilities.connect_timeout_s
        return min(self.connect_timeout_s, self.capabilities.connect_timeout_s)


Step = tuple[Connection, tuple[Effect, ...]]


def start(connection: Connection) -> Step:
    """Return the first step of a new connection, with or without an utterance in hand."""
    return connection, (OpenTransport(), StartTimer(TimerName.CONNECT, connection.ready_within_s))


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
        keep = _keep_alive(connection)
        return replace(connection, phase=Phase.HELD), (stop, hold, *keep, ReportFree())
    begin = BeginUtterance(connection.utterance_id)
    return replace(connection, phase=Phase.STREAMING), (stop, begin)


def _assigned_early(connection: Connection, event: Assigned) -> Step:
    if connection.utterance_id is not None:
        raise IllegalTransitionError("a second utterance while connecting")
    return replace(connection, utterance_id=event.utterance_id), ()


def _assigned_held(connection: Connection, event: Assigned) -> Step:
    after = replace(connection, phase=Phase.STREAMING, utterance_id=event.utterance_id)
    stops = CancelTimer(TimerName.HOLD), CancelTimer(TimerName.KEEP_ALIVE)
    return after, (*stops, BeginUtterance(event.utterance_id))


def _audio_done(connection: Connection, _: AudioDone) -> Step:
    draining = replace(connection, phase=Phase.DRAINING)
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    if not connection.capabilities.finalize:
        parted, goodbye = _goodbye(draining)
        return parted, (*goodbye, drain)
    answer_s = connection.capabilities.finalize_timeout_s
    wait = () if answer_s is None else (StartTimer(TimerName.FINALIZE, answer_s),)
    return draining, (SendFinalize(), *wait, drain)


def _goodbye(connection: Connection) -> Step:
    """Say the goodbye; a service that may not hear the first is told again after a while."""
    again_s = connection.capabilities.goodbye_again_s
    again = again_s is not None and not connection.parted
    timer = (StartTimer(TimerName.GOODBYE, again_s),) if again and again_s is not None else ()
    return replace(connection, parted=True), (SendGoodbye(), *timer)


def _keep_alive(connection: Connection) -> tuple[Effect, ...]:
    every_s = connection.capabilities.keep_alive_s
    return () if every_s is None else (StartTimer(TimerName.KEEP_ALIVE, every_s),)


def _partial(connection: Connection, event: GotPartial) -> Step:
    if connection.utterance_id is None:
        return connection, ()
    return connection, (ShowPartial(connection.utterance_id, event.partial),)


def _final(connection: Connection, event: GotFinal) -> Step:
    if connection.utterance_id is None:
        return connection, (CountLate(),)
    return connection, (AcceptFinal(connection.utterance_id, event.final),)


def _submitted(connection: Connection, event: GotSubmitted) -> Step:
    if connection.utterance_id is None:
        return connection, ()
    return connection, (NoteJob(connection.utterance_id, event.token),)


def _late(connection: Connection, _: Event) -> Step:
    return connection, (CountLate(),)


def _finalized(connection: Connection, _: GotFinalized) -> Step:
    if connection.utterance_id is None:
        return connection, ()
    complete = CompleteUtterance(connection.utterance_id)
    stop = CancelTimer(TimerName.FINALIZE)
    after = replace(connection, utterance_id=None)
    if connection.parted:
        return after, (stop, complete)
    if connection.hold_s > 0:
        hold = StartTimer(TimerName.HOLD, connection.hold_s), *_keep_alive(connection)
        held = replace(after, phase=Phase.HELD)
        return held, (stop, CancelTimer(TimerName.DRAIN), complete, *hold, ReportFree())
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    parted, goodbye = _goodbye(after)
    return parted, (stop, complete, *goodbye, drain)


def _farewell(connection: Connection, event: GotFarewell) -> Step:
    if connection.utterance_id is None:
        return _closed(connection)
    return _closed(connection, CompleteUtterance(connection.utterance_id, event.confirmed))


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
        late = f"not ready after {connection.ready_within_s:g} s"
        return _broke(connection, Broke(ProviderError(FailureKind.TIMEOUT, late)))
    if event.timer in (TimerName.FINALIZE, TimerName.GOODBYE):
        return _unanswered(connection)
    if event.timer is TimerName.KEEP_ALIVE and connection.phase is Phase.HELD:
        return connection, (SendKeepAlive(), *_keep_alive(connection))
    if event.timer is TimerName.DRAIN and connection.phase is Phase.DRAINING:
        if connection.utterance_id is None:
            return _closed(connection)
        return _closed(connection, DrainFailed(connection.utterance_id))
    if event.timer is TimerName.HOLD and connection.phase is Phase.HELD:
        return _released_held(connection, Released())
    return connection, ()  # ran out while being cancelled


def _unanswered(connection: Connection) -> Step:
    if connection.phase is not Phase.DRAINING:
        return connection, ()  # ran out while being cancelled
    return _goodbye(connection)


def _released(connection: Connection, _: Released) -> Step:
    if connection.utterance_id is None:
        return _closed(connection)
    return _closed(connection, ReturnUtterance(connection.utterance_id))


def _released_held(connection: Connection, _: Released) -> Step:
    drain = StartTimer(TimerName.DRAIN, connection.capabilities.drain_timeout_s)
    after, goodbye = _goodbye(replace(connection, phase=Phase.DRAINING))
    stops = CancelTimer(TimerName.HOLD), CancelTimer(TimerName.KEEP_ALIVE)
    return after, (*stops, *goodbye, drain)


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
    (Phase.CONNECTING, GotSubmitted): _nothing,
    (Phase.CONNECTING, GotFinalized): _nothing,
    (Phase.CONNECTING, GotFarewell): _farewell_early,
    (Phase.CONNECTING, Broke): _broke,
    (Phase.CONNECTING, TimedOut): _timed_out,
    (Phase.CONNECTING, Released): _released,
    (Phase.STREAMING, AudioDone): _audio_done,
    (Phase.STREAMING, GotPartial): _partial,
    (Phase.STREAMING, GotFinal): _final,
    (Phase.STREAMING, GotSubmitted): _submitted,
    (Phase.STREAMING, GotFinalized): _nothing,
    (Phase.STREAMING, GotFarewell): _farewell_early,
    (Phase.STREAMING, Broke): _broke,
    (Phase.STREAMING, TimedOut): _timed_out,
    (Phase.STREAMING, Released): _released,
    (Phase.DRAINING, GotPartial): _partial,
    (Phase.DRAINING, GotFinal): _final,
    (Phase.DRAINING, GotSubmitted): _submitted,
    (Phase.DRAINING, GotFinalized): _finalized,
    (Phase.DRAINING, GotFarewell): _farewell,
    (Phase.DRAINING, Broke): _broke,
    (Phase.DRAINING, TimedOut): _timed_out,
    (Phase.DRAINING, Released): _released,
    (Phase.HELD, Assigned): _assigned_held,
    (Phase.HELD, GotPartial): _late,
    (Phase.HELD, GotFinal): _late,
    (Phase.HELD, GotSubmitted): _nothing,
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
    (Phase.CLOSED, GotSubmitted): _nothing,
    (Phase.CLOSED, GotFinalized): _nothing,
    (Phase.CLOSED, GotFarewell): _nothing,
    (Phase.CLOSED, Broke): _nothing,
    (Phase.CLOSED, TimedOut): _nothing,
    (Phase.CLOSED, Released): _nothing,
}
