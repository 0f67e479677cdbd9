from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.config.schema import problems_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry, wyoming
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    Partial,
    PartTimes,
    Protocol,
)
from stt_edge.providers.json_fields import MalformedError
from stt_edge.providers.transports.tcp import TcpEndpoint, UnixEndpoint
from stt_edge.providers.wyoming import Options
from stt_edge.providers.wyoming_frames import MAX_BYTES, EventDecoder, encode

FORMAT = {"rate": 16000, "width": 2, "channels": 1}
SECOND = bytes(range(250)) * 128
CAPTURED = (
    b'{"type": "transcript", "version": "1.10.2", "data_length": 19}\n'
    b'{"text": "g\xc3\xb3\xc3\xb0an"}'
    b'{"type": "audio-chunk", "version": "1.10.2", "data_length": 58, "payload_length": 4}\n'
    b'{"rate": 16000, "width": 2, "channels": 1, "timestamp": 0}\n{\x00\xff'
    b'{"type": "pong", "data": {"text": "inline"}}\n'
)


def protocol(**options: Any) -> Protocol:
    return registry.build("w", "wyoming", Options(**options)).make_protocol()


def parting(**options: Any) -> Protocol:
    made = protocol(**options)
    made.open()
    made.begin()
    made.goodbye()
    made.to_send()
    return made


def sent(made: Protocol) -> list[tuple[str, dict[str, Any], bytes]]:
    decoder = EventDecoder()
    messages = made.to_send()
    assert all(isinstance(message, bytes) for message in messages)
    events = decoder.feed(b"".join(message for message in messages if isinstance(message, bytes)))
    return [(event.kind, event.data._values, event.payload) for event in events]  # type: ignore[misc]


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_events_are_read_however_they_are_cut(step: int) -> None:
    decoder = EventDecoder()
    events = [
        event
        for at in range(0, len(CAPTURED), step)
        for event in decoder.feed(CAPTURED[at : at + step])
    ]
    assert [event.kind for event in events] == ["transcript", "audio-chunk", "pong"]
    assert [event.data.text("text") for event in events] == ["góðan", "", "inline"]
    assert [event.payload for event in events] == [b"", b"\n{\x00\xff", b""]


def test_data_behind_the_line_wins_over_data_within_it() -> None:
    both = b'{"type": "x", "data": {"a": "1", "b": "2"}, "data_length": 10}\n{"a": "3"}'
    (event,) = EventDecoder().feed(both)
    assert (event.data.text("a"), event.data.text("b")) == ("3", "2")


@pytest.mark.parametrize(
    "wrong",
    [
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 5}\n',
        b'{"type": "x", "data": []}\n',
        b'{"type": "x", "data_length": -1}\n',
        b'{"type": "x", "data_length": 1.5}\n',
        b'{"type": "x", "data_length": "9"}\n',
        b'{"type": "x", "payload_length": 1e300}\n',
        b'{"type": "x", "payload_length": 2000000}\n',
        b'{"type": "x", "data_length": 2}\n[]',
        b'{"type": "x", "data_length": 2}\n\xff\xff',
        b"[" * 200_000 + b"\n",
        b"x" * (MAX_BYTES + 1),
        b"x" * (MAX_BYTES + 1) + b"\n",
    ],
)
def test_what_is_no_event_is_refused_and_lengths_are_bounded(wrong: bytes) -> None:
    with pytest.raises(MalformedError):
        EventDecoder().feed(wrong)


def test_an_utterance_is_a_request_its_audio_and_the_end() -> None:
    made = protocol(language="is", model="base", names=("Jón",), terms=("eldhús",))
    made.open()
    made.begin()
    made.send_audio(SECOND)
    made.send_audio(SECOND)
    made.goodbye()
    assert sent(made) == [
        (
            "transcribe",
            {
                "name": "base",
                "language": "is",
                "transcript_names": ["Jón"],
                "transcript_terms": ["eldhús"],
            },
            b"",
        ),
        ("audio-start", {**FORMAT, "timestamp": 0}, b""),
        ("audio-chunk", {**FORMAT, "timestamp": 0}, SECOND),
        ("audio-chunk", {**FORMAT, "timestamp": 1000}, SECOND),
        ("audio-stop", {"timestamp": 2000}, b""),
    ]


def test_a_request_for_nothing_special_says_nothing_special() -> None:
    made = protocol()
    made.begin()
    assert sent(made)[0] == ("transcribe", {}, b"")


def test_the_transcript_is_the_result_and_the_farewell() -> None:
    made = parting(model="base")
    said = encode("transcript", {"text": " góðan dag ", "language": "is"})
    assert made.feed(said) == [Final("góðan dag", language="is", model="base"), Farewell()]
    assert made.feed(said) == []
    assert made.closed(None, "") == (Farewell(),)


def test_an_empty_transcript_is_only_a_farewell() -> None:
    assert parting().feed(encode("transcript", {"text": ""})) == [Farewell()]


