"""The table of a connection: every pair of phase and event, and what must never happen."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Capabilities, Final, Partial
from stt_edge.session import connection as machine
from stt_edge.session.connection import Connection, Phase, TimerName, step

FAILURE = ProviderError(FailureKind.LOST, "gone")
EVENTS: dict[type, machine.Event] = {
    machine.Connected: machine.Connected(),
    machine.Assigned: machine.Assigned("u2"),
    machine.AudioDone: machine.AudioDone(),
    machine.GotPartial: machine.GotPartial(Partial("so f")),
    machine.GotFinal: machine.GotFinal(Final("so far")),
    machine.GotSubmitted: machine.GotSubmitted("job-1"),
    machine.GotFinalized: machine.GotFinalized(),
    machine.GotFarewell: machine.GotFarewell(),
    machine.Broke: machine.Broke(FAILURE),
    machine.TimedOut: machine.TimedOut(TimerName.DRAIN),
    machine.Released: machine.Released(),
}
PLAIN = Connection(Capabilities(), utterance_id="u1")
HOLDING = Connection(Capabilities(finalize=True), hold_s=8.0, utterance_id="u1")


def run(connection: Connection, *events: machine.Event) -> tuple[Connection, list[machine.Effect]]:
    effects: list[machine.Effect] = []
    for event in events:
        connection, more = step(connection, event)
        effects += more
    return connection, effects


def kinds(effects: typing.Iterable[machine.Effect]) -> list[type]:
    return [type(effect) for effect in effects if not isinstance(effect, machine.CancelTimer)]


def test_every_event_has_an_example_here() -> None:
    assert set(EVENTS) == set(typing.get_args(machine.Event))


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("kind", list(EVENTS))
def test_a_pair_is_in_the_table_or_illegal(phase: Phase, kind: type) -> None:
    in_hand = None if phase in (Phase.HELD, Phase.CLOSED) else "u1"
    if phase is Phase.CONNECTING and kind is machine.Assigned:
        in_hand = None
    connection = replace(PLAIN, phase=phase, utterance_id=in_hand)
    if (phase, kind) in machine.TABLE:
        after, effects = step(connection, EVENTS[kind])
        assert isinstance(after.phase, Phase)
        assert all(isinstance(effect, typing.get_args(machine.Effect)) for effect in effects)
    else:
        with pytest.raises(machine.IllegalTransitionError):
            step(connection, EVENTS[kind])


def test_only_mistakes_of_ours_are_illegal() -> None:
    missing = {
        (phase, kind) for phase in Phase for kind in EVENTS if (phase, kind) not in machine.TABLE
    }
    assert missing == {
        (Phase.CONNECTING, machine.AudioDone),
        (Phase.STREAMING, machine.Connected),
        (Phase.STREAMING, machine.Assigned),
        (Phase.DRAINING, machine.Connected),
        (Phase.DRAINING, machine.Assigned),
        (Phase.DRAINING, machine.AudioDone),
        (Phase.HELD, machine.Connected),
        (Phase.HELD, machine.AudioDone),
        (Phase.CLOSED, machine.Assigned),
    }


def test_an_utterance_goes_through_goodbye_where_there_is_no_finalize() -> None:
    after, effects = run(
        PLAIN,
        machine.Connected(),
        machine.AudioDone(),
        EVENTS[machine.GotFinal],
        machine.GotFarewell(),
    )
    assert after.phase is Phase.CLOSED
    assert kinds(effects) == [
        machine.BeginUtterance,
        machine.SendGoodbye,
        machine.StartTimer,
        machine.AcceptFinal,
        machine.CloseTransport,
        machine.CompleteUtterance,
    ]


def test_a_connection_is_held_after_finalize_and_takes_the_next_utterance() -> None:
    held, effects = run(HOLDING, machine.Connected(), machine.AudioDone(), machine.GotFinalized())
    assert held.phase is Phase.HELD
    assert held.utterance_id is None
    assert machine.StartTimer(TimerName.HOLD, 8.0) in effects
    again, effects = run(held, machine.Assigned("u2"))
    assert again.phase is Phase.STREAMING
    assert machine.BeginUtterance("u2") in effects


def test_a_finalized_connection_that_may_not_be_held_says_goodbye() -> None:
    connection = replace(HOLDING, hold_s=0.0)
    after, effects = run(
        connection, machine.Connected(), machine.AudioDone(), machine.GotFinalized()
    )
    assert after.phase is Phase.DRAINING
    assert kinds(effects)[-3:] == [
        machine.CompleteUtterance,
        machine.SendGoodbye,
        machine.StartTimer,
    ]


def test_a_farewell_in_the_middle_returns_the_utterance() -> None:
    after, effects = run(PLAIN, machine.Connected(), machine.GotFarewell())
    assert after.phase is Phase.CLOSED
    assert machine.ReturnUtterance("u1") in effects
    assert machine.CompleteUtterance("u1") not in effects


def test_a_handshake_that_takes_too_long_is_a_failure() -> None:
    after, effects = step(PLAIN, machine.TimedOut(TimerName.CONNECT))
    assert after.phase is Phase.CLOSED
    (report,) = [effect for effect in effects if isinstance(effect, machine.ReportFailure)]
    assert report.failure.kind is FailureKind.TIMEOUT
    assert not report.established


def test_a_goodbye_that_breaks_after_all_was_said_is_no_failure() -> None:
    goodbye = replace(HOLDING, phase=Phase.DRAINING, utterance_id=None)
    after, effects = step(goodbye, machine.Broke(FAILURE))
    assert after.phase is Phase.CLOSED
    assert machine.ReportFailure not in kinds(effects)


def test_a_result_without_an_utterance_is_counted_and_let_go() -> None:
    held = replace(HOLDING, phase=Phase.HELD, utterance_id=None)
    assert step(held, EVENTS[machine.GotFinal])[1] == (machine.CountLate(),)


@given(
    holding=st.booleans(),
    early=st.booleans(),
    events=st.lists(st.sampled_from(list(EVENTS.values())), max_size=30),
)
def test_whatever_happens_an_utterance_leaves_exactly_once(
    holding: bool, early: bool, events: list[machine.Event]
) -> None:
    """Completed, given up to the drain rule, or returned: each utterance in hand, once."""
    connection = replace(HOLDING if holding else PLAIN, utterance_id=None if early else "u1")
    given_in, left = (0 if early else 1), 0
    for event in events:
        idle = connection.utterance_id is None
        if isinstance(event, machine.Assigned) and not idle:
            continue
        try:
            connection, effects = step(connection, event)
        except machine.IllegalTransitionError:
            continue
        given_in += isinstance(event, machine.Assigned)
        left += sum(
            isinstance(
                effect, machine.CompleteUtterance | machine.DrainFailed | machine.ReturnUtterance
            )
            for effect in effects
        )
        assert left == given_in - (connection.utterance_id is not None)
        if connection.phase is Phase.CLOSED:
            assert connection.utterance_id is None
