from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.config.schema import keys_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import deepgram
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    HttpReply,
    Partial,
    PartTimes,
    WordOffset,
)
from stt_edge.providers.deepgram import Options, build
from stt_edge.providers.deepgram_listen import ListenProtocol

SECOND = 32_000
"""Bytes in a second of audio."""
HELLO = {"word": "hello", "start": 0.1, "end": 0.5, "confidence": 0.98, "punctuated_word": "Hello"}


def results(
    *words: dict[str, Any],
    start: float = 0.0,
    duration: float = 1.0,
    languages: list[str] | None = None,
    **flags: bool,
) -> str:
    text = " ".join(word.get("punctuated_word", word["word"]) for word in words)
    heard: dict[str, Any] = {"transcript": text, "confidence": 0.99, "words": list(words)}
    if languages is not None:
        heard["languages"] = languages
    return json.dumps(
        {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": duration,
            "is_final": False,
            "speech_final": False,
            **flags,
            "channel": {"alternatives": [heard]},
            "metadata": {"request_id": "r1"},
        }
    )


def final(*words: dict[str, Any], start: float = 0.0, duration: float = 1.0, **flags: Any) -> str:
    return results(*words, start=start, duration=duration, is_final=True, **flags)


def speaking(seconds: float = 2) -> ListenProtocol:
    """A connection on which an utterance is under way."""
    protocol = ListenProtocol()
    protocol.open()
    protocol.begin()
    protocol.send_audio(bytes(int(seconds * SECOND)))
    protocol.to_send()
    return protocol


def control(protocol: ListenProtocol) -> list[str]:
    """Return the types of what is queued; control messages are text."""
    return [json.loads(str(message))["type"] for message in protocol.to_send()]


def failure(events: Any) -> ProviderError:
    assert isinstance(events[-1], Failed)
    return events[-1].failure


def test_control_messages_are_text_and_audio_is_binary() -> None:
    protocol = ListenProtocol()
    protocol.begin()
    protocol.send_audio(b"\1\2")
    assert protocol.to_send() == [b"\1\2"]
    protocol.finalize()
    protocol.keep_alive()
    protocol.goodbye()
    assert control(protocol) == ["Finalize", "KeepAlive", "CloseStream"]


def test_an_empty_message_which_would_end_the_session_is_never_sent() -> None:
    protocol = ListenProtocol()
    protocol.begin()
    protocol.send_audio(b"")
    assert protocol.to_send() == []


def test_there_is_nothing_to_keep_alive_before_the_first_audio() -> None:
    protocol = ListenProtocol()
    protocol.keep_alive()
    assert protocol.to_send() == []


def test_an_interim_result_is_a_partial_and_a_settled_one_a_final() -> None:
    protocol = speaking()
    words = (WordOffset("Hello", 1600, 8000, 0.98),)
    assert protocol.feed(results(HELLO)) == [Partial("Hello", 16_000, words)]
    assert protocol.feed(final(HELLO, languages=["is"])) == [
        Final("Hello", 0, 16_000, words, 0.99, "is", None, "r1:0.0")
    ]


def test_an_utterance_may_have_several_finals_whether_speech_has_ended_or_not() -> None:
    protocol = speaking()
    later = HELLO | {"start": 1.1, "end": 1.5}
    (first,) = protocol.feed(final(HELLO))
    (second,) = protocol.feed(final(later, start=1.0, speech_final=True))
    assert isinstance(first, Final)
    assert isinstance(second, Final)
    assert (first.end, second.start) == (16_000, 16_000)
    assert first.item_id != second.item_id


def test_an_empty_final_takes_the_partial_back_and_is_none() -> None:
    protocol = speaking()
    protocol.feed(results(HELLO))
    assert protocol.feed(final()) == [Partial("", 16_000)]
    protocol.goodbye()
    assert protocol.closed(1000, "") == (Farewell(),)


def test_the_answer_to_finalize_is_the_end_of_the_utterance() -> None:
    protocol = speaking()
    protocol.finalize()
    said, done = protocol.feed(final(HELLO, duration=1.5, from_finalize=True))
    assert isinstance(said, Final)
    assert done == Finalized()
    assert protocol.feed(final(start=1.5, duration=0, from_finalize=True)) == [Partial("", 24_000)]


def test_an_answer_to_finalize_that_nobody_asked_for_is_none() -> None:
    assert Finalized() not in speaking().feed(final(HELLO, duration=2.0, from_finalize=True))


def test_a_final_that_settles_all_audio_ends_the_utterance_even_if_it_does_not_say_so() -> None:
    protocol = speaking()
    protocol.finalize()
    assert Finalized() not in protocol.feed(final(HELLO))
    assert Finalized() not in protocol.feed(results(HELLO, start=1.0))
    assert protocol.feed(final(HELLO | {"start": 1.1, "end": 1.5}, start=1.0))[-1] == Finalized()


