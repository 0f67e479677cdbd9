"""OpenAI over HTTP, the protocol alone: what it asks, and what it makes of the answers."""

from __future__ import annotations

import io
import json
import wave
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import SAMPLE_RATE
from stt_edge.providers import openai
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    HttpRequest,
    PartTimes,
    WordOffset,
)
from tests.simulators.speech import say

SPEECH = say([0, 1, 2])
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "text": " hello there ",
    "segments": [{"start": 0.0, "end": 1.0, "text": " hello there", "avg_logprob": 0.0}],
    "words": [
        {"word": " hello", "start": 0.0, "end": 0.5},
        {"word": "there", "start": 0.5, "end": 0.9},
    ],
}


def options(**known: Any) -> openai.Options:
    return openai.Options(**{"url": "http://localhost/v1", **known})


def asked(pcm: bytes = SPEECH, **known: Any) -> HttpRequest:
    """The one request that is made for an utterance."""
    protocol = openai.TranscriptionProtocol(options(**known))
    protocol.open()
    protocol.begin()
    for at in range(0, len(pcm), 3200):
        protocol.send_audio(pcm[at : at + 3200])
        assert not protocol.to_send()
    protocol.goodbye()
    (request,) = protocol.to_send()
    assert isinstance(request, HttpRequest)
    return request


