from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.config.schema import problems_of
from stt_edge.errors import FailureKind
from stt_edge.providers import registry
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    Partial,
    PartTimes,
    Protocol,
    WordOffset,
)
from stt_edge.providers.vosk_server import Options

SECOND = bytes(32_000)


def protocol(**options: Any) -> Protocol:
    return registry.build("v", "vosk_server", Options(**options)).make_protocol()


def opened(**options: Any) -> Protocol:
    made = protocol(**options)
    made.open()
    made.begin()
    made.to_send()
    return made


def result(*words: tuple[str, float, float]) -> str:
    items = [{"conf": 0.5, "start": start, "end": end, "word": word} for word, start, end in words]
    text = " ".join(word for word, _, _ in words)
    return json.dumps({"result": items, "text": text})


def partial(text: str) -> str:
    return json.dumps({"partial": text}, indent=2)


def kinds(events: Any) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_configuration_goes_first_and_names_the_rate() -> None:
    made = protocol()
    made.open()
    (sent,) = made.to_send()
    assert isinstance(sent, str)
    assert json.loads(sent) == {
        "config": {"sample_rate": 16000, "words": True, "max_alternatives": 0}
    }


def test_every_option_is_configured() -> None:
    made = protocol(phrases=("góðan dag",), words=False, alternatives=3, model="/m/is")
    made.open()
    (sent,) = made.to_send()
    assert isinstance(sent, str)
    assert "góðan dag" in sent
    assert json.loads(sent)["config"] == {
        "sample_rate": 16000,
        "words": False,
        "max_alternatives": 3,
        "phrase_list": ["góðan dag", "[unk]"],
        "model": "/m/is",
    }


def test_the_end_is_said_in_the_very_letters_the_server_compares() -> None:
    made = opened()
    made.send_audio(SECOND)
    made.finalize()
    made.goodbye()
    assert made.to_send() == [SECOND, '{"reset" : 1}', '{"eof" : 1}']


def test_only_the_answer_to_a_reset_ends_the_utterance() -> None:
    made = opened()
    made.send_audio(SECOND)
    made.send_audio(SECOND)
    made.finalize()
    assert kinds(made.feed(result(("one", 0.1, 0.5)))) == ["Final"]
    assert made.feed(partial("two")) == [Partial("two", 32_000)]
    assert kinds(made.feed(result(("two", 1.1, 1.5)))) == ["Final", "Finalized"]


def test_an_empty_answer_to_a_reset_ends_the_utterance_too() -> None:
    made = opened()
    made.finalize()
    assert made.feed('{"text": ""}') == [Finalized()]


def test_a_result_has_its_words_with_times_and_confidence() -> None:
    made = opened(language="is")
    made.send_audio(SECOND)
    word = WordOffset("dag", 1600, 8000, 0.5)
    assert made.feed(result(("dag", 0.1, 0.5))) == [
        Final("dag", 1600, 8000, (word,), 0.5, language="is")
    ]


def test_times_count_from_the_utterance_in_hand_though_the_server_goes_on_counting() -> None:
    made = opened()
    made.send_audio(SECOND)
    made.finalize()
    made.feed(partial(""))
    made.feed(result(("one", 0.1, 0.5)))
    made.begin()
    made.send_audio(SECOND)
    assert made.feed(partial("two")) == [Partial("two", 16_000)]
    made.finalize()
    final, finalized = made.feed(result(("two", 1.25, 1.5)))
    assert isinstance(final, Final)
    assert (final.start, final.end, final.words[0].start) == (4000, 8000, 4000)
    assert finalized == Finalized()


def test_a_result_said_twice_counts_once() -> None:
    made = opened()
    made.send_audio(SECOND)
    made.send_audio(SECOND)
    made.finalize()
    said = result(("one", 0.1, 0.5))
    assert kinds(made.feed(said)) == ["Final"]
    assert kinds(made.feed(said)) == []
    assert made.feed(partial("")) == []
    assert kinds(made.feed(result(("two", 1.0, 1.5)))) == ["Final", "Finalized"]


def test_of_alternatives_the_best_is_taken_and_has_no_confidence() -> None:
    made = opened(alternatives=2)
    made.send_audio(SECOND)
    best = {
        "confidence": 230.1,
        "text": "yes",
        "result": [{"start": 0, "end": 0.5, "word": "yes"}],
    }
    (final,) = made.feed(json.dumps({"alternatives": [best, {"confidence": 2, "text": "no"}]}))
    assert isinstance(final, Final)
    assert (final.text, final.confidence, final.end) == ("yes", None, 8000)
    assert made.feed('{"alternatives": []}') == []