def test_times_of_the_next_utterance_count_from_its_own_first_sample() -> None:
    protocol = speaking()
    protocol.begin()
    protocol.send_audio(bytes(SECOND))
    (said,) = protocol.feed(final(HELLO | {"start": 2.1, "end": 2.5}, start=2.0))
    assert isinstance(said, Final)
    assert (said.start, said.end) == (0, 16_000)
    assert said.words == (WordOffset("Hello", 1600, 8000, 0.98),)


def test_what_still_comes_of_the_utterance_before_is_passed_over() -> None:
    protocol = speaking()
    protocol.begin()
    protocol.send_audio(bytes(SECOND))
    assert protocol.feed(final(HELLO)) == []
    old = HELLO | {"start": 1.2, "end": 1.6}
    new = {"word": "you", "start": 2.1, "end": 2.5}
    (said,) = protocol.feed(final(old, new, start=1.0, duration=2))
    assert isinstance(said, Final)
    assert (said.text, said.start) == ("you", 0)
    assert [word.text for word in said.words] == ["you"]


def test_metadata_confirms_the_goodbye_and_nothing_else() -> None:
    protocol = speaking()
    assert protocol.feed('{"type":"Metadata"}') == []
    protocol.goodbye()
    assert protocol.feed('{"type":"Metadata"}') == [Farewell()]


@pytest.mark.parametrize(
    ("code", "parted", "unsettled", "clean"),
    [
        (1000, True, False, True),
        (1005, True, False, True),
        (1000, True, True, False),
        (1006, True, False, False),
        (1000, False, False, False),
    ],
)
def test_a_close_is_a_farewell_only_after_the_goodbye_and_with_all_settled(
    code: int, parted: bool, unsettled: bool, clean: bool
) -> None:
    protocol = speaking()
    if unsettled:
        protocol.feed(results(HELLO))
    if parted:
        protocol.goodbye()
    events = protocol.closed(code, "")
    if clean:
        assert events == (Farewell(),)
    else:
        assert failure(events).kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1008, "DATA-0000: cannot be decoded as audio", FailureKind.REQUEST),
        (1011, "NET-0000: no text frame in time", FailureKind.SERVER),
        (1011, "NET-0001: received nothing", FailureKind.LOST),
        (1011, "", FailureKind.SERVER),
        (1006, "", FailureKind.LOST),
        (1013, "", FailureKind.OVERLOADED),
    ],
)
def test_a_close_is_understood_by_its_code_and_its_reason(
    code: int, reason: str, kind: FailureKind
) -> None:
    assert failure(speaking().closed(code, reason)).kind is kind


def test_an_error_message_is_a_failure_of_the_service() -> None:
    told = failure(speaking().feed('{"type":"Error","description":"went wrong","code":"X1"}'))
    assert told.kind is FailureKind.SERVER
    assert "X1 went wrong" in str(told)


@pytest.mark.parametrize("kind", ["UtteranceEnd", "SpeechStarted", "Novelty"])
def test_messages_that_say_nothing_of_the_text_are_passed_over(kind: str) -> None:
    assert speaking().feed(json.dumps({"type": kind, "last_word_end": -1})) == []


# Whatever comes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=6,
)
TIMES = st.floats(-1, 5) | VALUES
WORDS = st.lists(
    st.fixed_dictionaries({"word": st.text(max_size=4), "start": TIMES, "end": TIMES}), max_size=3
)
ALTERNATIVE = st.fixed_dictionaries(
    {"transcript": st.text(max_size=9) | VALUES, "words": WORDS | VALUES},
    optional={"confidence": VALUES, "languages": VALUES | st.just(["en"])},
)
CHANNEL = st.fixed_dictionaries({"alternatives": st.lists(ALTERNATIVE, max_size=2)})
BODIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["Results", "Results", "Metadata", "Error", "UtteranceEnd"])},
    optional={
        "start": TIMES,
        "duration": TIMES,
        "is_final": st.booleans() | VALUES,
        "from_finalize": st.booleans() | VALUES,
        "channel": st.fixed_dictionaries({"alternatives": st.lists(ALTERNATIVE, max_size=2)})
        | VALUES,
        "metadata": VALUES | st.just({"request_id": "r"}),
        "message": VALUES,
    },
).map(json.dumps)


@given(
    st.lists(BODIES | st.text(max_size=30) | st.binary(max_size=30) | st.just(HttpReply(200))),
    st.booleans(),
    st.none() | st.integers(),
    st.text(max_size=20),
)
def test_whatever_comes_is_an_event_or_a_failure(
    messages: list[Any], parted: bool, code: int | None, reason: str
) -> None:
    protocol = speaking()
    protocol.begin()
    protocol.send_audio(bytes(SECOND))
    protocol.finalize()
    if parted:
        protocol.goodbye()
    protocol.to_send()
    heard: list[Event] = []
    for message in messages:
        heard += protocol.feed(message)
    heard += protocol.closed(code, reason)
    assert all(
        isinstance(event, Partial | Final | Finalized | Farewell | Failed) for event in heard
    )
    assert sum(isinstance(event, Finalized) for event in heard) <= 1
    assert protocol.to_send() == []


def test_a_failure_never_repeats_what_was_said() -> None:
    told = failure(speaking().feed(final(HELLO | {"word": "secret", "start": -5})))
    assert told.kind is FailureKind.PROTOCOL
    assert "secret" not in str(told)


