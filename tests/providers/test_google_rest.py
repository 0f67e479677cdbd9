"""The protocol of google_rest without a network: what is asked, when, and what answers mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import google_rest
from stt_edge.providers.base import (
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    HttpRequest,
    PartTimes,
    Submitted,
    WordOffset,
)
from stt_edge.providers.google_rest import GoogleRestProtocol, Options

NAME = "7612202767953098924"
PCM = bytes(range(256)) * 125


def protocol(**options: Any) -> GoogleRestProtocol:
    return GoogleRestProtocol(Options(api_key_file="key", **options))


def reply(body: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, {}, json.dumps(body).encode())


def asked(protocol: GoogleRestProtocol) -> HttpRequest:
    (request,) = protocol.to_send()
    assert isinstance(request, HttpRequest)
    return request


def submitted(**options: Any) -> GoogleRestProtocol:
    """A protocol whose job has been taken; its first question is queued."""
    speaking = protocol(**options)
    speaking.begin()
    speaking.send_audio(PCM)
    speaking.goodbye()
    speaking.to_send()
    assert speaking.feed(reply({"name": NAME})) == [Submitted(NAME)]
    return speaking


def done(results: list[Any]) -> dict[str, Any]:
    return {"name": NAME, "done": True, "response": {"results": results}}


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"alternatives": [{"transcript": text, **more}]}


def failure(events: Sequence[Event]) -> ProviderError:
    (event,) = events
    assert isinstance(event, Failed)
    return event.failure


def test_the_utterance_is_sent_whole_at_the_goodbye_and_never_before() -> None:
    speaking = protocol()
    speaking.open()
    speaking.begin()
    speaking.send_audio(PCM[:640])
    speaking.send_audio(PCM[640:])
    assert speaking.to_send() == []
    speaking.goodbye()
    request = asked(speaking)
    assert (request.method, request.path) == ("POST", "/v1/speech:longrunningrecognize")
    assert "key" not in request.path.replace("speech", "")
    body = json.loads(request.body)
    assert base64.b64decode(body["audio"]["content"]) == PCM
    assert body["config"]["languageCode"] == "en-US"
    assert "model" not in body["config"]


def test_a_job_is_asked_for_ever_more_slowly() -> None:
    speaking = submitted()
    delays = []
    for _ in range(10):
        request = asked(speaking)
        assert (request.method, request.path) == ("GET", f"/v1/operations/{NAME}")
        delays.append(request.delay_s)
        assert speaking.feed(reply({"name": NAME, "metadata": {"progressPercent": 34}})) == []
    assert delays[:3] == [1.0, 1.5, 2.25]
    assert delays[-2:] == [20.0, 20.0]


def test_a_job_is_resumed_at_once_and_by_its_name_alone() -> None:
    speaking = protocol()
    speaking.begin()
    speaking.resume(NAME)
    assert asked(speaking) == HttpRequest("GET", f"/v1/operations/{NAME}", {}, b"", 0.0)
    events = speaking.feed(reply(done([result("hello")])))
    assert events == [Final("hello", start=0), Farewell()]


def test_a_stored_name_cannot_lead_elsewhere() -> None:
    speaking = protocol()
    speaking.resume("../../v2/x?y=1")
    assert asked(speaking).path == "/v1/operations/..%2F..%2Fv2%2Fx%3Fy%3D1"


def test_results_become_one_final_with_the_times_of_its_words() -> None:
    speaking = submitted()
    first = {"startTime": "0s", "endTime": "0.500s", "word": "hello", "confidence": 0.96}
    second = {"startTime": "0.500s", "endTime": "1.1s", "word": "world"}
    results = [
        {**result("hello", confidence=0.9, words=[first]), "resultEndTime": "0.6s"},
        {"alternatives": []},
        {
            **result(" world", confidence=0.6, words=[second]),
            "resultEndTime": "1.200s",
            "languageCode": "en-us",
        },
    ]
    final, farewell = speaking.feed(reply(done(results)))
    assert farewell == Farewell()
    assert isinstance(final, Final)
    assert (final.text, final.start, final.end) == ("hello world", 0, 19_200)
    assert final.words == (
        WordOffset("hello", 0, 8_000, 0.96),
        WordOffset("world", 8_000, 17_600, None),
    )
    assert final.confidence == pytest.approx((0.9 * 5 + 0.6 * 6) / 11)


def test_a_language_has_the_spelling_of_the_configuration() -> None:
    speaking = submitted(language="is-IS", alternative_languages=("en-GB",))
    results = [{**result("hi"), "languageCode": "en-gb"}]
    (final, _) = speaking.feed(reply(done(results)))
    assert isinstance(final, Final)
    assert final.language == "en-GB"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": 4711},
        {"name": "a/b"},
        {"name": "another"},
        {"name": NAME, "done": True},
        {"name": NAME, "done": True, "error": {"code": 3}, "response": {}},
        done([{**result("x"), "resultEndTime": "1.2"}]),
        done([{**result("x"), "resultEndTime": "-1s"}]),
        done([{**result("x"), "resultEndTime": "999999999999s"}]),
        done([result("x", confidence="high")]),
        [],
    ],
)
def test_what_is_no_answer_is_an_error_of_the_protocol(body: Any) -> None:
    assert failure(submitted().feed(reply(body))).kind is FailureKind.PROTOCOL


def test_an_answer_that_nobody_asked_for_is_an_error_of_the_protocol() -> None:
    assert failure(protocol().feed(reply({}))).kind is FailureKind.PROTOCOL
    assert failure(submitted().feed("text")).kind is FailureKind.PROTOCOL


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (400, "API_KEY_INVALID", "API key not valid.", FailureKind.DENIED),
        (400, "", "Invalid recognition 'config': bad language", FailureKind.REQUEST),
        (400, "", "Inline audio exceeds duration limit.", FailureKind.UTTERANCE),
        (403, "SERVICE_DISABLED", "Enable it.", FailureKind.DENIED),
        (404, "", "Requested entity was not found.", FailureKind.REQUEST),
        (429, "", "Quota exceeded", FailureKind.OVERLOADED),
        (504, "", "Deadline expired", FailureKind.SERVER),
    ],
)
def test_refusals_are_told_apart_by_status_and_reason(
    status: int, reason: str, message: str, kind: FailureKind
) -> None:
    error: dict[str, Any] = {"code": status, "message": message, "status": "SOME_STATUS"}
    if reason:
        error["details"] = [{"reason": reason}]
    failed = failure(submitted().feed(reply({"error": error}, status)))
    assert failed.kind is kind
    assert message in str(failed)


def test_a_page_of_html_is_a_refusal_too() -> None:
    failed = failure(submitted().feed(HttpReply(502, {}, b"<html>Bad \xff gateway</html>")))
    assert failed.kind is FailureKind.SERVER
    assert "gateway" in str(failed)


def test_no_more_is_kept_than_a_request_may_carry() -> None:
    speaking = protocol()
    speaking.begin()
    for _ in range(60):
        speaking.send_audio(bytes(32_000))
    with pytest.raises(ProviderError) as caught:
        speaking.send_audio(bytes(2))
    assert caught.value.kind is FailureKind.UTTERANCE


def test_the_end_of_the_connection_is_a_farewell_only_after_the_answer() -> None:
    speaking = submitted()
    (lost,) = speaking.closed(None, "")
    assert isinstance(lost, Failed)
    assert lost.failure.kind is FailureKind.LOST
    speaking.feed(reply(done([])))
    assert speaking.closed(None, "") == (Farewell(),)


def test_what_it_can_do_follows_from_the_options(tmp_path: Path) -> None:
    options = Options(api_key_file=str(tmp_path / "key"), max_connections=9, price_per_hour=1.44)
    provider = google_rest.build("mine", options)
    able = provider.capabilities
    assert (able.resumable, able.max_utterance_s, able.max_connections) == (True, 60, 9)
    assert (able.partials, able.part_times) == (False, PartTimes.WORDS)
    assert (provider.price_per_hour, provider.watched) == (1.44, (str(tmp_path / "key"),))
    at_once = Options(api_key_file=str(tmp_path / "key"), method="recognize")
    assert not google_rest.build("mine", at_once).capabilities.resumable


def test_mistakes_in_the_options_are_found() -> None:
    options = Options(
        api_key_file="a",
        credentials_file="b",
        language="",
        alternative_languages=("a", "b", "c", "d"),
        phrases_boost=1.0,
    )
    assert [key for key, _ in options.problems()] == [
        "credentials_file",
        "language",
        "alternative_languages",
        "phrases_boost",
    ]
    assert list(Options(api_key_file="a").problems()) == []


KEYS = ("name", "done", "error", "response", "metadata", "results", "alternatives", "words")
KEYS += ("transcript", "startTime", "endTime", "resultEndTime", "confidence", "code", "message")
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
leaves |= st.sampled_from([NAME, "1.5s", "1s", "x s", "1e9s"])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=25,
)
bodies = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode())
replies = st.builds(HttpReply, st.sampled_from([200, 200, 400, 404, 503]), body=bodies)


@given(st.lists(replies | st.text(max_size=20) | st.binary(max_size=20), max_size=6))
def test_whatever_is_received_only_events_come_out(messages: list[Any]) -> None:
    speaking = submitted()
    for message in messages:
        for event in (*speaking.feed(message), *speaking.closed(None, "x")):
            assert isinstance(event, Final | Farewell | Failed | Submitted)
        assert len(speaking.to_send()) <= 1


@given(values)
def test_a_response_of_any_shape_is_read_or_refused(junk: Any) -> None:
    events = submitted().feed(reply(done([{"alternatives": [junk]}])))
    assert events
    assert all(isinstance(event, Final | Farewell | Failed) for event in events)
