from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    HttpReply,
    Partial,
    PartTimes,
    WordOffset,
)
from stt_edge.providers.endings import Endings
from stt_edge.providers.tiro import Options, TiroProtocol, _endpoint, _refusal

REMEDY = "Put a valid key into /etc/key."


def talking(endings: Endings | None = None, **options: Any) -> TiroProtocol:
    return TiroProtocol(Options(**options), endings or Endings(), key_remedy=REMEDY)


def parting(endings: Endings | None = None, **options: Any) -> TiroProtocol:
    protocol = talking(endings, **options)
    protocol.goodbye()
    return protocol


def sent(protocol: TiroProtocol) -> list[Any]:
    return [json.loads(str(message)) for message in protocol.to_send()]


def result(
    text: str, *words: tuple[str, str, str], is_final: bool = False, **more: Any
) -> dict[str, Any]:
    timed = [{"startTime": start, "endTime": end, "word": word} for start, end, word in words]
    return {
        "alternatives": [{"transcript": text, "confidence": 0, "words": timed}],
        "isFinal": is_final,
        **more,
    }


def results(*items: dict[str, Any], **more: Any) -> str:
    return json.dumps({"result": {"error": None, "results": list(items), **more}})


def failure_of(protocol: TiroProtocol, message: Any) -> ProviderError:
    (event,) = protocol.feed(message if isinstance(message, str) else json.dumps(message))
    assert isinstance(event, Failed)
    return event.failure


GOOD_DAY = (("1.020s", "1.250s", "góðan"), ("1.250s", "2s", "dag"))
GOOD_DAY_WORDS = (WordOffset("góðan", 16320, 20000), WordOffset("dag", 20000, 32000))


def test_it_says_first_how_it_wants_to_be_understood() -> None:
    protocol = talking()
    protocol.open()
    assert sent(protocol) == [
        {
            "streamingConfig": {
                "config": {
                    "encoding": "LINEAR16",
                    "sampleRateHertz": 16000,
                    "languageCode": "is-IS",
                    "maxAlternatives": 1,
                    "enableWordTimeOffsets": True,
                    "enableAutomaticPunctuation": True,
                },
                "interimResults": True,
                "singleUtterance": False,
            }
        }
    ]


def test_every_option_is_asked_for() -> None:
    protocol = talking(
        language="is-IS-x-exp",
        model="new",
        punctuation=False,
        interim_results=False,
        word_times=False,
        single_utterance=True,
    )
    protocol.open()
    (message,) = sent(protocol)
    streaming = message["streamingConfig"]
    assert streaming["config"] == {
        "encoding": "LINEAR16",
        "sampleRateHertz": 16000,
        "languageCode": "is-IS-x-exp",
        "maxAlternatives": 1,
        "enableWordTimeOffsets": False,
        "enableAutomaticPunctuation": False,
        "model": "new",
    }
    assert (streaming["interimResults"], streaming["singleUtterance"]) == (False, True)


def test_audio_goes_out_in_base64() -> None:
    protocol = talking()
    protocol.begin()
    protocol.send_audio(b"\0\1\xff\xfe")
    (message,) = sent(protocol)
    assert base64.b64decode(message["audioContent"], validate=True) == b"\0\1\xff\xfe"
    assert protocol.to_send() == []


def test_the_goodbye_is_an_empty_piece_of_audio_and_the_second_one_the_word_end() -> None:
    protocol = talking()
    protocol.goodbye()
    assert sent(protocol) == [{"audioContent": ""}]
    protocol.goodbye()
    assert sent(protocol) == [{"audioContent": "RU5E"}]


def test_an_interim_result_is_a_partial_with_the_times_of_its_words() -> None:
    assert talking().feed(results(result("góðan dag", *GOOD_DAY))) == [
        Partial("góðan dag", 32000, GOOD_DAY_WORDS)
    ]


def test_a_final_result_begins_and_ends_with_its_words() -> None:
    assert talking().feed(results(result("Góðan dag.", *GOOD_DAY, is_final=True))) == [
        Final("Góðan dag.", 16320, 32000, GOOD_DAY_WORDS)
    ]


