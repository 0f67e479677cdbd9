"""The base of all protocols: what is queued, and what becomes of nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind
from stt_edge.providers.base import Event, Failed, Farewell, HttpReply, Incoming, Partial
from stt_edge.providers.conversation import Conversation, JsonConversation
from stt_edge.providers.json_fields import Fields, MalformedError


class Chat(JsonConversation):
    """Says what it is told, and hears texts and numbers."""

    def begin(self) -> None:
        self._say("begin")

    def send_audio(self, pcm: bytes) -> None:
        self._say(pcm)

    def goodbye(self) -> None:
        self._say("goodbye")

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        return [Farewell()]

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        yield Partial(fields.text("first"))
        yield Partial(str(fields.number("second")))


class Stern(Chat):
    """Understands nothing."""

    def _hear(self, message: Incoming) -> Iterable[Event]:
        raise MalformedError("this place")


def test_messages_are_taken_once_and_in_order() -> None:
    chat = Chat()
    chat.open()
    assert chat.to_send() == []
    chat.begin()
    chat.send_audio(b"ab")
    chat.keep_alive()
    chat.goodbye()
    assert chat.to_send() == ["begin", b"ab", "goodbye"]
    assert chat.to_send() == []


def test_what_was_taken_does_not_change_afterwards() -> None:
    chat = Chat()
    chat.begin()
    taken = chat.to_send()
    chat.goodbye()
    assert taken == ["begin"]


def test_two_conversations_share_nothing() -> None:
    one, other = Chat(), Chat()
    one.begin()
    assert other.to_send() == []


def test_events_come_out_in_order() -> None:
    assert Chat().feed('{"first": "a", "second": 1}') == [Partial("a"), Partial("1.0")]


def test_what_was_understood_before_the_nonsense_still_counts() -> None:
    before, failed = Chat().feed('{"first": "a", "second": "b"}')
    assert before == Partial("a")
    assert isinstance(failed, Failed)
    assert failed.failure.kind is FailureKind.PROTOCOL
    assert failed.failure.message.endswith("second is no number")


@pytest.mark.parametrize("message", [b"{}", HttpReply(200, {}, b"{}"), "[]", "{", ""])
def test_what_is_no_object_in_text_is_a_protocol_failure(message: Incoming) -> None:
    (event,) = Chat().feed(message)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL


def test_a_protocol_may_find_anything_malformed() -> None:
    (event,) = Stern().feed("anything")
    assert isinstance(event, Failed)
    assert event.failure.message.endswith("this place")


@given(
    st.text()
    | st.binary()
    | st.fixed_dictionaries(
        {}, optional={"first": st.none() | st.text() | st.integers(), "second": st.floats()}
    ).map(json.dumps)
)
def test_whatever_is_heard_only_events_come_out(message: str | bytes) -> None:
    events = Chat().feed(message)
    assert events
    assert all(isinstance(event, Partial | Failed) for event in events)
    assert [isinstance(event, Failed) for event in events[:-1]] == [False] * (len(events) - 1)
    for event in events:
        if isinstance(event, Failed):
            assert event.failure.kind is FailureKind.PROTOCOL


def test_what_a_protocol_does_not_have_is_a_mistake_to_ask_for() -> None:
    with pytest.raises(TypeError, match="Chat has no finalize"):
        Chat().finalize()
    with pytest.raises(TypeError, match="Chat"):
        Chat().resume("token")


def test_a_protocol_has_to_say_what_is_its_own() -> None:
    assert Conversation.__abstractmethods__ == {
        "begin",
        "send_audio",
        "goodbye",
        "closed",
        "_hear",
    }
