from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.config.schema import keys_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import assemblyai
from stt_edge.providers.assemblyai import Options, build
from stt_edge.providers.assemblyai_common import Cutter
from stt_edge.providers.assemblyai_v3 import StreamingProtocol
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    Partial,
    PartTimes,
    Ready,
    WordOffset,
)
from stt_edge.providers.endings import Endings

MS = 32
"""Bytes in a millisecond of audio."""
TERMINATE = '{"type": "Terminate"}'


def word(text: str, start: int, end: int, *, final: bool = True) -> dict[str, Any]:
    return {
        "text": text,
        "start": start,
        "end": end,
        "confidence": 0.8,
        "word_is_final": final,
    }


def turn(order: int, *words: dict[str, Any], **extra: Any) -> str:
    settled = " ".join(item["text"] for item in words if item["word_is_final"])
    body = {
        "type": "Turn",
        "turn_order": order,
        "turn_is_formatted": False,
        "end_of_turn": False,
        "transcript": settled,
        "end_of_turn_confidence": 0.1,
        "words": list(words),
    }
    return json.dumps(body | extra)


def ended(order: int, *words: dict[str, Any], **extra: Any) -> str:
    return turn(order, *words, end_of_turn=True, **extra)


def speaking(*, formatted: bool = False, ms: int = 2000) -> StreamingProtocol:
    """A session that has begun and was sent audio."""
    protocol = StreamingProtocol(
        Endings(), formatted=formatted, remedy="Put a valid key into FILE."
    )
    protocol.open()
    assert protocol.feed('{"type":"Begin","id":"s1","expires_at":1}') == [Ready()]
    protocol.begin()
    protocol.send_audio(bytes(ms * MS))
    protocol.to_send()
    return protocol


def failure(events: Any) -> ProviderError:
    assert isinstance(events[-1], Failed)
    return events[-1].failure


HELLO, THERE = word("hello", 100, 300), word("there", 400, 700)


def test_a_partial_shows_words_that_the_transcript_leaves_out() -> None:
    protocol = speaking()
    (partial,) = protocol.feed(turn(0, HELLO, word("the", 400, 500, final=False)))
    assert partial == Partial(
        "hello the",
        8000,
        (WordOffset("hello", 1600, 4800, 0.8), WordOffset("the", 6400, 8000, 0.8)),
    )


def test_the_end_of_a_turn_is_a_final_with_times_confidence_and_an_id_of_its_own() -> None:
    protocol = speaking()
    (final,) = protocol.feed(ended(3, HELLO, THERE, language_code="en"))
    assert final == Final(
        "hello there",
        1600,
        11_200,
        (WordOffset("hello", 1600, 4800, 0.8), WordOffset("there", 6400, 11_200, 0.8)),
        0.8,
        "en",
        None,
        "s1:3",
    )


def test_a_turn_that_ends_twice_is_told_once() -> None:
    protocol = speaking()
    assert len(protocol.feed(ended(0, HELLO))) == 1
    assert protocol.feed(ended(0, HELLO)) == []
    assert protocol.feed(turn(0, HELLO)) == []


def test_a_formatted_turn_wins_over_the_plain_one_before_it() -> None:
    protocol = speaking(formatted=True)
    (partial,) = protocol.feed(ended(0, HELLO))
    assert isinstance(partial, Partial)
    assert partial.text == "hello"
    (final,) = protocol.feed(ended(0, HELLO, transcript="Hello.", turn_is_formatted=True))
    assert isinstance(final, Final)
    assert final.text == "Hello."


def test_a_plain_turn_is_told_when_the_next_one_ends_without_a_formatted_one() -> None:
    protocol = speaking(formatted=True)
    protocol.feed(ended(0, HELLO))
    (partial,) = protocol.feed(turn(1, THERE))
    assert isinstance(partial, Partial)
    assert partial.text == "hello there"
    first, second = protocol.feed(ended(1, THERE, turn_is_formatted=True))
    assert isinstance(first, Final)
    assert isinstance(second, Final)
    assert (first.text, second.text) == ("hello", "there")
    assert protocol.feed(ended(0, HELLO, turn_is_formatted=True)) == []