def test_absent_fields_and_default_values_are_alike() -> None:
    words = [{"endTime": "0.500s", "word": "já"}]
    bare = {"result": {"results": [{"alternatives": [{"transcript": "já", "words": words}]}]}}
    full = results(result("já", ("0s", "0.500s", "já"), stability=0), speechEventType="X")
    assert talking().feed(json.dumps(bare)) == talking().feed(full)
    for nothing in ({}, {"result": {}}, {"result": None}, {"result": {"results": [{}]}}):
        assert not [
            event
            for event in talking().feed(json.dumps(nothing))
            if not (isinstance(event, Partial) and not event.text)
        ]


def test_a_confidence_of_zero_is_none_and_any_other_is_kept() -> None:
    known = {"transcript": "já", "confidence": 0.75, "words": [{"endTime": "1s", "word": "já"}]}
    unknown = {**known, "confidence": 0}
    for alternative, confidence in ((known, 0.75), (unknown, None)):
        message = results({"alternatives": [alternative], "isFinal": True})
        (event,) = talking().feed(message)
        assert isinstance(event, Final)
        assert event.confidence == confidence


@pytest.mark.parametrize(
    ("text", "samples"),
    [("0s", 0), ("2s", 32000), ("1.020s", 16320), ("1.000062s", 16001), ("0.000062500s", 1)],
)
def test_durations_have_any_number_of_digits(text: str, samples: int) -> None:
    (event,) = talking().feed(results(result("x", ("0s", text, "x"))))
    assert isinstance(event, Partial)
    assert event.end == samples


@pytest.mark.parametrize("text", ["1", "1.s", "-1s", "1e9s", "s", "١s", "999999999s", " 1s"])
def test_what_is_no_duration_is_a_failure_of_the_protocol(text: str) -> None:
    failure = failure_of(talking(), results(result("x", ("0s", text, "x"))))
    assert failure.kind is FailureKind.PROTOCOL


def test_only_the_best_alternative_counts() -> None:
    best = result("já", ("0s", "1s", "já"), is_final=True)
    best["alternatives"].append({"transcript": "jæja"})
    assert [event.text for event in talking().feed(results(best)) if isinstance(event, Final)] == [
        "já"
    ]


def test_an_empty_final_withdraws_the_partial_before_it() -> None:
    protocol = parting()
    protocol.feed(results(result("hm", ("0s", "1s", "hm"))))
    assert protocol.feed(results(result("", is_final=True))) == [Partial("")]
    assert protocol.closed(1006, "") == (Farewell(confirmed=False),)


def test_a_result_may_say_where_it_ends_in_place_of_its_words() -> None:
    protocol = talking()
    first = results(result("já", is_final=True, resultEndTime="1.5s", languageCode="is-is"))
    second = results(result("nei", is_final=True, resultEndTime="2.5s"))
    assert protocol.feed(first) == [Final("já", 0, 24000, language="is-is")]
    assert protocol.feed(second) == [Final("nei", 24000, 40000)]


def test_finals_without_times_stay_partials_until_the_end() -> None:
    protocol = talking()
    assert protocol.feed(results(result("góðan dag", is_final=True))) == [Partial("góðan dag")]
    assert protocol.feed(results(result("já"))) == [Partial("góðan dag já")]
    late = result("já já", ("3s", "4s", "já"), ("4s", "5s", "já"), is_final=True)
    assert protocol.feed(results(late)) == [Partial("góðan dag já já")]
    protocol.goodbye()
    assert protocol.closed(1006, "") == (Final("góðan dag já já"), Farewell(confirmed=False))


def test_finals_are_final_where_no_times_are_asked_for() -> None:
    protocol = talking(word_times=False)
    assert protocol.feed(results(result("já", is_final=True))) == [Final("já")]


@pytest.mark.parametrize("code", [None, 1000, 1005, 1006])
def test_any_ordinary_end_after_the_goodbye_is_a_farewell(code: int | None) -> None:
    assert parting().closed(code, "") == (Farewell(confirmed=False),)