def test_pieces_add_up_to_partials_until_the_transcript_comes() -> None:
    made = parting()
    pieces = [encode("transcript-chunk", {"text": text}) for text in ("go", "od ", "day")]
    assert made.feed(encode("transcript-start") + b"".join(pieces)) == [
        Partial("go"),
        Partial("good"),
        Partial("good day"),
    ]
    assert made.feed(encode("transcript-stop")) == []
    assert made.feed(encode("transcript", {"text": "Good day."})) == [
        Final("Good day."),
        Farewell(),
    ]


def test_pieces_that_were_all_are_the_result_when_no_transcript_follows() -> None:
    made = parting()
    made.feed(encode("transcript-chunk", {"text": "good"}))
    (event,) = parting().closed(None, "")
    assert isinstance(event, Failed)
    made.feed(encode("transcript-stop"))
    assert made.closed(None, "") == (Final("good"), Farewell())


def test_a_server_that_finds_the_end_by_itself_has_its_transcripts_joined() -> None:
    made = protocol()
    made.begin()
    made.send_audio(SECOND)
    assert made.feed(encode("transcript", {"text": "one"})) == [Partial("one")]
    made.goodbye()
    assert made.feed(encode("transcript", {"text": "two"})) == [Final("one two"), Farewell()]


@pytest.mark.parametrize("said_goodbye", [True, False])
def test_an_end_before_the_transcript_is_a_loss(said_goodbye: bool) -> None:
    made = protocol()
    made.begin()
    if said_goodbye:
        made.goodbye()
    (event,) = made.closed(None, "Connection reset by peer")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.LOST
    assert "Connection reset by peer" in str(event.failure)


def test_an_error_is_the_servers() -> None:
    (event,) = parting().feed(encode("error", {"text": "out of memory", "code": "oom"}))
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.SERVER
    assert event.failure.code == "oom"
    assert "out of memory" in str(event.failure)


def test_a_ping_is_answered_and_what_is_unknown_is_ignored() -> None:
    made = parting()
    assert made.feed(encode("voice-started", {"timestamp": 5}, b"??")) == []
    assert made.feed(encode("ping", {"text": "there?"})) == []
    assert sent(made) == [("pong", {"text": "there?"}, b"")]


def test_text_without_end_is_refused() -> None:
    made = parting()
    piece = encode("transcript-chunk", {"text": "x" * 500_000})
    made.feed(piece)
    made.feed(piece)
    event = made.feed(piece)[-1]
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL


def test_the_capabilities_are_those_of_a_server_that_listens_first() -> None:
    capabilities = registry.build("w", "wyoming", Options(max_connections=5)).capabilities
    assert capabilities.billing is Billing.NOTHING
    assert capabilities.part_times is PartTimes.NONE
    assert not capabilities.finalize
    assert capabilities.hold_s == 0
    assert capabilities.drain_timeout_s >= 60
    assert capabilities.on_drain_timeout == "resend"
    assert capabilities.max_connections == 5


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("tcp://ha.lan:10300", TcpEndpoint("ha.lan", 10300)),
        ("tcp://[::1]:10300", TcpEndpoint("::1", 10300)),
        ("unix:///run/asr.sock", UnixEndpoint("/run/asr.sock")),
        (None, TcpEndpoint("127.0.0.1", 10300)),
        ("tcp://ha.lan", None),
        ("tcp://ha.lan:x", None),
        ("unix://run/asr.sock", None),
        ("ws://ha.lan:10300", None),
        ("ha.lan:10300", None),
    ],
)
def test_a_url_is_a_port_or_a_socket_file(url: str | None, endpoint: Any) -> None:
    assert wyoming._endpoint(url) == endpoint
    keys = [key for key, _ in problems_of(Options(url=url))]
    assert keys == ([] if endpoint else ["url"])


def test_what_cannot_be_connected_to_is_not_built() -> None:
    with pytest.raises(ProviderError) as caught:
        registry.build("w", "wyoming", Options(url="http://ha.lan"))
    assert caught.value.kind is FailureKind.SETUP
    assert [key for key, _ in problems_of(Options(ca_file="/ca.pem"))] == ["ca_file"]


values = st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers())
heads = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["transcript", "transcript-chunk", "transcript-stop", "error", "ping", "info"]
        )
        | values
    },
    optional={
        "data": st.dictionaries(st.sampled_from(["text", "code", "language"]), values) | values,
        "data_length": st.integers(0, 20) | values,
        "payload_length": st.integers(0, 20) | values,
    },
).map(lambda head: json.dumps(head).encode() + b"\n")


@given(
    st.booleans(),
    st.lists(st.binary(max_size=30) | heads | st.text(max_size=5), max_size=8),
    st.text(max_size=9),
)
def test_whatever_comes_only_events_come_of_it(
    said_goodbye: bool, messages: list[bytes | str], reason: str
) -> None:
    made = parting() if said_goodbye else protocol()
    events: list[Event] = []
    for message in messages:
        events += made.feed(message)
    events += made.closed(None, reason)
    assert all(isinstance(event, Event) for event in events)
