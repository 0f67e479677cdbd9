from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    Partial,
    PartTimes,
    Protocol,
)
from stt_edge.providers.endings import Endings
from stt_edge.providers.iapp import Options, _endpoint
from stt_edge.providers.iapp_dialects import SegmentProtocol, SentenceProtocol, refusal

REMEDY = "Put a valid key into /etc/key."
CONFIRMED = "Confirm Close Connection"


def sentences(endings: Endings | None = None) -> SentenceProtocol:
    return SentenceProtocol(endings or Endings(), key_remedy=REMEDY)


def segments(*, unit_s: float | None = 1.0) -> SegmentProtocol:
    return SegmentProtocol(Endings(), key_remedy=REMEDY, unit_s=unit_s)


def fed(protocol: Protocol, *messages: dict[str, Any]) -> list[Event]:
    return [event for message in messages for event in protocol.feed(json.dumps(message))]


def told(state: str, text: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "text": text, **more}


def segment(text: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    usual = {"segment_id": 1, "is_final": True, "speaker_no": 0}
    return {**usual, "text": text, "start_time": start, "end_time": end, **more}


def failure_of(event: Event) -> ProviderError:
    assert isinstance(event, Failed)
    return event.failure


def built(directory: Path, **options: Any) -> Any:
    return registry.build("i", "iapp", Options(api_key_file=str(directory / "key"), **options))


# --- dialects a and b ---


def test_nothing_is_said_before_the_audio_which_goes_as_it_is() -> None:
    protocol = sentences()
    protocol.open()
    protocol.begin()
    protocol.send_audio(b"\1\2")
    protocol.keep_alive()
    assert protocol.to_send() == [b"\1\2"]
    protocol.goodbye()
    (goodbye,) = protocol.to_send()
    assert json.loads(str(goodbye)) == {"data": {"status": "CloseConnection"}}


def test_every_message_replaces_the_partial_before_it() -> None:
    assert fed(sentences(), told("Sentence", "สวัสดี"), told("Sentence", "สวัสดี ครับ")) == [
        Partial("สวัสดี"),
        Partial("สวัสดี ครับ"),
    ]


@pytest.mark.parametrize("state", ["NewSentence", "New sentence", "newsentence", "NEW_SENTENCE"])
def test_a_new_sentence_makes_the_one_before_it_final(state: str) -> None:
    protocol = sentences()
    first = told("Sentence", "สวัสดี", type="realtime")
    assert fed(protocol, first, told(state, "ครับ", type="realtime")) == [
        Partial("สวัสดี"),
        Final("สวัสดี"),
        Partial("ครับ"),
    ]
    assert fed(protocol, told(state, "")) == [Final("ครับ")]


def test_the_first_sentence_has_none_before_it() -> None:
    assert fed(sentences(), told("NewSentence", "ดี")) == [Partial("ดี")]


def test_an_empty_text_takes_nothing_back() -> None:
    protocol = sentences()
    protocol.goodbye()
    assert fed(protocol, told("Sentence", "ดี"), told("Sentence", "")) == [Partial("ดี")]
    assert fed(protocol, {"text": CONFIRMED}) == [Final("ดี"), Farewell()]


@pytest.mark.parametrize("text", [CONFIRMED, f" {CONFIRMED}\n"])
def test_the_confirmed_end_makes_the_last_sentence_final_and_is_no_text(text: str) -> None:
    protocol = sentences()
    fed(protocol, told("Sentence", "ดี"))
    assert fed(protocol, told("Sentence", text)) == []  # nobody has said goodbye
    protocol.goodbye()
    assert fed(protocol, told("NewSentence", text)) == [Final("ดี"), Farewell()]
    assert fed(protocol, told("NewSentence", text)) == [Farewell()]


@pytest.mark.parametrize("code", [None, 1000, 1005])
def test_a_close_after_the_goodbye_makes_the_last_sentence_final(code: int | None) -> None:
    protocol = sentences()
    protocol.goodbye()
    fed(protocol, told("Sentence", "ดี"))
    assert protocol.closed(code, "") == (Final("ดี"), Farewell())


def test_a_broken_connection_is_a_loss_once_and_then_the_way_it_ends() -> None:
    endings = Endings()

    def ending() -> list[Event]:
        protocol = sentences(endings)
        protocol.goodbye()
        fed(protocol, told("Sentence", "ดี"))
        return list(protocol.closed(1006, ""))

    assert failure_of(ending()[0]).kind is FailureKind.LOST
    assert ending() == [Final("ดี"), Farewell()]
    assert ending() == [Final("ดี"), Farewell()]
    confirmed = sentences(endings)
    confirmed.goodbye()
    fed(confirmed, {"text": CONFIRMED})
    assert failure_of(ending()[0]).kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1000, FailureKind.LOST), (1006, FailureKind.LOST), (1011, FailureKind.SERVER)],
)
def test_any_end_before_the_goodbye_is_a_failure_and_nothing_is_final(
    code: int, kind: FailureKind
) -> None:
    protocol = sentences()
    fed(protocol, told("Sentence", "ดี"))
    (event,) = protocol.closed(code, "")
    assert failure_of(event).kind is kind