@pytest.mark.parametrize(
    ("code", "kind"), [(1006, FailureKind.LOST), (1000, FailureKind.LOST), (None, FailureKind.LOST)]
)
def test_any_end_before_the_goodbye_is_a_loss(code: int | None, kind: FailureKind) -> None:
    (event,) = talking().closed(code, "")
    assert isinstance(event, Failed)
    assert event.failure.kind is kind


def test_a_complaint_in_the_close_frame_is_a_failure_even_after_the_goodbye() -> None:
    (event,) = parting().closed(1011, "oh")
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.SERVER


def test_an_end_without_the_last_final_is_a_loss_once_and_then_the_way_it_ends() -> None:
    endings = Endings()
    partial = results(result("góðan dag", *GOOD_DAY))

    def ending() -> list[Event]:
        protocol = parting(endings)
        protocol.feed(partial)
        return list(protocol.closed(1006, ""))

    (first,) = ending()
    assert isinstance(first, Failed)
    assert first.failure.kind is FailureKind.LOST
    assert ending() == [Final("góðan dag"), Farewell(confirmed=False)]
    assert ending() == [Final("góðan dag"), Farewell(confirmed=False)]

    parting(endings).closed(1006, "")  # in good order
    (again,) = ending()
    assert isinstance(again, Failed)


def test_the_end_of_the_audio_may_be_confirmed_in_a_message() -> None:
    trailer = results(resultIndex=0, endpointerType="END_OF_AUDIO")
    assert talking().feed(trailer) == []
    assert parting().feed(trailer) == [Farewell()]


def test_the_end_of_a_single_utterance_is_no_goodbye_of_ours() -> None:
    protocol = talking(single_utterance=True)
    assert protocol.feed(results(speechEventType="END_OF_SINGLE_UTTERANCE")) == []
    (event,) = protocol.closed(1006, "")
    assert isinstance(event, Failed)


KINDS = {
    1: FailureKind.LOST,
    2: FailureKind.SERVER,
    3: FailureKind.REQUEST,
    4: FailureKind.TIMEOUT,
    5: FailureKind.REQUEST,
    7: FailureKind.DENIED,
    8: FailureKind.OVERLOADED,
    10: FailureKind.LOST,
    12: FailureKind.REQUEST,
    13: FailureKind.SERVER,
    14: FailureKind.LOST,
    16: FailureKind.DENIED,
}


@pytest.mark.parametrize(("code", "kind"), KINDS.items())
def test_every_status_has_its_kind_in_every_shape(code: int, kind: FailureKind) -> None:
    status = {"code": code, "message": "so it is", "details": []}
    old = {"grpc_code": code, "http_code": 400, "message": "so it is", "http_status": "Bad"}
    for message in (
        {"error": status},
        {"error": old},
        {"result": {"error": status, "results": []}},
        status,
        {"error": "so it is", **status},
    ):
        failure = failure_of(parting(), message)
        assert failure.kind is kind
        assert "so it is" in str(failure)


def test_a_refused_field_is_named() -> None:
    violations = [{"field": "config.language_code", "description": "Unsupported value 'xx'"}]
    details = [{"@type": "types/google.rpc.BadRequest", "fieldViolations": violations}]
    status = {"code": 3, "message": "Invalid request. See details", "details": details}
    assert "config.language_code: Unsupported value 'xx'" in str(
        failure_of(talking(), {"error": status})
    )