def form(request: HttpRequest) -> list[tuple[str, Any]]:
    """The form, read by the standard library and not by us."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + request.body, policy=policy.HTTP)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def texts(request: HttpRequest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in form(request):
        if name != "file":
            found.setdefault(name, []).append(value.decode())
    return found


def recording(request: HttpRequest) -> bytes:
    with wave.open(io.BytesIO(dict(form(request))["file"])) as file:
        assert file.getparams()[:3] == (1, 2, SAMPLE_RATE)
        return file.readframes(file.getnframes())


def heard(body: Any, status: int = 200, *, headers: Any = None, **known: Any) -> list[Event]:
    protocol = openai.TranscriptionProtocol(options(**known))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(protocol.feed(HttpReply(status, headers or {}, data)))


def failure(body: Any, status: int, **headers: str) -> ProviderError:
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    (event,) = heard(body, status, headers=lower)
    assert isinstance(event, Failed)
    return event.failure


# --- what it asks ---


def test_an_utterance_is_one_wav_file_with_every_sample_in_it() -> None:
    request = asked()
    assert (request.method, request.path) == ("POST", "/audio/transcriptions")
    assert recording(request) == SPEECH


def test_a_recording_too_short_for_the_service_is_filled_up_with_silence() -> None:
    assert recording(asked(SPEECH[-640:])) == SPEECH[-640:] + bytes(3200 - 640)


def test_the_boundary_is_none_that_occurs_in_the_form() -> None:
    first = asked(prompt="x").headers["Content-Type"].partition("boundary=")[2]
    request = asked(prompt=f"--{first}--\r\n")
    assert texts(request)["prompt"] == [f"--{first}--\r\n"]
    assert recording(request) == SPEECH


def test_the_path_is_that_of_the_server() -> None:
    assert asked(path="/inference").path == "/inference"


def test_models_with_hints_are_told_languages_and_keywords() -> None:
    found = texts(asked(language="is", hotwords=("Hekla", "Katla"), prompt="Um fjöll."))
    assert found == {
        "model": ["gpt-transcribe"],
        "response_format": ["json"],
        "languages[]": ["is"],
        "keywords[]": ["Hekla", "Katla"],
        "prompt": ["Um fjöll."],
    }


def test_whisper_is_told_a_language_and_asked_for_times() -> None:
    found = texts(
        asked(model="whisper-1", language="th", temperature=0.2, form=("vad_filter=a=b",))
    )
    assert found == {
        "model": ["whisper-1"],
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": ["word", "segment"],
        "language": ["th"],
        "temperature": ["0.2"],
        "vad_filter": ["a=b"],
    }


def test_other_servers_are_told_hotwords_in_one_field() -> None:
    found = texts(asked(model="Systran/faster-whisper-small", hotwords=("Hekla", "Katla")))
    assert found["hotwords"] == ["Hekla, Katla"]


def test_a_second_goodbye_asks_nothing_more() -> None:
    protocol = openai.TranscriptionProtocol(options())
    protocol.begin()
    protocol.goodbye()
    assert not protocol.to_send()
    protocol.send_audio(SPEECH)
    protocol.goodbye()
    protocol.goodbye()
    assert len(protocol.to_send()) == 1


def test_more_than_a_file_may_have_is_the_utterances_own_fault() -> None:
    protocol = openai.TranscriptionProtocol(options())
    minute = bytes(32_000 * 60)
    for _ in range(13):
        protocol.send_audio(minute)
    with pytest.raises(ProviderError) as refused:
        protocol.send_audio(bytes(2))
    assert refused.value.kind is FailureKind.UTTERANCE


# --- what it makes of the answers ---


def test_json_is_a_final_without_times() -> None:
    body = {"text": " ætli það", "usage": {"type": "duration"}, "languages": [{"code": "is"}]}
    assert heard(body) == [Final("ætli það", language="is"), Farewell()]


def test_verbose_json_gives_words_with_their_times() -> None:
    words = (WordOffset("hello", 0, 8000), WordOffset("there", 8000, 14_400))
    final = Final("hello there", 0, 14_400, words, confidence=1.0)
    assert heard(VERBOSE, model="whisper-1") == [final, Farewell()]


def test_segments_alone_give_the_span() -> None:
    body = {**VERBOSE, "words": None}
    (final, _) = heard(body, model="whisper-1")
    assert isinstance(final, Final)
    assert (final.start, final.end, final.words) == (0, 16_000, ())


def test_pieces_of_words_are_joined() -> None:
    pieces = [
        {"word": " hel", "start": 0.0, "end": 0.25, "probability": 0.9},
        {"word": "lo", "start": 0.25, "end": 0.5, "probability": 0.8},
        {"word": " there", "start": 0.5, "end": 1.0, "probability": 0.7},
    ]
    body = {"text": " hello there", "segments": [{"start": 0, "end": 1, "words": pieces}]}
    (final, _) = heard(body, model="whisper-1")
    assert isinstance(final, Final)
    assert final.words == (WordOffset("hello", 0, 8000), WordOffset("there", 8000, 16_000))


def test_a_word_that_ends_before_it_begins_has_no_length() -> None:
    body = {"text": "hello", "words": [{"word": "hello", "start": 0.5, "end": 0.25}]}
    (final, _) = heard(body, model="whisper-1")
    assert isinstance(final, Final)
    assert final.words == (WordOffset("hello", 8000, 8000),)


def test_words_without_times_are_no_words() -> None:
    body = {"text": "hello", "words": [{"word": "hello"}]}
    assert heard(body, model="whisper-1") == [Final("hello"), Farewell()]


def test_text_is_taken_as_it_is() -> None:
    assert heard("ได้ยิน\n".encode(), response_format="text") == [Final("ได้ยิน"), Farewell()]


def test_nothing_said_is_the_end_without_a_final() -> None:
    assert heard({"text": " "}) == [Farewell()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"text": 1}',
        b'{"text": null}',
        b'{"no": "text"}',
        b'{"text": "a", "words": {}}',
        b'{"text": "a", "words": [{"word": "a", "start": -1, "end": 1e99}]}',
        b'{"text": "a", "segments": [1]}',
        b'{"text": "a", "languages": ["en"]}',
    ],
)
def test_nonsense_is_a_protocol_error(body: bytes) -> None:
    (event,) = heard(body)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL


def test_a_message_that_is_no_reply_is_a_protocol_error() -> None:
    (event,) = openai.TranscriptionProtocol(options()).feed("hello")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "unsupported_value", FailureKind.REQUEST),
        (401, "invalid_api_key", FailureKind.DENIED),
        (402, None, FailureKind.DENIED),
        (403, None, FailureKind.DENIED),
        (404, "model_not_found", FailureKind.REQUEST),
        (408, None, FailureKind.TIMEOUT),
        (409, None, FailureKind.SERVER),
        (413, None, FailureKind.UTTERANCE),
        (415, None, FailureKind.REQUEST),
        (422, None, FailureKind.REQUEST),
        (429, "rate_limit_exceeded", FailureKind.OVERLOADED),
        (429, None, FailureKind.OVERLOADED),
        (429, "insufficient_quota", FailureKind.DENIED),
        (499, None, FailureKind.SERVER),
        (500, None, FailureKind.SERVER),
        (503, None, FailureKind.SERVER),
    ],
)
def test_a_refusal_is_what_its_status_and_code_say(
    status: int, code: str | None, kind: FailureKind
) -> None:
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": code}
    refused = failure({"error": error}, status)
    assert refused.kind is kind
    assert refused.code == (code or str(status))
    assert "No." in refused.message


def test_an_exhausted_quota_says_what_to_do() -> None:
    refused = failure({"error": {"message": "m", "code": "insufficient_quota"}}, 429)
    assert "billing" in refused.remedy


def test_the_wait_a_server_asks_for_is_kept() -> None:
    assert failure({"error": {"message": "slow"}}, 429, retry_after="7").retry_after_s == 7
    milliseconds = failure({}, 429, retry_after="7", retry_after_ms="1500")
    assert milliseconds.retry_after_s == 1.5


@pytest.mark.parametrize("body", [{"error": "bad file"}, b"bad file", b'{"error": ["bad file"]}'])
def test_errors_of_other_shapes_are_understood(body: Any) -> None:
    refused = failure(body, 400)
    assert refused.kind is FailureKind.REQUEST
    assert "bad file" in refused.message


def test_an_end_without_an_answer_is_a_loss() -> None:
    (event,) = openai.TranscriptionProtocol(options()).closed(None, "")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.LOST


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
mutated = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(VERBOSE, json_values),
        "error": json_values,
        "languages": json_values,
    },
).map(lambda changed: json.dumps({**VERBOSE, **changed}).encode())


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=200)
    | mutated
    | json_values.map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from([200, 201, 302, 400, 404, 429, 500]),
    retry_after=st.text(max_size=8),
    reply_format=st.sampled_from(["json", "verbose_json", "text"]),
)
def test_whatever_is_answered_only_events_come_out(
    body: bytes, status: int, retry_after: str, reply_format: str
) -> None:
    protocol = openai.TranscriptionProtocol(options(response_format=reply_format))
    events = protocol.feed(HttpReply(status, {"retry-after": retry_after}, body))
    assert events
    for event in events:
        assert isinstance(event, Final | Farewell | Failed)
        if isinstance(event, Final):
            assert all(0 <= word.start <= word.end for word in event.words)
            assert event.confidence is None or 0 <= event.confidence <= 1


# --- options ---


def problems(**known: Any) -> set[str]:
    return {key for key, _ in openai.Options(**known).problems()}


def test_a_key_is_needed_at_openai_and_not_at_a_server_of_ones_own() -> None:
    assert problems() == {"api_key_file"}
    assert not problems(url="http://kitchen:8000/v1")


def test_options_that_cannot_be_sent_are_named() -> None:
    wrong = {"hotwords": ("a<b",), "path": "inference", "form": ("novalue",)}
    assert problems(url="http://x", **wrong) == {"hotwords", "path", "form"}


def test_capabilities_follow_from_the_format() -> None:
    plain = openai.build("o", options()).capabilities
    assert (plain.part_times, plain.confidence) == (PartTimes.NONE, False)
    assert (plain.billing, plain.finalize, plain.partials) == (Billing.AUDIO, False, False)
    timed = openai.build("o", options(model="whisper-1", minimum_billed_s=10.0)).capabilities
    assert (timed.part_times, timed.confidence) == (PartTimes.WORDS, True)
    assert timed.minimum_billed_s == 10