def test_a_complaint_in_the_close_frame_is_a_failure_even_after_the_goodbye() -> None:
    protocol = sentences()
    protocol.goodbye()
    (event,) = protocol.closed(1013, "")
    assert failure_of(event).kind is FailureKind.OVERLOADED


# --- dialect c ---


def test_dialect_c_is_told_to_stop() -> None:
    protocol = segments()
    protocol.goodbye()
    assert [json.loads(str(message)) for message in protocol.to_send()] == [{"action": "stop"}]


def test_a_segment_is_partial_until_it_says_that_it_is_final() -> None:
    growing = segment("ดี", 0.5, 1.0, is_final=False)
    assert fed(segments(), growing, segment("ดี มาก", 0.5, 1.25)) == [
        Partial("ดี"),
        Final("ดี มาก", 8000, 20000),
    ]


def test_times_may_be_milliseconds_or_left_alone() -> None:
    assert fed(segments(unit_s=0.001), segment("ดี", 500, 1250)) == [Final("ดี", 8000, 20000)]
    assert fed(segments(unit_s=None), segment("ดี", 500, 1250)) == [Final("ดี")]


def test_a_segment_without_times_names_the_option_that_does_without() -> None:
    (event,) = fed(segments(), {"text": "ดี", "is_final": True})
    failure = failure_of(event)
    assert failure.kind is FailureKind.REQUEST
    assert "segment_times: none" in failure.remedy


def test_a_segment_is_final_once_however_often_it_is_told() -> None:
    protocol = segments()
    assert fed(protocol, segment("ดี", 0, 1), segment("ดี", 0, 1)) == [Final("ดี", 0, 16000)]
    assert fed(protocol, segment("ดี", 2, 3, segment_id=2)) == [Final("ดี", 32000, 48000)]
    assert fed(protocol, segment("ดี", 4, 5, segment_id=None)) == [Final("ดี", 64000, 80000)]
    assert fed(protocol, segment("ดี", 4, 5, segment_id=None)) == []
    assert fed(protocol, segment("ดี", 6, 7, segment_id="x")) == [Final("ดี", 96000, 112000)]


def test_an_empty_segment_withdraws_its_partial() -> None:
    protocol = segments()
    protocol.goodbye()
    growing = segment("เอ่อ", 0, 1, is_final=False)
    assert fed(protocol, growing, segment("", 0, 1)) == [Partial("เอ่อ"), Partial("")]
    assert protocol.closed(1000, "") == (Farewell(),)