# Options


def query(**options: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    address = deepgram._address(Options(api_key_file="/k", **options))
    for name, value in parse_qsl(urlsplit(address).query):
        found.setdefault(name, []).append(value)
    return found


def test_what_is_asked_for_by_default() -> None:
    parts = urlsplit(deepgram._address(Options(api_key_file="/k")))
    assert (parts.scheme, parts.netloc, parts.path) == ("wss", "api.deepgram.com", "/v1/listen")
    assert query() == {
        "encoding": ["linear16"],
        "sample_rate": ["16000"],
        "channels": ["1"],
        "model": ["nova-3"],
        "language": ["en"],
        "interim_results": ["true"],
        "smart_format": ["true"],
        "punctuate": ["true"],
    }


def test_options_are_named_as_the_service_names_them() -> None:
    asked = query(
        language="is",
        keyterms=("Þórður", "kaffi"),
        keywords=("kaffi:2",),
        redact=("pci", "numbers"),
        replace=("a:b",),
        tags=("eldhús",),
        numerals=True,
        dictation=True,
        profanity_filter=True,
        mip_opt_out=True,
        endpointing_ms=300,
        smart_format=False,
    )
    assert asked["keyterm"] == ["Þórður", "kaffi"]
    assert asked["keywords"] == ["kaffi:2"]
    assert asked["redact"] == ["pci", "numbers"]
    assert (asked["replace"], asked["tag"]) == (["a:b"], ["eldhús"])
    assert asked["endpointing"] == ["300"]
    assert asked["smart_format"] == ["false"]
    flags = ("numerals", "dictation", "profanity_filter", "mip_opt_out")
    assert [asked[name] for name in flags] == [["true"]] * 4
    assert query(endpointing_ms=0)["endpointing"] == ["false"]


def test_url_may_name_the_host_alone_and_its_query_has_the_last_word() -> None:
    address = deepgram._address(Options(api_key_file="/k", url="ws://box:8080?model=nova-2&a=1"))
    assert address.startswith("ws://box:8080/v1/listen?model=nova-2&a=1&encoding=linear16")
    assert address.count("model=") == 1


@pytest.mark.parametrize(("credential", "scheme"), [("key", "Token"), ("token", "Bearer")])
async def test_keys_and_tokens_are_announced_by_their_scheme(
    tmp_path: Path, credential: str, scheme: str
) -> None:
    key = tmp_path / "key"
    key.write_text("sesame\n")
    options = Options(api_key_file=str(key), credential=credential)
    transport = build("it", options).make_transport()
    endpoint = transport.endpoint()  # type: ignore[attr-defined]
    assert endpoint.headers == {"Authorization": f"{scheme} sesame"}
    assert "sesame" not in endpoint.url + repr(endpoint)


def test_it_bills_audio_and_is_held_between_utterances() -> None:
    provider = build("it", Options(api_key_file="/keys/it", price_per_hour=0.46))
    capabilities = provider.capabilities
    assert capabilities.billing is Billing.AUDIO
    assert capabilities.part_times is PartTimes.WORDS
    assert capabilities.finalize
    assert not capabilities.ready_message
    assert capabilities.hold_s > 0
    assert capabilities.keep_alive_s == 4
    assert (provider.watched, provider.price_per_hour) == (("/keys/it",), 0.46)
    assert (provider.model, provider.language) == ("nova-3", "en")
    other = build("it", Options(api_key_file="/k", language="multi", interim_results=False, rate=2))
    assert other.language is None
    assert not other.capabilities.partials
    assert other.capabilities.pacing.rate == 2


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (400, {"dg-error": "no such model"}, b"", FailureKind.REQUEST),
        (401, {}, b'{"err_code":"INVALID_AUTH"}', FailureKind.DENIED),
        (402, {}, b'{"err_code":"ASR_PAYMENT_REQUIRED"}', FailureKind.DENIED),
        (403, {}, b"", FailureKind.DENIED),
        (404, {}, b"", FailureKind.REQUEST),
        (429, {}, b'{"err_code":"TOO_MANY_REQUESTS"}', FailureKind.OVERLOADED),
        (500, {}, b"", FailureKind.SERVER),
    ],
)
def test_a_refused_handshake_says_why_and_what_to_do(
    status: int, headers: dict[str, str], body: bytes, kind: FailureKind
) -> None:
    told = deepgram._refusal("Put a valid key into FILE.", HttpReply(status, headers, body))
    assert told.kind is kind
    assert (told.remedy == "Put a valid key into FILE.") is (kind is FailureKind.DENIED)
    if headers:
        assert "no such model" in str(told)


def test_problems_name_the_key_they_are_about() -> None:
    assert [key for key, _ in Options().problems()] == ["api_key_file"]
    options = Options(api_key_file="/k", model="nova-2", keyterms=("kaffi",))
    assert [key for key, _ in options.problems()] == ["keyterms"]
    assert {key.name for key in keys_of(Options)} == {field.name for field in fields(Options)}
