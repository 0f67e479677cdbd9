"""What Google's streaming recognition says and is told, without a connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import google
from stt_edge.providers.base import Failed, Farewell, Final, Partial
from stt_edge.providers.google_messages import Wanted, Wire

pytest.importorskip("grpc", reason="needs grpcio")
speech_v1 = pytest.importorskip("google.cloud.speech_v1", reason="needs google-cloud-speech")
speech_v2 = pytest.importorskip("google.cloud.speech_v2", reason="needs google-cloud-speech")

from tests.simulators.google import MAX_MESSAGE_BYTES  # noqa: E402


def protocol(api: str = "v1") -> google.GoogleProtocol:
    return google.GoogleProtocol(Wire(api, Wanted()), remedy="Put a valid key into it.")


def response(api: str = "v1", **fields: Any) -> bytes:
    module = speech_v1 if api == "v1" else speech_v2
    kind = module.StreamingRecognizeResponse
    return bytes(kind.serialize(kind(**fields)))


def result(text: str, **fields: Any) -> dict[str, Any]:
    words = fields.pop("words", [])
    best = {"transcript": text, "words": words, "confidence": fields.pop("confidence", 0.0)}
    return {"alternatives": [best], **fields}


def failure_of(events: Any) -> ProviderError:
    (event,) = events
    assert isinstance(event, Failed)
    return event.failure


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_every_message_is_small_enough(api: str) -> None:
    longest_ms = google.build("g", google.Options(api_key_file="/k")).capabilities.chunk_max_ms
    talk = protocol(api)
    talk.send_audio(bytes(longest_ms * 32))
    (message,) = talk.to_send()
    assert isinstance(message, bytes)
    assert longest_ms * 32 < len(message) <= MAX_MESSAGE_BYTES


def test_the_configuration_goes_first_and_the_half_close_last() -> None:
    talk = protocol()
    talk.open()
    talk.begin()
    talk.send_audio(b"\x01\x00")
    talk.goodbye()
    first, audio, last = talk.to_send()
    kind = speech_v1.StreamingRecognizeRequest
    assert kind.deserialize(first).streaming_config.config.sample_rate_hertz == 16000
    assert kind.deserialize(audio).audio_content == b"\x01\x00"
    assert last == b""
    assert talk.to_send() == []


def test_interims_make_one_partial_that_ends_where_the_last_one_does() -> None:
    message = response(
        results=[
            result("to be", stability=0.9, result_end_time={"seconds": 1}),
            result(" or not", stability=0.01, result_end_time={"seconds": 2}),
        ]
    )
    assert protocol().feed(message) == [Partial("to be or not", 32000)]


def test_a_final_and_the_interims_after_it_are_kept_apart() -> None:
    message = response(
        results=[
            result(" that is", is_final=True, confidence=0.75, result_end_time={"seconds": 1}),
            result(" the question", stability=0.01),
        ]
    )
    final, partial = protocol().feed(message)
    assert final == Final("that is", start=0, end=16000, confidence=0.75)
    assert partial == Partial("the question")


def test_a_confidence_of_nought_is_none_and_a_language_is_passed_on() -> None:
    (final,) = protocol().feed(response(results=[result("a", is_final=True, language_code="is")]))
    assert isinstance(final, Final)
    assert (final.confidence, final.language) == (None, "is")


def test_a_final_of_unknown_place_acknowledges_nothing() -> None:
    talk = protocol()
    talk.feed(response(results=[result("a", is_final=True, result_end_time={"seconds": 1})]))
    (final,) = talk.feed(response(results=[result("b", is_final=True)]))
    assert isinstance(final, Final)
    assert (final.start, final.end) == (16000, 16000)


def test_what_says_nothing_is_no_event() -> None:
    silent = [{"alternatives": []}, result(" ", is_final=True), result("", stability=0.5)]
    assert protocol().feed(response(results=silent)) == []
    assert protocol().feed(b"") == []
    assert protocol().feed(response(speech_event_type=2)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"result_end_time": {"seconds": -1}},
        {"result_end_time": {"seconds": 100_000_000}},
        {"words": [{"word": "a", "end_time": {"seconds": -5}}]},
    ],
)
def test_a_time_that_cannot_be_is_a_protocol_error(wrong: dict[str, Any]) -> None:
    message = response(results=[result("a", is_final=True, **wrong)])
    failure = failure_of(protocol().feed(message))
    assert failure.kind is FailureKind.PROTOCOL


def test_more_results_than_can_be_are_a_protocol_error() -> None:
    message = response(results=[{}]) * 1001
    assert failure_of(protocol().feed(message)).kind is FailureKind.PROTOCOL


def test_text_where_bytes_belong_is_a_protocol_error() -> None:
    assert failure_of(protocol().feed("text")).kind is FailureKind.PROTOCOL


def test_an_error_inside_a_response_is_classified_as_a_status_is() -> None:
    message = response(error={"code": 8, "message": "quota"})
    assert failure_of(protocol().feed(message)).kind is FailureKind.OVERLOADED


def test_ok_is_the_farewell_only_after_the_goodbye() -> None:
    talk = protocol()
    assert failure_of(talk.closed(0, "")).kind is FailureKind.LOST
    talk.goodbye()
    assert talk.closed(0, "") == (Farewell(),)
    assert failure_of(talk.closed(None, "")).kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (3, "API key not valid. Please pass a valid API key.", FailureKind.DENIED),
        (3, "API key expired. Please renew the API key.", FailureKind.DENIED),
        (3, "Invalid recognition 'config': bad language code.", FailureKind.REQUEST),
        (5, "no such recognizer", FailureKind.REQUEST),
        (7, "Cloud Speech-to-Text API has not been used in project", FailureKind.DENIED),
        (8, "Quota exceeded", FailureKind.OVERLOADED),
        (9, "", FailureKind.REQUEST),
        (10, "Stream timed out after receiving no more client requests.", FailureKind.LOST),
        (11, "Audio Timeout Error: Long duration elapsed without audio.", FailureKind.LOST),
        (11, "Exceeded maximum allowed stream duration of 305 seconds.", FailureKind.LOST),
        (12, "", FailureKind.REQUEST),
        (13, "", FailureKind.SERVER),
        (14, "Socket closed", FailureKind.LOST),
        (16, "Request had invalid authentication credentials.", FailureKind.DENIED),
    ],
)
def test_every_status_means_what_googles_documentation_says(
    code: int, text: str, kind: FailureKind
) -> None:
    failure = failure_of(protocol().closed(code, text))
    assert failure.kind is kind
    assert text in failure.message
    if kind is FailureKind.DENIED:
        assert failure.remedy


_VALID = [
    response(
        results=[
            result(
                "hello there",
                is_final=True,
                confidence=0.5,
                result_end_time={"seconds": 2},
                words=[{"word": "hello", "start_time": {}, "end_time": {"nanos": 400_000_000}}],
            ),
            result(" more", stability=0.1),
        ],
        total_billed_time={"seconds": 3},
    ),
    response(error={"code": 3, "message": "no"}),
    response("v2", results=[result("a", is_final=True)], metadata={"request_id": "x"}),
]


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    message = bytearray(draw(st.sampled_from(_VALID)))
    for _ in range(draw(st.integers(1, 4))):
        message[draw(st.integers(0, len(message) - 1))] = draw(st.integers(0, 255))
    return bytes(message[: draw(st.integers(0, len(message)))])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["v1", "v2"]), st.lists(st.binary() | _mutated() | st.text(), max_size=3))
def test_whatever_is_received_only_events_come_of_it(api: str, messages: list[bytes | str]) -> None:
    talk = protocol(api)
    for message in messages:
        for event in talk.feed(message):
            assert isinstance(event, Partial | Final | Failed)
    assert talk.to_send() == []


@given(st.none() | st.integers(), st.text(), st.booleans())
def test_however_it_ends_one_event_comes_of_it(
    code: int | None, reason: str, parting: bool
) -> None:
    talk = protocol()
    if parting:
        talk.goodbye()
    (event,) = talk.closed(code, reason)
    assert isinstance(event, Failed | Farewell)