def test_the_result_of_the_session_adds_what_is_missing_and_is_the_end() -> None:
    protocol = segments()
    first, second = segment("ดี", 0, 1), segment("มาก", 1, 2, segment_id=2)
    growing = {**second, "is_final": False}
    fed(protocol, first, growing)
    protocol.goodbye()
    whole = {"type": "SessionResult", "segments": [first, second]}
    assert fed(protocol, whole) == [Final("มาก", 16000, 32000), Farewell()]
    assert protocol.closed(1000, "") == (Farewell(),)


def test_a_session_that_ends_by_itself_is_no_farewell() -> None:
    protocol = segments()
    whole = {"type": "SessionResult", "segments": [segment("ดี", 0, 1)]}
    assert fed(protocol, whole) == [Final("ดี", 0, 16000)]
    (event,) = protocol.closed(1000, "")
    assert failure_of(event).kind is FailureKind.LOST


# --- errors ---


@pytest.mark.parametrize("make", [sentences, segments])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"error": "boom"}, FailureKind.SERVER),
        ({"error": True, "text": "ดี"}, FailureKind.SERVER),
        ({"error": "Invalid API key"}, FailureKind.DENIED),
        ({"message": "Unauthorized"}, FailureKind.DENIED),
        ({"detail": "Insufficient credits"}, FailureKind.DENIED),
        ({"message": "slow down", "code": 429}, FailureKind.OVERLOADED),
        ({"error": {"message": "no", "status": 400}}, FailureKind.REQUEST),
        ({"error": ["?"], "message": {"odd": 1}}, FailureKind.SERVER),
        ({"error": "x", "code": "E7", "statusCode": 504}, FailureKind.SERVER),
    ],
)
def test_what_looks_like_an_error_is_one(make: Any, message: Any, kind: FailureKind) -> None:
    (event,) = fed(make(), message)
    failure = failure_of(event)
    assert failure.kind is kind
    assert "odd" not in str(failure)


@pytest.mark.parametrize("make", [sentences, segments])
def test_what_is_neither_a_result_nor_an_error_is_passed_over(make: Any) -> None:
    assert fed(make(), {}, {"hello": 1}, {"error": None}, {"error": False}, {"error": ""}) == []


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [
        (400, FailureKind.REQUEST, "options"),
        (401, FailureKind.DENIED, REMEDY),
        (402, FailureKind.DENIED, "credits"),
        (403, FailureKind.DENIED, REMEDY),
        (404, FailureKind.REQUEST, "url"),
        (429, FailureKind.OVERLOADED, ""),
        (504, FailureKind.SERVER, ""),
    ],
)
def test_a_refused_handshake_has_its_kind(status: int, kind: FailureKind, remedy: str) -> None:
    failure = refusal(HttpReply(status), REMEDY)
    assert failure.kind is kind
    assert remedy in failure.remedy


# --- options ---


@pytest.mark.parametrize(
    ("options", "url", "headers"),
    [
        ({}, "wss://api.iapp.co.th/asrx", {"apikey": "a+b"}),
        ({"dialect": "b"}, "wss://api-uat.iapp.co.th/asr", {"apikey": "a+b"}),
        (
            {"dialect": "c", "language": "en"},
            "wss://api.iapp.co.th/v1/audio/stt/rt?transcribe_lang=en",
            {"apikey": "a+b"},
        ),
        ({"url": "ws://host:81"}, "ws://host:81/asrx", {"apikey": "a+b"}),
        ({"url": "ws://host/x?y=1", "key_in": "query"}, "ws://host/x?y=1&apikey=a%2Bb", {}),
    ],
)
def test_the_dialect_says_where_it_is_and_the_key_goes_along(
    options: dict[str, Any], url: str, headers: dict[str, str]
) -> None:
    endpoint = _endpoint(Options(**options), "a+b")
    assert (endpoint.url, endpoint.headers) == (url, headers)
    assert "a+b" not in repr(endpoint)


