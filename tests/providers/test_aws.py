"""The AWS provider without a network: its protocol, its options, and what failures mean to it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.config.schema import problems_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import aws, registry
from stt_edge.providers.aws_event_stream import decode, encode
from stt_edge.providers.aws_failures import FailureReader
from stt_edge.providers.aws_signing import Credentials
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    Pacing,
    Partial,
    PartTimes,
    WordOffset,
)

EVENT = {
    ":message-type": "event",
    ":event-type": "TranscriptEvent",
    ":content-type": "application/json",
}
PUBLISHED = (
    '{"Transcript":{"Results":[{"Alternatives":[{"Items":[{"Confidence":0.98,"Content":"hello",'
    '"EndTime":0.56,"StartTime":0.03,"Type":"pronunciation","VocabularyFilterMatch":false,'
    '"Stable":true}],"Transcript":"Hello.","Entities":[]}],"EndTime":0.61,"IsPartial":false,'
    '"ResultId":"uuid","StartTime":0.03,"ChannelId":"ch_0","LanguageCode":"en-US"}]}}'
)


def protocol(language: str | None = "en-US", model: str | None = None) -> aws.AwsProtocol:
    return aws.AwsProtocol(FailureReader(Credentials(None, "/key")), model=model, language=language)


def told(*results: dict[str, Any]) -> bytes:
    return encode(EVENT, json.dumps({"Transcript": {"Results": results}}).encode())


def item(content: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    kind = {"Type": "pronunciation"}
    return {"Content": content, "StartTime": start, "EndTime": end} | kind | more


def result(
    text: str, *items: dict[str, Any], partial: bool = False, name: str = "r1"
) -> dict[str, Any]:
    return {
        "Alternatives": [{"Transcript": text, "Items": list(items)}],
        "StartTime": items[0]["StartTime"] if items else 0.0,
        "EndTime": items[-1]["EndTime"] if items else 0.0,
        "IsPartial": partial,
        "ResultId": name,
    }


def failure(events: Any) -> ProviderError:
    (failed,) = events
    assert isinstance(failed, Failed)
    return failed.failure


# What is sent


def test_audio_goes_out_in_audio_events_and_the_goodbye_is_one_without_audio() -> None:
    spoken = protocol()
    spoken.open()
    spoken.begin()
    assert list(spoken.to_send()) == []
    spoken.send_audio(b"\1\2" * 1600)
    spoken.goodbye()
    spoken.goodbye()
    sent = [decode(message) for message in spoken.to_send() if isinstance(message, bytes)]
    assert [message.payload for message in sent] == [b"\1\2" * 1600, b""]
    assert {message.text(":event-type") for message in sent} == {"AudioEvent"}
    assert list(spoken.to_send()) == []


# What is heard


def test_the_published_example_is_a_final_in_samples() -> None:
    spoken = protocol("de-DE", "my-model")
    spoken.begin()
    (final,) = spoken.feed(encode(EVENT, PUBLISHED.encode()))
    assert final == Final(
        "Hello.",
        480,
        9760,
        (WordOffset("hello", 480, 8960, 0.98),),
        confidence=0.98,
        language="en-US",
        model="my-model",
        item_id="uuid",
    )


def test_results_are_often_empty_and_then_mean_nothing() -> None:
    spoken = protocol()
    spoken.begin()
    for body in ('{"Transcript":{"Results":[]}}', '{"Transcript":null}', "{}"):
        assert spoken.feed(encode(EVENT, body.encode())) == []
    later = {":message-type": "event", ":event-type": "SomethingNewEvent"}
    assert spoken.feed(encode(later, b"\xff")) == []


def test_a_partial_is_replaced_by_the_next_and_by_its_final() -> None:
    spoken = protocol()
    spoken.begin()
    one, two = item("one", 0.1, 0.3), item("two", 0.4, 0.6)
    (first,) = spoken.feed(told(result("one", one, partial=True)))
    assert first == Partial("one", 4800, (WordOffset("one", 1600, 4800),))
    (second,) = spoken.feed(told(result("one two", one, two, partial=True)))
    assert isinstance(second, Partial)
    assert second.text == "one two"
    (final,) = spoken.feed(told(result("One two.", one, two)))
    assert isinstance(final, Final)
    assert final.confidence is None
    assert final.language == "en-US"


def test_a_partial_is_all_that_is_not_final_even_in_several_segments() -> None:
    spoken = protocol()
    spoken.begin()
    old = result("old", item("old", 0.0, 0.2), partial=True, name="a")
    new = result("new", item("new", 0.3, 0.5), partial=True, name="b")
    assert [event.text for event in spoken.feed(told(old)) if isinstance(event, Partial)] == ["old"]
    (both,) = spoken.feed(told(new))
    assert isinstance(both, Partial)
    assert (both.text, both.end) == ("old new", 8000)
    final, left = spoken.feed(told(old | {"IsPartial": False}))
    assert isinstance(final, Final)
    assert isinstance(left, Partial)
    assert left.text == "new"


def test_times_count_from_begin_and_not_from_the_start_of_the_stream() -> None:
    spoken = protocol()
    spoken.begin()
    spoken.send_audio(bytes(2 * 16_000))
    spoken.begin()
    (final,) = spoken.feed(told(result("here", item("here", 0.9, 1.5))))
    assert isinstance(final, Final)
    assert (final.start, final.end) == (0, 8000)
    assert final.words == (WordOffset("here", 0, 8000),)


def test_what_was_left_of_one_utterance_is_no_part_of_the_next() -> None:
    spoken = protocol()
    spoken.begin()
    spoken.feed(told(result("old", item("old", 0.0, 0.2), partial=True, name="a")))
    spoken.begin()
    (event,) = spoken.feed(told(result("new", item("new", 0.3, 0.5), partial=True, name="b")))
    assert isinstance(event, Partial)
    assert event.text == "new"


def test_a_word_never_ends_before_it_starts() -> None:
    spoken = protocol()
    spoken.begin()
    (final,) = spoken.feed(told(result("x", item("x", 0.5, 0.4))))
    assert isinstance(final, Final)
    assert final.words == (WordOffset("x", 8000, 8000),)


def test_words_carry_their_punctuation_so_that_they_join_to_the_text() -> None:
    spoken = protocol()
    spoken.begin()
    mark = {"Type": "PUNCTUATION", "Confidence": 0.0}
    text = "¿Sí? No, no."
    items = [
        item("¿", 0.0, 0.0, **mark),
        item("Sí", 0.0, 0.2, Confidence=0.5),
        item("?", 0.2, 0.2, **mark),
        item("No", 0.3, 0.4, Confidence=0.7),
        item(",", 0.4, 0.4, **mark),
        item("no", 0.5, 0.6, Confidence=0.9),
        item(".", 0.6, 0.6, **mark),
    ]
    (final,) = spoken.feed(told(result(text, *items)))
    assert isinstance(final, Final)
    assert " ".join(word.text for word in final.words) == text
    assert final.confidence == pytest.approx(0.7)


@pytest.mark.parametrize(
    "message",
    [
        "a text",
        HttpReply(200),
        b"",
        encode({}, b""),
        encode({":message-type": "greeting"}, b""),
        encode(EVENT, b"\xff\xfe"),
        encode(EVENT, b"[]"),
        encode(EVENT, b'{"Transcript":{"Results":[{"Alternatives":7}]}}'),
        encode(EVENT, b'{"Transcript":{"Results":[{"IsPartial":"yes"}]}}'),
        told(result("x", item("x", -1.0, 0.5))),
        told(result("x", item("x", 1e9, 2e9))),
        told(result("x", item("x", 0.0, 0.5, Confidence=7))),
        encode(
            EVENT, b'{"Transcript":{"Results":[{"Alternatives":[{"Items":[{"Content":"x"}]}]}]}}'
        ),
    ],
)
def test_nonsense_is_a_protocol_error_that_repeats_no_words(message: Any) -> None:
    spoken = protocol()
    spoken.begin()
    assert failure(spoken.feed(message)).kind is FailureKind.PROTOCOL


# The end


def test_the_end_after_a_goodbye_is_the_farewell() -> None:
    for code in (1000, 1005):
        spoken = protocol()
        spoken.begin()
        spoken.goodbye()
        assert list(spoken.closed(code, "")) == [Farewell()]


def test_a_partial_whose_final_never_came_is_kept_when_the_end_was_clean() -> None:
    spoken = protocol()
    spoken.begin()
    spoken.feed(told(result("left over", item("left", 0.0, 0.2), partial=True)))
    spoken.goodbye()
    final, farewell = spoken.closed(1000, "")
    assert isinstance(final, Final)
    assert (final.text, final.end) == ("left over", 3200)
    assert farewell == Farewell()


@pytest.mark.parametrize(
    ("goodbye", "code", "kind"),
    [
        (False, 1000, FailureKind.LOST),
        (False, 1006, FailureKind.LOST),
        (True, 1006, FailureKind.LOST),
        (True, 1011, FailureKind.SERVER),
        (True, None, FailureKind.LOST),
    ],
)
def test_any_other_end_is_a_failure(goodbye: bool, code: int | None, kind: FailureKind) -> None:
    spoken = protocol()
    spoken.begin()
    if goodbye:
        spoken.goodbye()
    assert failure(spoken.closed(code, "why")).kind is kind


# Failures


def exception(name: str, payload: bytes) -> bytes:
    return encode({":message-type": "exception", ":exception-type": name}, payload)


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("BadRequestException", "The sample rate is wrong.", FailureKind.REQUEST),
        (
            "BadRequestException",
            "Your request timed out because no new audio was received for 15 seconds.",
            FailureKind.LOST,
        ),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier", FailureKind.CLOCK),
        ("AccessDeniedException", "Signature not yet current: 1", FailureKind.CLOCK),
        ("RequestTimeTooSkewed", "", FailureKind.CLOCK),
        ("BadRequestException", "The audio is skewed.", FailureKind.REQUEST),
        ("UnrecognizedClientException", "The security token is invalid.", FailureKind.DENIED),
        ("LimitExceededException", "", FailureKind.OVERLOADED),
        ("SomethingNewException", "", FailureKind.SERVER),
        ("", "", FailureKind.SERVER),
    ],
)
def test_exceptions_are_judged_by_name_and_message(
    name: str, message: str, kind: FailureKind
) -> None:
    for key in ("Message", "message"):
        said = json.dumps({key: message}).encode()
        assert failure(protocol().feed(exception(name, said))).kind is kind


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b'{"Message":7}'])
def test_an_exception_whose_message_cannot_be_read_is_judged_by_its_name(payload: bytes) -> None:
    found = failure(protocol().feed(exception("AccessDeniedException", payload)))
    assert found.kind is FailureKind.DENIED
    assert "transcribe:StartStreamTranscriptionWebSocket" in found.remedy


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-amzn-errortype": "ThrottlingException:http://x"}, b""),
        ({}, b'{"__type":"com.amazon.coral#ThrottlingException","message":"slow down"}'),
    ],
)
def test_a_refusal_is_named_in_a_header_or_in_its_body(
    headers: dict[str, str], body: bytes
) -> None:
    reader = FailureReader(Credentials(None, "/key"))
    found = reader.refusal(HttpReply(400, headers | {"retry-after": "7"}, body))
    assert (found.kind, found.code, found.retry_after_s) == (
        FailureKind.OVERLOADED,
        "Throttling",
        7,
    )


# Whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("Transcript", "Results", "Alternatives", "Items", "Content", "Type"),
                    *("StartTime", "EndTime", "IsPartial", "ResultId", "Confidence", "Message"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
TYPES = st.sampled_from(["event", "exception", "error", "?"])


def framed(kind: str, said: Any) -> bytes:
    """A message whose frame is right and whose content is anything."""
    body = said if isinstance(said, dict) else {"Transcript": said}
    headers = {":message-type": kind, ":event-type": "TranscriptEvent"}
    return encode(headers, json.dumps(body).encode())


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=20) | st.tuples(TYPES, JSON), max_size=8))
def test_whatever_comes_only_events_go_out_and_memory_stays_bounded(messages: list[Any]) -> None:
    spoken = protocol()
    spoken.begin()
    for message in messages:
        for event in spoken.feed(framed(*message) if isinstance(message, tuple) else message):
            assert isinstance(event, Event)
    assert all(isinstance(event, Event) for event in spoken.closed(None, "\ud800"))
    assert not spoken.to_send()


def test_segments_that_never_become_final_do_not_pile_up() -> None:
    spoken = protocol()
    spoken.begin()
    for number in range(1000):
        spoken.feed(told(result(f"w{number}", partial=True, name=str(number))))
    assert len(spoken._open) <= 8


# Options and what is built from them


@pytest.mark.parametrize(
    ("given_options", "key"),
    [
        ({"region": "eu west"}, "region"),
        ({"language": "en"}, "language"),
        ({"language_options": ("de-DE", "en-US")}, "language_options"),
        ({"identify_language": True}, "language_options"),
        (
            {
                "identify_language": True,
                "identify_multiple_languages": True,
                "language_options": ("de-DE", "en-US"),
            },
            "identify_multiple_languages",
        ),
        (
            {
                "identify_language": True,
                "language": "de-DE",
                "language_options": ("de-DE", "en-US"),
            },
            "language",
        ),
        ({"preferred_language": "fr-FR"}, "preferred_language"),
        ({"pii_entity_types": ("NAME",)}, "pii_entity_types"),
    ],
)
def test_options_that_contradict_one_another_are_told_apart(
    given_options: dict[str, Any], key: str
) -> None:
    assert [name for name, _ in problems_of(aws.Options(**given_options))] == [key]


def test_the_defaults_ask_for_american_english_and_are_no_problem() -> None:
    assert list(problems_of(aws.Options())) == []
    assert aws.Options().parameters() == {
        "language-code": "en-US",
        "media-encoding": "pcm",
        "sample-rate": "16000",
    }


def test_the_provider_says_how_it_wants_to_be_treated(tmp_path: Path) -> None:
    pytest.importorskip("botocore", reason="without it there is no provider")
    options = aws.Options(
        region="eu-west-1",
        credentials_file=str(tmp_path / "key"),
        rate=2.0,
        max_connections=5,
        price_per_hour=1.44,
    )
    provider = registry.build("work", "aws", options)
    capabilities = provider.capabilities
    assert (capabilities.billing, capabilities.minimum_billed_s) == (Billing.AUDIO, 15)
    assert capabilities.part_times is PartTimes.WORDS
    assert not capabilities.finalize
    assert not capabilities.ready_message
    assert (capabilities.pacing, capabilities.max_connections) == (Pacing(2.0, 1.0), 5)
    assert (provider.language, provider.price_per_hour) == ("en-US", 1.44)
    assert provider.make_transport()._pings is False  # type: ignore[attr-defined]
    assert provider.watched == (str(tmp_path / "key"),)


def test_without_botocore_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProviderError, match="botocore") as caught:
        aws.build("aws", aws.Options())
    assert caught.value.kind is FailureKind.SETUP
    assert 'pip install "stt-edge[aws]"' in caught.value.remedy


def test_botocore_is_not_loaded_before_the_first_connection() -> None:
    pytest.importorskip("botocore", reason="without it there is no provider")
    import subprocess
    import sys

    script = (
        "import sys; from stt_edge.providers import aws; aws.build('a', aws.Options()); "
        "sys.exit('botocore' in sys.modules or 'websockets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