@pytest.mark.parametrize("end", ["termination", "close", "error"])
def test_a_plain_turn_is_told_when_the_session_ends_before_the_formatted_one(end: str) -> None:
    protocol = speaking(formatted=True)
    protocol.feed(ended(0, HELLO))
    if end == "termination":
        protocol.goodbye()
        events = protocol.feed('{"type":"Termination"}')
        assert events[-1] == Farewell()
    elif end == "close":
        events = list(protocol.closed(1006, ""))
        assert failure(events).kind is FailureKind.LOST
    else:
        events = list(protocol.feed('{"type":"Error","error_code":3005,"error":"Server error"}'))
        assert failure(events).kind is FailureKind.SERVER
    assert isinstance(events[0], Final)
    assert events[0].text == "hello"


def test_a_turn_still_open_at_the_termination_is_a_final() -> None:
    protocol = speaking()
    protocol.feed(turn(0, HELLO))
    protocol.goodbye()
    final, farewell = protocol.feed('{"type":"Termination"}')
    assert isinstance(final, Final)
    assert final.text == "hello"
    assert farewell == Farewell()


def test_the_goodbye_flushes_the_audio_kept_back_and_terminates() -> None:
    protocol = speaking(ms=0)
    protocol.send_audio(b"\1" * 100 * MS)
    assert protocol.to_send() == [b"\1" * 50 * MS]
    protocol.goodbye()
    assert protocol.to_send() == [b"\1" * 50 * MS, TERMINATE]


@pytest.mark.parametrize("code", [1000, 1005])
def test_a_close_without_termination_is_a_loss_once_and_the_services_way_from_then_on(
    code: int,
) -> None:
    endings = Endings()
    heard = []
    for _ in range(2):
        protocol = StreamingProtocol(endings)
        protocol.begin()
        protocol.send_audio(bytes(2000 * MS))
        protocol.feed(turn(0, HELLO))
        protocol.goodbye()
        heard.append(protocol.closed(code, ""))
    assert failure(heard[0]).kind is FailureKind.LOST
    final, farewell = heard[1]
    assert isinstance(final, Final)
    assert (final.text, farewell) == ("hello", Farewell())


def test_a_termination_in_between_makes_a_close_without_one_a_loss_again() -> None:
    endings = Endings()
    kinds = []
    for confirmed in (False, True, False):
        protocol = StreamingProtocol(endings)
        protocol.goodbye()
        if confirmed:
            protocol.feed('{"type":"Termination"}')
        else:
            kinds.append(failure(protocol.closed(1000, "")).kind)
    assert kinds == [FailureKind.LOST, FailureKind.LOST]


@pytest.mark.parametrize(("code", "parted"), [(1006, True), (1001, True), (1000, False)])
def test_any_other_close_is_a_loss_each_time(code: int, parted: bool) -> None:
    endings = Endings()
    for _ in range(3):
        protocol = StreamingProtocol(endings)
        if parted:
            protocol.goodbye()
        assert failure(protocol.closed(code, "")).kind is FailureKind.LOST


def test_a_termination_nobody_asked_for_is_a_loss() -> None:
    assert failure(speaking().feed('{"type":"Termination"}')).kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (1008, "Unauthorized connection: Missing Authorization header", FailureKind.DENIED),
        (1008, "Unauthorized connection: Too many concurrent sessions", FailureKind.OVERLOADED),
        (1008, "Token expired", FailureKind.DENIED),
        (3005, "Server error", FailureKind.SERVER),
        (3006, "Invalid parameter", FailureKind.REQUEST),
        (3007, "Input Duration Violation: 20 ms", FailureKind.REQUEST),
        (3007, "Audio sent faster than real time", FailureKind.OVERLOADED),
        (3008, "Session Expired", FailureKind.LOST),
        (3009, "Too many concurrent sessions", FailureKind.OVERLOADED),
        (1011, "", FailureKind.SERVER),
        (1012, "", FailureKind.SERVER),
        (1013, "", FailureKind.OVERLOADED),
        (1006, "", FailureKind.LOST),
        (4001, "Not Authorized", FailureKind.DENIED),
        (4002, "Insufficient Funds", FailureKind.DENIED),
        (4100, "", FailureKind.REQUEST),
        (4102, "", FailureKind.OVERLOADED),
    ],
)
def test_an_error_means_the_same_as_a_message_and_as_a_close(
    code: int, said: str, kind: FailureKind
) -> None:
    message = json.dumps({"type": "Error", "error_code": code, "error": said})
    for events in (speaking().feed(message), speaking().closed(code, said)):
        told = failure(events)
        assert (told.kind, told.code) == (kind, str(code))
        assert (told.remedy == "Put a valid key into FILE.") is (kind is FailureKind.DENIED)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Not Authorized", FailureKind.DENIED),
        ("Too many concurrent sessions", FailureKind.OVERLOADED),
        ("Model deprecated, see our docs for new model information", FailureKind.REQUEST),
        ("something went wrong", FailureKind.SERVER),
    ],
)
def test_an_error_of_the_old_kind_is_understood_by_its_text(said: str, kind: FailureKind) -> None:
    assert failure(speaking().feed(json.dumps({"error": said}))).kind is kind


@pytest.mark.parametrize("kind", ["SpeechStarted", "Warning", "Heartbeat", "Silence", "Novelty"])
def test_messages_that_say_nothing_of_the_text_are_passed_over(kind: str) -> None:
    assert speaking().feed(json.dumps({"type": kind, "timestamp": 12})) == []


def test_words_never_lie_outside_the_audio_that_was_sent() -> None:
    (final,) = speaking(ms=200).feed(ended(0, word("hello", 100, 900)))
    assert isinstance(final, Final)
    assert (final.start, final.end) == (1600, 3200)


def test_times_of_a_second_utterance_count_from_its_own_first_sample() -> None:
    protocol = speaking(ms=0)
    protocol.send_audio(bytes(30 * MS))
    protocol.goodbye()  # filled up to 50 ms, which the service counts and we do not
    protocol.begin()
    protocol.send_audio(bytes(1000 * MS))
    (final,) = protocol.feed(ended(0, word("hello", 150, 350)))
    assert isinstance(final, Final)
    assert (final.start, final.end) == (1600, 4800)


# Audio


@given(st.lists(st.integers(1, 900 * 16), max_size=12))
def test_audio_is_cut_into_messages_of_50_to_1000_ms_and_nothing_is_lost(
    chunks: list[int],
) -> None:
    cutter = Cutter(50)
    audio = [bytes([number + 1]) * 2 * samples for number, samples in enumerate(chunks)]
    messages = [message for pcm in audio if (message := cutter.take(pcm))]
    if rest := cutter.rest():
        messages.append(rest)
    said = b"".join(audio)
    assert all(50 * MS <= len(message) <= 1000 * MS for message in messages)
    assert b"".join(messages) == (said if len(said) >= 50 * MS or not said else messages[0])
    assert b"".join(messages)[: len(said)] == said