def test_options_change_what_it_is_said_to_be_capable_of(tmp_path: Path) -> None:
    usual = built(tmp_path).capabilities
    assert usual.part_times is PartTimes.NONE
    assert usual.partials
    assert (usual.finalize, usual.hold_s, usual.billing) == (False, 0, Billing.AUDIO)
    assert 32 <= usual.chunk_ms <= 64
    assert built(tmp_path, dialect="c").capabilities.part_times is PartTimes.PARTS
    timeless = built(tmp_path, dialect="c", segment_times="none", billing="session")
    assert timeless.capabilities.part_times is PartTimes.NONE
    assert timeless.capabilities.billing is Billing.SESSION
    assert built(tmp_path, rate=1.0).capabilities.pacing.rate == 1.0
    assert built(tmp_path).watched == (str(tmp_path / "key"),)
    assert built(tmp_path, price_per_hour=1.5).price_per_hour == 1.5


def test_each_dialect_has_its_protocol_with_its_unit(tmp_path: Path) -> None:
    for dialect in "ab":
        protocol = built(tmp_path, dialect=dialect).make_protocol()
        assert isinstance(protocol, SentenceProtocol)
    protocol = built(tmp_path, dialect="c", segment_times="milliseconds").make_protocol()
    assert fed(protocol, segment("ดี", 1000, 2000)) == [Final("ดี", 16000, 32000)]


def test_a_language_that_the_dialect_does_not_understand_is_refused() -> None:
    assert "language" in dict(Options(api_key_file="k", language="en").problems())
    assert not dict(Options(api_key_file="k", language="en", dialect="c").problems())
    assert "api_key_file" in dict(Options().problems())


def test_without_a_key_file_it_cannot_be_set_up() -> None:
    with pytest.raises(ProviderError) as caught:
        registry.build("i", "iapp", Options())
    assert caught.value.kind is FailureKind.SETUP


# --- whatever comes ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "segment_id", "start_time", "end_time", "message", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "state": json_values | st.just("NewSentence"),
        "text": json_values | st.just(CONFIRMED),
        "is_final": st.booleans() | json_values,
        "segments": json_values,
        "segment_id": json_values,
        "start_time": json_values,
        "end_time": json_values,
        "error": json_values,
        "message": json_values,
        "status": json_values | st.integers(390, 610),
    },
).map(json.dumps)


@pytest.mark.parametrize("make", [sentences, segments])
@given(
    st.lists(st.binary(max_size=40) | st.text(max_size=40) | bodies, max_size=6),
    st.none() | st.integers(0, 5000),
    st.text(max_size=40),
    st.booleans(),
)
def test_whatever_comes_is_an_event_or_a_failure(
    make: Any, messages: list[bytes | str], code: int | None, reason: str, is_parting: bool
) -> None:
    protocol = make()
    if is_parting:
        protocol.goodbye()
    protocol.to_send()
    for message in messages:
        for event in protocol.feed(message):
            assert isinstance(event, Partial | Final | Farewell | Failed)
    assert isinstance(protocol.closed(code, reason)[-1], Farewell | Failed)
    assert protocol.to_send() == []


@pytest.mark.parametrize("make", [sentences, segments])
@pytest.mark.parametrize(
    "message",
    ["[" * 100_000, b"{}", '{"text":7}', '{"text":"x","is_final":1,"state":1}', "\0"],
)
def test_a_message_made_to_hurt_is_a_failure_of_the_protocol(
    make: Any, message: bytes | str
) -> None:
    (event,) = make().feed(message)
    assert failure_of(event).kind is FailureKind.PROTOCOL
    assert len(str(failure_of(event))) < 300


def test_segments_are_not_remembered_without_end() -> None:
    many = {"segments": [segment("x", 0, 1, segment_id=at) for at in range(10_001)]}
    (event,) = fed(segments(), many)
    assert failure_of(event).kind is FailureKind.PROTOCOL


def test_a_failure_never_repeats_what_was_said() -> None:
    (event,) = fed(segments(), segment("ความลับ", -1, -2))
    assert "ความลับ" not in str(failure_of(event))
