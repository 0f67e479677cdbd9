"""OpenAI's realtime transcription, the protocol alone: what it says, and what it understands."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import FailureKind
from stt_edge.providers import openai_realtime
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    Partial,
    PartTimes,
    Ready,
)
from stt_edge.providers.openai_realtime import Options, RealtimeProtocol
from stt_edge.providers.openai_session import describe, endpoint
from tests.simulators.speech import say

SPEECH = say([0, 1, 2])
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Wire:
    """A protocol and what it said."""

    def __init__(self, **options: Any) -> None:
        self.protocol = RealtimeProtocol(Options(**{"url": "ws://localhost", **options}))

    def said(self) -> list[dict[str, Any]]:
        messages = [json.loads(str(message)) for message in self.protocol.to_send()]
        return [message for message in messages if message["type"] != "input_audio_buffer.append"]

    def audio(self) -> bytes:
        """Everything that is appended in what is queued, at 24 kHz."""
        messages = [json.loads(str(message)) for message in self.protocol.to_send()]
        return b"".join(
            base64.b64decode(message["audio"], validate=True)
            for message in messages
            if message["type"] == "input_audio_buffer.append"
        )

    def hear(self, kind: str, **fields: Any) -> list[Event]:
        return list(self.protocol.feed(json.dumps({"type": kind, **fields})))

    def committed(self, item: str, previous: str | None = None) -> list[Event]:
        return self.hear("input_audio_buffer.committed", item_id=item, previous_item_id=previous)

    def delta(self, item: str, text: str) -> list[Event]:
        return self.hear(f"{TRANSCRIPTION}.delta", item_id=item, delta=text)

    def completed(self, item: str, text: str, **fields: Any) -> list[Event]:
        return self.hear(f"{TRANSCRIPTION}.completed", item_id=item, transcript=text, **fields)

    def error(self, **error: Any) -> list[Event]:
        return self.hear("error", error=error)

    def speak(self, pcm: bytes = SPEECH) -> None:
        self.protocol.begin()
        for at in range(0, len(pcm), 3200):
            self.protocol.send_audio(pcm[at : at + 3200])


def kind_of(events: list[Event]) -> FailureKind:
    (event,) = events
    assert isinstance(event, Failed)
    return event.failure.kind


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


# --- what it says ---


def test_the_session_is_described_first_and_ready_when_that_is_confirmed() -> None:
    wire = Wire(language="is", hotwords=("Hekla",), noise_reduction="far_field", delay="low")
    wire.protocol.open()
    (message,) = wire.said()
    assert message == {
        "type": "session.update",
        "session": {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "noise_reduction": {"type": "far_field"},
                    "transcription": {
                        "model": "gpt-live-transcribe",
                        "languages": ["is"],
                        "keywords": ["Hekla"],
                        "delay": "low",
                    },
                    "turn_detection": None,
                }
            },
        },
    }
    assert wire.hear("session.created", session={}) == []
    assert wire.hear("session.updated", session={}) == [Ready()]


def test_older_models_are_told_one_language_and_asked_how_sure_they_are() -> None:
    session = describe(Options(model="gpt-4o-transcribe", language="en", prompt="Cards."))
    assert session["audio"]["input"]["transcription"] == {
        "model": "gpt-4o-transcribe",
        "language": "en",
        "prompt": "Cards.",
    }
    assert session["include"] == ["item.input_audio_transcription.logprobs"]


def test_speaches_is_told_in_its_own_way() -> None:
    options = Options(dialect="speaches", url="ws://x:8000/v1/realtime", model="a/b", language="en")
    assert describe(options) == {
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "a/b", "language": "en"},
        "turn_detection": None,
    }
    assert endpoint(options).url == (
        "ws://x:8000/v1/realtime?intent=transcription&model=a%2Fb&language=en"
    )


def test_what_a_url_says_already_is_not_said_twice() -> None:
    url = "ws://x/v1/realtime?intent=transcription"
    assert endpoint(Options(url=url)).url == url
    assert endpoint(Options(url=url + "&b=c", dialect="speaches", model="m")).url == (
        url + "&b=c&model=m"
    )


@pytest.mark.parametrize("samples", [1600, 1601, 4799, 16_000])
def test_three_samples_go_out_for_two(samples: int) -> None:
    wire = Wire()
    wire.speak(bytes(2 * samples))
    wire.protocol.finalize()
    assert len(wire.audio()) // 2 == (3 * samples + 1) // 2


def test_less_than_a_commit_takes_is_filled_up_with_silence() -> None:
    wire = Wire()
    wire.speak(SPEECH[:320])
    wire.protocol.finalize()
    assert len(wire.audio()) // 2 == 2400


def test_each_utterance_is_converted_from_its_own_beginning() -> None:
    wire = Wire()
    sent = []
    for number in ("1", "2"):
        wire.speak(SPEECH)
        wire.protocol.finalize()
        sent.append(wire.audio())
        wire.committed(number)
        assert wire.completed(number, "")[-1:] == [Finalized()]
    assert sent[0] == sent[1]


# --- what it understands ---


def test_deltas_append_and_the_whole_text_is_the_result() -> None:
    wire = Wire()
    wire.speak()
    assert wire.delta("1", "Gó") == [Partial("Gó")]
    assert wire.delta("1", "ðan") == [Partial("Góðan")]
    wire.protocol.finalize()
    assert types(wire.said()) == ["input_audio_buffer.commit"]
    assert wire.delta("1", " dag") == [Partial("Góðan dag")]
    assert wire.committed("1") == []
    assert wire.completed("1", "Góðan dag.") == [Final("Góðan dag."), Finalized()]


def test_what_is_completed_twice_or_late_is_said_once() -> None:
    wire = Wire()
    wire.speak()
    wire.protocol.finalize()
    wire.committed("1")
    assert wire.completed("1", "one") == [Final("one"), Finalized()]
    wire.speak()
    assert wire.completed("1", "one") == []
    assert wire.delta("1", "one") == []
    wire.protocol.finalize()
    wire.committed("2", "1")
    assert wire.completed("1", "one") == []
    assert wire.completed("2", "two") == [Final("two"), Finalized()]


def test_items_completed_out_of_order_are_said_in_order() -> None:
    wire = Wire(turn_detection="server_vad", model="gpt-4o-transcribe")
    wire.speak()
    wire.committed("a")
    wire.delta("b", "zwei")
    wire.delta("c", "drei")
    wire.committed("c", "b")
    wire.committed("b", "a")
    assert wire.completed("c", "drei") == []
    assert wire.completed("b", "zwei") == []
    assert wire.delta("a", "eins") == [Partial("eins zwei drei")]
    wire.protocol.finalize()
    assert wire.completed("a", "eins") == [Final("eins"), Final("zwei"), Final("drei")]


def test_with_turn_detection_the_end_is_what_follows_the_last_commit() -> None:
    wire = Wire(turn_detection="server_vad", model="gpt-4o-transcribe")
    wire.speak()
    wire.protocol.finalize()
    assert types(wire.said()) == ["input_audio_buffer.commit", "input_audio_buffer.clear"]
    # The server's own commit has crossed ours: its item alone is not the end.
    wire.committed("1")
    assert wire.completed("1", "one") == [Final("one")]
    wire.committed("2", "1")
    assert wire.hear("input_audio_buffer.cleared") == []
    assert wire.completed("2", "two") == [Final("two"), Finalized()]


def test_with_turn_detection_nothing_left_to_commit_is_no_error() -> None:
    wire = Wire(turn_detection="server_vad", model="gpt-4o-transcribe")
    wire.speak()
    wire.committed("1")
    wire.protocol.finalize()
    assert wire.completed("1", "one") == [Final("one")]
    assert wire.error(code="input_audio_buffer_commit_empty", message="too small") == []
    assert wire.hear("input_audio_buffer.cleared") == [Finalized()]


def test_nothing_to_commit_is_the_end_of_an_utterance_without_words() -> None:
    wire = Wire()
    wire.protocol.begin()
    wire.protocol.finalize()
    assert types(wire.said()) == ["input_audio_buffer.commit"]
    assert wire.error(code="input_audio_buffer_commit_empty", message="m") == [Finalized()]


def test_an_empty_transcript_is_no_result() -> None:
    wire = Wire()
    wire.speak()
    wire.protocol.finalize()
    wire.committed("1")
    assert wire.completed("1", " ") == [Finalized()]


def test_a_result_carries_language_and_confidence_where_they_are_said() -> None:
    wire = Wire()
    wire.speak()
    logprobs = [{"token": "a", "logprob": 0.0}, {"token": "b", "logprob": 0.0}]
    (final,) = wire.completed("1", "já", languages=[{"code": "is"}], logprobs=logprobs)
    assert final == Final("já", confidence=1.0, language="is")


# --- the end ---


def test_a_goodbye_commits_what_was_said_and_the_last_text_is_the_farewell() -> None:
    wire = Wire()
    wire.speak()
    wire.protocol.goodbye()
    assert types(wire.said()) == ["input_audio_buffer.commit"]
    wire.committed("1")
    assert wire.completed("1", "one") == [Final("one"), Farewell()]
    assert list(wire.protocol.closed(1000, "")) == [Farewell()]


def test_a_goodbye_while_finishing_asks_nothing_more() -> None:
    wire = Wire()
    wire.speak()
    wire.protocol.finalize()
    wire.said()
    wire.protocol.goodbye()
    assert wire.said() == []
    wire.committed("1")
    assert wire.completed("1", "one") == [Final("one"), Farewell()]


def test_a_goodbye_with_nothing_in_hand_is_answered_too() -> None:
    wire = Wire()
    wire.protocol.goodbye()
    assert types(wire.said()) == ["input_audio_buffer.clear"]
    assert wire.hear("input_audio_buffer.cleared") == [Farewell()]


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1006, "", FailureKind.LOST),
        (1008, "", FailureKind.DENIED),
        (1011, "", FailureKind.SERVER),
        (1001, "session_expired", FailureKind.LOST),
        (3000, "invalid_request_error.invalid_api_key", FailureKind.DENIED),
        (4000, "insufficient_quota", FailureKind.DENIED),
    ],
)
def test_an_end_in_the_middle_is_a_failure(code: int, reason: str, kind: FailureKind) -> None:
    wire = Wire()
    wire.speak()
    wire.protocol.goodbye()
    assert kind_of(list(wire.protocol.closed(code, reason))) is kind


# --- errors ---


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "session_expired"}, FailureKind.LOST),
        ({"code": "insufficient_quota"}, FailureKind.DENIED),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, FailureKind.DENIED),
        ({"code": "rate_limit_exceeded"}, FailureKind.OVERLOADED),
        ({"code": None, "type": "server_error"}, FailureKind.SERVER),
        ({"code": "invalid_value", "type": "invalid_request_error"}, FailureKind.REQUEST),
        ({"code": "model_not_found"}, FailureKind.REQUEST),
        ({}, FailureKind.REQUEST),
    ],
)
def test_an_error_is_what_its_code_says(error: dict[str, Any], kind: FailureKind) -> None:
    assert kind_of(Wire().error(message="m", **error)) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "audio_unintelligible", "type": "transcription_error"}, FailureKind.UTTERANCE),
        ({"code": "model_not_found"}, FailureKind.REQUEST),
        ({"type": "server_error"}, FailureKind.SERVER),
    ],
)
def test_an_item_that_fails_is_its_own_fault_unless_it_says_otherwise(
    error: dict[str, Any], kind: FailureKind
) -> None:
    assert kind_of(Wire().hear(f"{TRANSCRIPTION}.failed", item_id="1", error=error)) is kind


def test_events_of_no_interest_are_passed_over() -> None:
    wire = Wire()
    for kind in ("conversation.item.added", "input_audio_buffer.speech_started", "rate_limits"):
        assert wire.hear(kind, item={}) == []
    assert wire.hear(f"{TRANSCRIPTION}.segment", item_id="1", text="x") == []


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        "",
        "[]",
        '{"type": 1}',
        '{"type": "error", "error": "text"}',
        '{"type": "input_audio_buffer.committed", "item_id": "a", "previous_item_id": "a"}',
        f'{{"type": "{TRANSCRIPTION}.delta", "delta": "no item"}}',
        f'{{"type": "{TRANSCRIPTION}.delta", "item_id": "1", "delta": {{}}}}',
        f'{{"type": "{TRANSCRIPTION}.completed", "item_id": "{"x" * 300}", "transcript": "a"}}',
    ],
)
def test_nonsense_is_a_protocol_error(message: bytes | str) -> None:
    assert kind_of(list(Wire().protocol.feed(message))) is FailureKind.PROTOCOL


def test_text_and_items_without_end_are_refused() -> None:
    wire = Wire()
    events: list[Event] = []
    for _ in range(12):
        events = wire.delta("1", "x" * 100_000)
    assert kind_of(events) is FailureKind.PROTOCOL
    wire = Wire()
    for number in range(1001):
        events = wire.committed(str(number))
    assert kind_of(events) is FailureKind.PROTOCOL


def test_an_hour_of_speech_is_not_too_much_text() -> None:
    wire = Wire()
    for number in range(12):
        wire.speak(SPEECH[:3200])
        assert wire.delta(str(number), "x" * 100_000) == [Partial("x" * 100_000)]
        assert wire.completed(str(number), "x" * 100_000) == [Final("x" * 100_000)]


ids = st.sampled_from(["a", "b", "c"]) | st.text(max_size=3)
values = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(ids, max_size=2)
kinds = st.sampled_from(
    [
        "session.updated",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        f"{TRANSCRIPTION}.delta",
        f"{TRANSCRIPTION}.completed",
        f"{TRANSCRIPTION}.failed",
        "error",
    ]
)
messages = st.fixed_dictionaries(
    {"type": kinds},
    optional={
        "item_id": ids | values,
        "previous_item_id": ids | values,
        "delta": ids | values,
        "transcript": ids | values,
        "languages": values,
        "logprobs": st.lists(st.fixed_dictionaries({"logprob": values}), max_size=2),
        "error": values | st.fixed_dictionaries({}, optional={"code": values, "type": values}),
    },
).map(json.dumps)
steps = st.lists(
    messages
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.sampled_from(["begin", "finalize", "goodbye"]).map(lambda verb: (verb,)),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps, code=st.none() | st.integers(1000, 5000), reason=st.text(max_size=20))
def test_whatever_is_said_only_events_come_out(
    steps: list[Any], code: int | None, reason: str
) -> None:
    protocol = RealtimeProtocol(Options(url="ws://x", turn_detection="server_vad"))
    known = Ready | Partial | Final | Finalized | Farewell | Failed
    for step in steps:
        if isinstance(step, tuple):
            getattr(protocol, step[0])()
        else:
            assert all(isinstance(event, known) for event in protocol.feed(step))
    (end,) = protocol.closed(code, reason)
    assert isinstance(end, Farewell | Failed)


def test_it_says_what_it_can_do() -> None:
    provider = openai_realtime.build("o", Options(url="ws://x"))
    can = provider.capabilities
    assert (can.ready_message, can.finalize, can.partials) == (True, True, True)
    assert (can.part_times, can.billing) == (PartTimes.NONE, Billing.AUDIO)
    assert (can.confidence, can.max_session_s) == (False, 3300)
    assert openai_realtime.build("o", Options(model="gpt-4o-transcribe")).capabilities.confidence