# Whatever comes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
WORDS = st.lists(
    st.fixed_dictionaries(
        {"text": VALUES | st.text(max_size=4), "start": VALUES | st.integers(0, 9000)},
        optional={"end": VALUES | st.integers(0, 9000), "confidence": VALUES},
    ),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["Begin", "Turn", "Turn", "Termination", "Error", "Other"])},
    optional={
        "id": VALUES,
        "turn_order": st.integers(0, 3) | VALUES,
        "end_of_turn": st.booleans() | VALUES,
        "turn_is_formatted": st.booleans() | VALUES,
        "transcript": st.text(max_size=9) | VALUES,
        "words": WORDS | VALUES,
        "language_code": VALUES,
        "error_code": VALUES | st.integers(1000, 4200),
        "error": VALUES,
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
    protocol = speaking(formatted=True)
    if parted:
        protocol.goodbye()
        protocol.to_send()
    heard: list[Event] = []
    for message in messages:
        heard += protocol.feed(message)
    heard += protocol.closed(code, reason)
    assert all(isinstance(event, Ready | Partial | Final | Farewell | Failed) for event in heard)
    assert isinstance(heard[-1], Farewell | Failed)
    assert protocol.to_send() == []


def test_a_failure_never_repeats_what_was_said() -> None:
    told = failure(speaking().feed(turn(0, word("secret", -5, 900))))
    assert told.kind is FailureKind.PROTOCOL
    assert "secret" not in str(told)


# Options


def address(tmp_path: Path, **options: Any) -> tuple[Any, dict[str, list[str]], dict[str, str]]:
    """Return the parts of the URL, its query, and the headers."""
    key = tmp_path / "key"
    key.write_text("sesame\n")
    endpoint = assemblyai._endpoint(Options(api_key_file=str(key), **options), "sesame")
    parts = urlsplit(endpoint.url)
    return parts, parse_qs(parts.query), dict(endpoint.headers)


def test_the_key_is_sent_as_it_is_and_stays_out_of_the_address(tmp_path: Path) -> None:
    parts, query, headers = address(tmp_path)
    assert (parts.scheme, parts.netloc, parts.path) == (
        "wss",
        "streaming.assemblyai.com",
        "/v3/ws",
    )
    assert headers == {"Authorization": "sesame"}
    assert query == {
        "sample_rate": ["16000"],
        "encoding": ["pcm_s16le"],
        "speech_model": ["universal-streaming-english"],
        "format_turns": ["true"],
    }


def test_a_gateway_may_want_the_key_in_the_query(tmp_path: Path) -> None:
    _, query, headers = address(tmp_path, auth="query")
    assert query["token"] == ["sesame"]
    assert headers == {}


def test_options_are_named_as_the_service_names_them(tmp_path: Path) -> None:
    parts, query, _ = address(
        tmp_path,
        region="eu",
        language="is",
        model="whisper-rt",
        format_turns=False,
        keyterms=("Þórður", "kaffi"),
        prompt="Um veðrið",
        profanity_filter=True,
        redact_pii=True,
        end_of_turn_confidence=0.5,
        min_turn_silence_ms=300,
        max_turn_silence_ms=900,
        vad_threshold=0.3,
        inactivity_timeout_s=30,
    )
    assert parts.netloc == "streaming.eu.assemblyai.com"
    assert json.loads(query.pop("keyterms_prompt")[0]) == ["Þórður", "kaffi"]
    assert json.loads(query.pop("language_codes")[0]) == ["is"]
    assert {name: value for name, (value,) in query.items()} == {
        "sample_rate": "16000",
        "encoding": "pcm_s16le",
        "speech_model": "whisper-rt",
        "format_turns": "false",
        "prompt": "Um veðrið",
        "filter_profanity": "true",
        "redact_pii": "true",
        "end_of_turn_confidence_threshold": "0.5",
        "min_turn_silence": "300",
        "max_turn_silence": "900",
        "vad_threshold": "0.3",
        "inactivity_timeout": "30",
    }


def test_several_languages_are_left_to_the_service_to_tell_apart(tmp_path: Path) -> None:
    _, query, _ = address(tmp_path, language="multi")
    assert query["speech_model"] == ["universal-streaming-multilingual"]
    assert query["language_detection"] == ["true"]
    assert build("it", Options(api_key_file="/k", language="multi")).language is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://gateway:8080", "ws://gateway:8080/v3/ws"),
        ("ws://gateway:8080/", "ws://gateway:8080/v3/ws"),
        ("wss://gateway/asr/stream", "wss://gateway/asr/stream"),
    ],
)
def test_url_may_name_the_host_alone_or_the_path_too(
    tmp_path: Path, url: str, expected: str
) -> None:
    parts, _, _ = address(tmp_path, url=url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == expected


def test_a_query_in_url_has_the_last_word(tmp_path: Path) -> None:
    _, query, _ = address(tmp_path, url="ws://h/v3/ws?speech_model=u3-rt-pro&mode=balanced")
    assert query["speech_model"] == ["u3-rt-pro"]
    assert query["mode"] == ["balanced"]


def test_it_bills_the_session_and_is_never_sent_audio_faster_than_real_time() -> None:
    provider = build("it", Options(api_key_file="/keys/it", price_per_hour=0.15))
    capabilities = provider.capabilities
    assert capabilities.billing is Billing.SESSION
    assert capabilities.part_times is PartTimes.WORDS
    assert capabilities.ready_message
    assert not capabilities.finalize
    assert capabilities.hold_s == 0
    assert (capabilities.pacing.rate, capabilities.max_session_s) == (1.0, 10_800)
    assert provider.watched == ("/keys/it",)
    assert provider.price_per_hour == 0.15
    faster = build("it", Options(api_key_file="/k", rate=1.5, max_connections=1)).capabilities
    assert (faster.pacing.rate, faster.max_connections) == (1.5, 1)


def test_problems_name_the_key_they_are_about() -> None:
    assert [key for key, _ in Options().problems()] == ["api_key_file"]
    options = Options(api_key_file="/k", min_turn_silence_ms=900, max_turn_silence_ms=100)
    assert [key for key, _ in options.problems()] == ["min_turn_silence_ms"]
    legacy = Options(api_key_file="/k", dialect="v2", region="eu")
    assert [key for key, _ in legacy.problems()] == ["region"]
    assert {key.name for key in keys_of(Options)} == {field.name for field in fields(Options)}
