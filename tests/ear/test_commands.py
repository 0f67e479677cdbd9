"""Commands, over a real socketpair."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from stt_edge.ear.commands import Commands
from stt_edge.ear.wire import (
    GateSettings,
    LevelRate,
    Stop,
    StopMode,
    WireError,
    encode_command,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Commands]]:
    ours, theirs = socket.socketpair()
    yield ours, Commands(theirs.fileno())
    ours.close()
    theirs.close()


def test_nothing_sent_is_nothing_received(pair: tuple[socket.socket, Commands]) -> None:
    assert pair[1].received() == []
    assert not pair[1].is_closed


def test_commands_arrive_in_order_however_they_are_cut(
    pair: tuple[socket.socket, Commands],
) -> None:
    ours, commands = pair
    sent = [GateSettings(hangover_ms=900), LevelRate(10.0), Stop(StopMode.MUTE)]
    data = b"".join(map(encode_command, sent))
    received = []
    for at in range(0, len(data), 7):
        ours.sendall(data[at : at + 7])
        received += commands.received()
    assert received == sent


def test_what_is_no_command_is_an_error(pair: tuple[socket.socket, Commands]) -> None:
    pair[0].sendall(b"hello\n")
    with pytest.raises(WireError):
        pair[1].received()


def test_a_main_that_is_gone_is_noticed(pair: tuple[socket.socket, Commands]) -> None:
    ours, commands = pair
    ours.close()
    assert commands.is_closed
    with pytest.raises(BrokenPipeError):
        commands.received()
