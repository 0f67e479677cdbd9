from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind
from stt_edge.providers.base import (
    Failed,
    Farewell,
    Final,
    Finalized,
    Partial,
    Ready,
    WordOffset,
)
from stt_edge.providers.worker_protocol import WorkerProtocol

WORDS = [["turn", 3200, 8000, 0.9], ["on", 8000, 9600, None]]
OFFSETS = (WordOffset("turn", 3200, 8000, 0.9), WordOffset("on", 8000, 9600, None))


def fed(body: Any, protocol: WorkerProtocol | None = None) -> Any:
    (event,) = (protocol or WorkerProtocol()).feed(json.dumps(body))
    return event


def test_an_utterance_is_begun_fed_and_finished_in_this_order() -> None:
    protocol = WorkerProtocol()
    protocol.open()
    protocol.begin()
    protocol.send_audio(b"\1\2")
    protocol.finalize()
    protocol.keep_alive()
    protocol.goodbye()
    sent = protocol.to_send()
    assert [json.loads(message)["do"] for message in (sent[0], *sent[2:])] == [
        "begin",
        "finish",
        "goodbye",
    ]
    assert sent[1] == b"\1\2"
    assert protocol.to_send() == []


def test_results_carry_words_times_model_and_language() -> None:
    protocol = WorkerProtocol(language="en")
    assert fed({"type": "ready", "model": "en-us"}, protocol) == Ready()
    assert fed({"type": "partial", "end": 16000, "words": WORDS, "confidence": None}, protocol) == (
        Partial("turn on", 16000, OFFSETS)
    )
    assert fed({"type": "final", "end": 16000, "words": WORDS, "confidence": 0.5}, protocol) == (
        Final("turn on", 3200, 9600, OFFSETS, 0.5, "en", "en-us")
    )
    assert fed({"type": "finished"}, protocol) == Finalized()
    assert protocol.feed(json.dumps({"type": "heard", "end": 16000})) == ()


def test_an_error_of_the_worker_keeps_its_kind_and_remedy() -> None:
    body = {"type": "error", "kind": "setup", "message": "no model", "remedy": "Get one."}
    failure = fed(body).failure
    assert failure.kind is FailureKind.SETUP
    assert str(failure) == "no model Get one."


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        7,
        {"type": "song"},
        {"type": []},
        {"type": "ready"},
        {"type": "ready", "model": 5},
        {"type": "final", "end": 1, "words": [], "confidence": None},
        {"type": "final", "end": 1, "words": WORDS, "confidence": 1.5},
        {"type": "final", "end": 1, "words": WORDS, "confidence": float("nan")},
        {"type": "final", "end": 1, "words": WORDS, "confidence": True},
        {"type": "final", "end": 1, "words": WORDS[::-1], "confidence": None},
        {"type": "final", "end": 1, "words": [["a", 5, 4, None]], "confidence": None},
        {"type": "final", "end": 1, "words": [["a", -1, 4, None]], "confidence": None},
        {"type": "final", "end": 1, "words": [["a", 0, 1 << 70, None]], "confidence": None},
        {"type": "final", "end": 1, "words": [["", 0, 4, None]], "confidence": None},
        {"type": "final", "end": 1, "words": [["a", 0, 4]], "confidence": None},
        {"type": "final", "end": 1, "words": "turn on", "confidence": None},
        {"type": "partial", "words": WORDS},
        {"type": "partial", "end": 1.5, "words": WORDS},
        {"type": "partial", "end": 1, "words": [["a", 0, 1, None]] * 30_000},
        {"type": "error", "kind": "denied", "message": "", "remedy": ""},
        {"type": "error", "kind": "setup", "message": None, "remedy": ""},
    ],
)
def test_what_a_worker_should_not_say_is_a_failure_of_the_protocol(body: Any) -> None:
    event = fed(body)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
bodies = st.fixed_dictionaries(
    {"type": st.sampled_from(["ready", "partial", "final", "finished", "heard", "error"])},
    optional={
        "words": json_values | st.just(WORDS),
        "end": json_values,
        "confidence": json_values,
        "model": json_values,
        "kind": json_values,
        "message": json_values,
        "remedy": json_values,
    },
).map(json.dumps)


@given(st.lists(st.binary(max_size=40) | st.text(max_size=40) | bodies, max_size=6))
def test_whatever_comes_is_an_event_or_a_protocol_failure_and_is_not_kept(
    messages: list[bytes | str],
) -> None:
    protocol = WorkerProtocol()
    for message in messages:
        for event in protocol.feed(message):
            assert isinstance(event, Ready | Partial | Final | Finalized | Failed)
    assert protocol.to_send() == []


@pytest.mark.parametrize("message", ["[" * 100_000, "1" * 10_000, "x" * (2 << 20), b"\xff\xfe"])
def test_a_message_made_to_hurt_is_a_failure_of_the_protocol(message: bytes | str) -> None:
    (event,) = WorkerProtocol().feed(message)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL
    assert len(str(event.failure)) < 300


def test_a_failure_never_repeats_what_was_said() -> None:
    event = fed({"type": "final", "end": 1, "words": [["secret", 9, 4, None]], "confidence": None})
    assert "secret" not in str(event.failure)


def test_the_end_is_a_farewell_only_once_everything_was_said() -> None:
    protocol = WorkerProtocol()
    protocol.goodbye()
    assert protocol.closed(0, "") == (Farewell(),)

    protocol.begin()
    (event,) = protocol.closed(0, "")
    assert isinstance(event, Failed)

    fed({"type": "finished"}, protocol)
    assert protocol.closed(0, "") == (Farewell(),)


def test_an_end_that_nobody_asked_for_is_a_loss_with_its_reason() -> None:
    protocol = WorkerProtocol()
    protocol.begin()
    (event,) = protocol.closed(-9, "the worker ended: signal 9, SIGKILL")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.LOST
    assert event.failure.code == "-9"
    assert "SIGKILL" in str(event.failure)


@pytest.mark.parametrize(
    ("ready", "code", "kind"),
    [
        (False, 1, FailureKind.SETUP),
        (False, -9, FailureKind.LOST),
        (False, None, FailureKind.LOST),
        (True, 1, FailureKind.LOST),
    ],
)
def test_a_worker_that_ends_by_itself_before_it_is_ready_cannot_be_set_up(
    ready: bool, code: int | None, kind: FailureKind
) -> None:
    protocol = WorkerProtocol()
    if ready:
        fed({"type": "ready", "model": "en-us"}, protocol)
    (event,) = protocol.closed(code, "why")
    assert isinstance(event, Failed)
    assert event.failure.kind is kind
