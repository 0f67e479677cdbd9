"""Commands, over a real socketpair."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from stt_edge.ear.commands import Commands
from stt_edge.ear.wire import (
    Begin,
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


def test_what_comes_with_begin_is_received_after_it(pair: tuple[socket.socket, Commands]) -> None:
    ours, commands = pair
    assert commands.is_silent
    sent = [LevelRate(3.0), Begin("{}"), LevelRate(10.0), Stop(StopMode.STOP)]
    ours.sendall(b"".join(map(encode_command, sent)))
    assert not commands.is_silent
    assert commands.wait_for_begin() == Begin("{}")
    ours.sendall(encode_command(GateSettings()))
    assert commands.received() == [*sent[2:], GateSettings()]
    assert commands.received() == []


def test_who_waits_for_begin_gets_it_when_it_comes(pair: tuple[socket.socket, Commands]) -> None:
    ours, commands = pair
    sender = threading.Timer(0.2, ours.sendall, (encode_command(Begin("{}")),))
    sender.start()
    assert commands.wait_for_begin() == Begin("{}")
    sender.join()


def test_who_waits_for_begin_notices_that_main_is_gone(
    pair: tuple[socket.socket, Commands],
) -> None:
    ours, commands = pair
    closer = threading.Timer(0.2, ours.close)
    closer.start()
    with pytest.raises(BrokenPipeError):
        commands.wait_for_begin()
    closer.join()