def test_what_is_none_of_the_phrases_is_not_understood() -> None:
    made = opened(phrases=("lamp on",))
    made.send_audio(SECOND)
    made.send_audio(SECOND)
    assert made.feed(partial("[unk] lamp")) == [Partial("lamp", 16_000)]
    (final,) = made.feed(result(("lamp", 0.1, 0.2), ("[unk]", 0.2, 0.3)))
    assert isinstance(final, Final)
    assert (final.text, len(final.words)) == ("lamp", 1)


def test_the_answer_to_the_goodbye_is_a_farewell_and_so_is_the_end_after_it() -> None:
    made = opened()
    made.send_audio(SECOND)
    made.goodbye()
    made.feed(partial("o"))
    assert kinds(made.feed(result(("one", 0.1, 0.5)))) == ["Final", "Farewell"]
    assert made.closed(1000, "") == (Farewell(),)


@pytest.mark.parametrize("code", [1000, 1006, 1011, None])
def test_an_end_without_the_answer_to_the_goodbye_is_a_failure(code: int | None) -> None:
    made = opened()
    made.send_audio(SECOND)
    made.goodbye()
    made.feed(partial("one"))
    (event,) = made.closed(code, "")
    assert isinstance(event, Failed)


def test_a_crash_right_after_the_configuration_is_believed_the_second_time() -> None:
    provider = registry.build("v", "vosk_server", Options(model="/nowhere"))

    def crash() -> FailureKind:
        (event,) = provider.make_protocol().closed(1011, "")
        assert isinstance(event, Failed)
        return event.failure.kind

    assert [crash(), crash()] == [FailureKind.SERVER, FailureKind.REQUEST]
    well = provider.make_protocol()
    well.feed(partial(""))
    (event,) = well.closed(1011, "")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.SERVER
    assert crash() is FailureKind.SERVER, "an answer shows that the configuration is good"


def test_the_capabilities_follow_from_the_options() -> None:
    usual = registry.build("v", "vosk_server", Options()).capabilities
    assert usual.billing is Billing.NOTHING
    assert usual.finalize
    assert usual.hold_s > 0
    assert usual.part_times is PartTimes.WORDS
    assert usual.confidence
    assert (usual.chunk_min_ms, usual.chunk_max_ms) == (125, 250)
    other = registry.build("v", "vosk_server", Options(words=False, max_connections=7)).capabilities
    assert other.part_times is PartTimes.NONE
    assert other.max_connections == 7
    assert not registry.build("v", "vosk_server", Options(alternatives=1)).capabilities.confidence


def test_a_url_of_another_kind_is_a_problem() -> None:
    assert list(problems_of(Options())) == []
    assert list(problems_of(Options(url="wss://vosk.lan"))) == []
    assert [key for key, _ in problems_of(Options(url="http://vosk.lan:2700"))] == ["url"]


numbers = st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=3)
words = st.lists(
    st.fixed_dictionaries(
        {}, optional={"conf": numbers, "start": numbers, "end": numbers, "word": numbers}
    ),
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "partial": numbers,
        "text": numbers,
        "result": words | numbers,
        "alternatives": st.lists(
            st.fixed_dictionaries({}, optional={"text": numbers, "result": words}), max_size=2
        )
        | numbers,
    },
).map(json.dumps)


@given(
    st.lists(st.binary(max_size=20) | st.text(max_size=20) | bodies, max_size=8),
    st.integers(0, 5000) | st.none(),
    st.text(max_size=10),
)
def test_whatever_comes_only_events_come_of_it(
    messages: list[bytes | str], code: int | None, reason: str
) -> None:
    made = opened()
    made.send_audio(SECOND)
    made.finalize()
    made.goodbye()
    made.to_send()
    events: list[Event] = []
    for message in messages:
        events += made.feed(message)
    events += made.closed(code, reason)
    assert all(isinstance(event, Event) for event in events)
    assert made.to_send() == []


@pytest.mark.parametrize(
    "message",
    [b"{}", "{}", "[]", "x", '{"text": 5}', result(("a", 0.5, 0.1)), result(("a", -1, 1))],
)
def test_nonsense_is_a_failure_of_the_protocol(message: str | bytes) -> None:
    (event,) = opened().feed(message)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL
