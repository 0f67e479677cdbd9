"""What ear and main say to each other, there and back again."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import (
    MAX_FRAME_BYTES,
    Audio,
    Command,
    Decoder,
    Fault,
    Finished,
    Gap,
    GateSettings,
    Health,
    LevelRate,
    Message,
    Onset,
    Opened,
    SpeechEnd,
    SpeechStart,
    Stop,
    StopMode,
    WireError,
    decode_command,
    encode,
    encode_command,
)
from stt_edge.errors import FaultKind
from stt_edge.model import EndReason

ONE_OF_EACH: list[Message] = [
    Opened("0198", "Küche — USB", 48_000, 2, 123_456_789_012, 81),
    Onset(1600),
    SpeechStart(1600, 5_000_000_000, 5_100_000_000, continues=True),
    Audio(2**40, bytes(range(256)) * 10),
    Gap(4800, 48_531),
    SpeechEnd(64_000, EndReason.MAX_LENGTH, 60_000, 31_000),
    Health(10, 1, 2, 3, -48.5, -61.0, 0.0, 4, 5, 6, 7),
    Fault(FaultKind.AMBIGUOUS, "Zwei Geräte.", "Nenne eines."),
    Finished(99),
]


def test_every_kind_of_message_is_tried_here() -> None:
    assert {type(message) for message in ONE_OF_EACH} == set(get_args(Message))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert Decoder().feed(encode(message)) == [message]


@given(st.lists(st.integers(1, 400), max_size=60))
def test_messages_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    data = b"".join(encode(message) for message in ONE_OF_EACH)
    decoder, received, at = Decoder(), [], 0
    for cut in [*cuts, len(data)]:
        received += decoder.feed(data[at : at + cut])
        at += cut
    assert received == ONE_OF_EACH


def test_a_message_is_not_taken_before_its_last_byte() -> None:
    decoder = Decoder()
    frame = encode(Finished(5))
    assert decoder.feed(frame[:-1]) == []
    assert decoder.feed(frame[-1:]) == [Finished(5)]


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(4, "little") + b"\0",
        b"\0\0\0\0\0",
        b"\x05\0\0\0\x63abcd",
        b"\x03\0\0\0\x02{}",
        b"\x03\0\0\0\x01[]",
        b"\x05\0\0\0\x01null",
        b"\x05\0\0\0\x02nope",
        b"\x0c\0\0\0\x03" + bytes(11),
        b"\x04\0\0\0\x03abc",
    ],
)
def test_a_pipe_out_of_step_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        Decoder().feed(data)


@given(st.binary(max_size=200))
def test_noise_is_an_error_or_nothing_and_never_a_crash(data: bytes) -> None:
    try:
        messages = Decoder().feed(data)
    except WireError:
        return
    assert 5 * len(messages) <= len(data), "a message is never less than its head"


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    payload = json.dumps({"sample": 5, "novelty": 1}).encode()
    frame = (1 + len(payload)).to_bytes(4, "little") + b"\x01" + payload
    assert Decoder().feed(frame) == [Onset(5)]


COMMANDS: list[Command] = [
    GateSettings(3, 200, 500, 700, 30.0, "none"),
    Stop(StopMode.MUTE),
    LevelRate(4.0),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_a_command_comes_back_as_it_was_on_one_line(command: Command) -> None:
    line = encode_command(command)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_command(line) == command


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"[]", b"5", b"{}", b'{"command": "dance"}', b'{"command": "stop"}',
     b'{"command": "stop", "mode": "gently"}', b'{"command": []}'],
)  # fmt: skip
def test_what_is_no_command_is_an_error(line: bytes) -> None:
    with pytest.raises(WireError):
        decode_command(line)


def test_the_reason_for_an_end_follows_from_how_main_stops_the_ear() -> None:
    assert [mode.reason for mode in StopMode] == [EndReason.STOP, EndReason.MUTE]


@pytest.mark.parametrize(
    "settings",
    [
        EarSettings(),
        EarSettings(SourceSettings(device="Küche", channel="mix"), GateSettings(confirm="none")),
        EarSettings(SourceSettings(file="/a b/c.wav", pace="fast")),
        EarSettings(SourceSettings(command=("sox", "-d", "-t", "raw", "-"))),
    ],
)
def test_settings_survive_the_command_line(settings: EarSettings) -> None:
    text = settings.to_json()
    assert "\n" not in text
    assert EarSettings.from_json(text) == settings


def test_all_messages_are_frozen() -> None:
    for kind in get_args(Message):
        assert is_dataclass(kind)
        assert hasattr(kind, "__compared__"), kind
        assert "__dict__" not in dir(kind), fields(kind)