def test_a_refused_key_is_to_be_put_right_in_its_file() -> None:
    failure = failure_of(talking(), {"error": {"code": 16, "message": "no"}})
    assert failure.remedy == REMEDY
    for status in (401, 403):
        refused = _refusal(HttpReply(status), REMEDY)
        assert (refused.kind, refused.remedy) == (FailureKind.DENIED, REMEDY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.REQUEST),
        (404, FailureKind.REQUEST),
        (501, FailureKind.REQUEST),
        (429, FailureKind.OVERLOADED),
        (503, FailureKind.SERVER),
    ],
)
def test_a_refused_handshake_has_its_kind(status: int, kind: FailureKind) -> None:
    assert _refusal(HttpReply(status), REMEDY).kind is kind


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "wss://speech.talgreinir.is/v2beta1/speech:streamingrecognize?token=a%2Bb"),
        ("ws://host:81", "ws://host:81/v2beta1/speech:streamingrecognize?token=a%2Bb"),
        ("ws://host/v1/x?y=1", "ws://host/v1/x?y=1&token=a%2Bb"),
    ],
)
def test_the_key_goes_into_the_query_and_into_no_text(url: str | None, expected: str) -> None:
    endpoint = _endpoint(url, "a+b")
    assert endpoint.url == expected
    assert "a+b" not in repr(endpoint)
    assert "a%2Bb" not in repr(endpoint)
    assert endpoint.headers == {}


def test_options_change_what_it_is_said_to_be_capable_of(tmp_path: Path) -> None:
    def built(**options: Any) -> Any:
        return registry.build("t", "tiro", Options(api_key_file=str(tmp_path / "key"), **options))

    usual = built().capabilities
    assert usual.part_times is PartTimes.WORDS
    assert usual.partials
    assert (usual.billing, usual.finalize, usual.hold_s) == (Billing.AUDIO, False, 0)
    other = built(word_times=False, interim_results=False, billing="session", rate=2.0)
    assert other.capabilities.part_times is PartTimes.NONE
    assert not other.capabilities.partials
    assert other.capabilities.billing is Billing.SESSION
    assert other.capabilities.pacing.rate == 2.0
    provider = built(language="is-IS-x-exp", price_per_hour=2.5)
    assert provider.language == "is-IS-x-exp"
    assert provider.price_per_hour == 2.5
    assert provider.watched == (str(tmp_path / "key"),)


def test_without_a_key_file_it_cannot_be_set_up() -> None:
    with pytest.raises(ProviderError) as caught:
        registry.build("t", "tiro", Options())
    assert caught.value.kind is FailureKind.SETUP
    assert "api_key_file" in dict(Options().problems())


NAMES = (
    *("error", "code", "details", "fieldViolations", "endpointerType"),
    *("results", "isFinal", "alternatives", "transcript", "confidence"),
    *("words", "startTime", "endTime"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner | st.sampled_from(["1s", "END_OF_AUDIO", 3, [{"word": "x"}]]),
            max_size=4,
        )
    ),
    max_leaves=15,
)
bodies = st.fixed_dictionaries(
    {}, optional={"result": json_values, "error": json_values, "code": json_values}
).map(json.dumps)


@given(
    st.lists(st.binary(max_size=40) | st.text(max_size=40) | bodies, max_size=6),
    st.none() | st.integers(0, 5000),
    st.text(max_size=40),
    st.booleans(),
)
def test_whatever_comes_is_an_event_or_a_failure(
    messages: list[bytes | str], code: int | None, reason: str, is_parting: bool
) -> None:
    protocol = parting() if is_parting else talking()
    protocol.to_send()
    for message in messages:
        for event in protocol.feed(message):
            assert isinstance(event, Partial | Final | Farewell | Failed)
    assert isinstance(protocol.closed(code, reason)[-1], Farewell | Failed)
    assert protocol.to_send() == []


@pytest.mark.parametrize("message", ["[" * 100_000, "1" * 10_000, b"{}", '{"result":7}', "\0"])
def test_a_message_made_to_hurt_is_a_failure_of_the_protocol(message: bytes | str) -> None:
    (event,) = talking().feed(message)
    assert isinstance(event, Failed)
    assert event.failure.kind is FailureKind.PROTOCOL
    assert len(str(event.failure)) < 300


def test_results_without_times_are_not_kept_without_end() -> None:
    protocol = talking()
    message = results(result("x" * 100_000, is_final=True))
    events = [event for _ in range(20) for event in protocol.feed(message)]
    assert isinstance(events[-1], Failed)


def test_a_failure_never_repeats_what_was_said() -> None:
    failure = failure_of(talking(), results(result("leyndarmál", ("x", "y", "leyndarmál"))))
    assert "leyndarmál" not in str(failure)
