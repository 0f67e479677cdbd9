from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import assemblyai
from stt_edge.providers.assemblyai import Options, build
from stt_edge.providers.assemblyai_v2 import LegacyProtocol
from stt_edge.providers.base import Event, Failed, Farewell, Final, Partial, Ready, WordOffset
from stt_edge.providers.endings import Endings
from tests.providers.client import Client
from tests.simulators.assemblyai_v2 import Simulator
from tests.simulators.core import Faults
from tests.simulators.speech import THAI, SyntheticRecogniser, say, text_of

MS = 32
SPEECH = say([1, 2, 3, 4])
TERMINATE = '{"terminate_session": true}'


def result(kind: str, text: str = "hello", start: int = 100, end: int = 300) -> str:
    word = {"text": text, "start": start, "end": end, "confidence": 1.0}
    words = [word] if text else []
    body = {"message_type": kind, "text": text, "words": words, "confidence": 0.9}
    return json.dumps(body | {"audio_start": start, "audio_end": end, "created": "2023"})


def speaking(*, binary: bool = False) -> LegacyProtocol:
    protocol = LegacyProtocol(Endings(), binary=binary, remedy="Put a valid key into FILE.")
    protocol.open()
    begins = '{"message_type":"SessionBegins","session_id":"s1","expires_at":"2023-11-04"}'
    assert protocol.feed(begins) == [Ready()]
    protocol.begin()
    protocol.send_audio(bytes(1000 * MS))
    protocol.to_send()
    return protocol


def failure(events: Any) -> ProviderError:
    assert isinstance(events[-1], Failed)
    return events[-1].failure


def test_audio_goes_as_base64_in_json_and_the_goodbye_terminates() -> None:
    protocol = LegacyProtocol(Endings())
    protocol.begin()
    protocol.send_audio(b"\1" * 250 * MS)
    protocol.goodbye()
    first, second, goodbye = protocol.to_send()
    audio = [json.loads(str(message))["audio_data"] for message in (first, second)]
    assert [len(base64.b64decode(item)) for item in audio] == [150 * MS, 100 * MS]
    assert goodbye == TERMINATE


def test_audio_goes_as_it_is_where_the_gateway_wants_it_so() -> None:
    protocol = LegacyProtocol(Endings(), binary=True)
    protocol.begin()
    protocol.send_audio(b"\1" * 100 * MS)
    protocol.goodbye()
    assert protocol.to_send() == [b"\1" * 100 * MS, TERMINATE]


def test_partials_and_finals_carry_words_times_and_an_id() -> None:
    protocol = speaking()
    words = (WordOffset("hello", 1600, 4800, 1.0),)
    assert protocol.feed(result("PartialTranscript")) == [Partial("hello", 4800, words)]
    assert protocol.feed(result("FinalTranscript")) == [
        Final("hello", 1600, 4800, words, 0.9, item_id="s1:100.0")
    ]


def test_a_partial_without_a_final_is_one_at_the_end_of_the_session() -> None:
    protocol = speaking()
    protocol.feed(result("PartialTranscript"))
    protocol.goodbye()
    final, farewell = protocol.feed('{"message_type":"SessionTerminated"}')
    assert isinstance(final, Final)
    assert farewell == Farewell()


def test_a_termination_in_between_makes_a_close_without_one_a_loss_again() -> None:
    endings = Endings()
    kinds = []
    for confirmed in (False, True, False):
        protocol = LegacyProtocol(endings)
        protocol.goodbye()
        if confirmed:
            protocol.feed('{"message_type":"SessionTerminated"}')
        else:
            kinds.append(failure(protocol.closed(1000, "")).kind)
    assert kinds == [FailureKind.LOST, FailureKind.LOST]


def test_an_empty_final_takes_the_partial_back() -> None:
    protocol = speaking()
    protocol.feed(result("PartialTranscript"))
    assert protocol.feed(result("FinalTranscript", "")) == [Partial("")]
    protocol.goodbye()
    assert protocol.feed('{"message_type":"SessionTerminated"}') == [Farewell()]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (4000, FailureKind.REQUEST),
        (4001, FailureKind.DENIED),
        (4002, FailureKind.DENIED),
        (4003, FailureKind.DENIED),
        (4004, FailureKind.LOST),
        (4008, FailureKind.LOST),
        (4010, FailureKind.LOST),
        (4029, FailureKind.OVERLOADED),
        (4030, FailureKind.LOST),
        (4031, FailureKind.LOST),
        (4032, FailureKind.PROTOCOL),
        (4033, FailureKind.PROTOCOL),
        (4034, FailureKind.PROTOCOL),
        (4100, FailureKind.REQUEST),
        (4101, FailureKind.REQUEST),
        (4102, FailureKind.OVERLOADED),
        (4103, FailureKind.LOST),
        (4104, FailureKind.REQUEST),
        (1013, FailureKind.OVERLOADED),
        (1000, FailureKind.LOST),
    ],
)
def test_each_close_code_has_its_meaning(code: int, kind: FailureKind) -> None:
    told = failure(speaking().closed(code, ""))
    assert (told.kind, told.code) == (kind, str(code))


def test_a_termination_nobody_asked_for_is_a_loss() -> None:
    assert failure(speaking().feed('{"message_type":"SessionTerminated"}')).kind is FailureKind.LOST


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
NESTED = VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=5), VALUES)
KINDS = ["SessionBegins", "PartialTranscript", "FinalTranscript", "SessionTerminated", "Other"]
FIELDS = ("session_id", "text", "words", "audio_start", "audio_end", "error")
BODIES = st.fixed_dictionaries(
    {"message_type": st.sampled_from(KINDS) | NESTED},
    optional=dict.fromkeys(FIELDS, NESTED),
).map(json.dumps)


@given(
    st.lists(BODIES | st.text(max_size=30) | st.binary(max_size=30), max_size=6),
    st.booleans(),
    st.none() | st.integers(),
)
def test_whatever_comes_is_an_event_or_a_failure(
    messages: list[Any], parted: bool, code: int | None
) -> None:
    protocol = speaking()
    if parted:
        protocol.goodbye()
        protocol.to_send()
    heard: list[Event] = []
    for message in messages:
        heard += protocol.feed(message)
    heard += protocol.closed(code, "")
    assert all(isinstance(event, Ready | Partial | Final | Farewell | Failed) for event in heard)
    assert protocol.to_send() == []


def test_the_address_is_that_of_the_realtime_api() -> None:
    options = Options(api_key_file="/k", dialect="v2", keyterms=("Reykjavík",))
    endpoint = assemblyai._endpoint(options, "sesame")
    parts = urlsplit(endpoint.url)
    assert (parts.netloc, parts.path) == ("api.assemblyai.com", "/v2/realtime/ws")
    query = parse_qs(parts.query)
    assert json.loads(query.pop("word_boost")[0]) == ["Reykjavík"]
    assert query == {"sample_rate": ["16000"], "encoding": ["pcm_s16le"]}
    assert build("it", options).capabilities.chunk_min_ms == 100


# Against the simulator


def faults(*other: str, **common: Any) -> Faults:
    return Faults(**common, other=frozenset(("unpaced", *other)))


async def talk(simulator: Simulator, directory: Path, pcm: bytes, **options: Any) -> Client:
    talker = Client(build("it", Options(**{**simulator.options(directory), **options})))
    await talker.connect()
    await talker.speak(pcm)
    await talker.goodbye()
    return talker


@pytest.mark.parametrize("binary", [False, True])
async def test_an_utterance_arrives_sample_for_sample_and_comes_back_as_text(
    tmp_path: Path, binary: bool
) -> None:
    pcm = SPEECH + bytes(32 * 17)
    recogniser = lambda: SyntheticRecogniser(THAI)  # noqa: E731
    async with Simulator(faults(), recogniser=recogniser) as simulator:
        talker = await talk(simulator, tmp_path, pcm, binary_audio=binary)
    assert talker.text == text_of([1, 2, 3, 4], THAI)
    assert talker.partials
    (session,) = simulator.sessions
    assert session.pcm == pcm
    assert session.closed_code == 1000
    assert all(1600 <= samples <= 32_000 for samples, _ in session.chunks)


async def test_the_text_is_whole_where_the_last_partial_gets_no_final(tmp_path: Path) -> None:
    async with Simulator(faults("open-turn")) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH)
    assert talker.text == text_of([1, 2, 3, 4])


async def test_a_gateway_that_never_confirms_the_end_is_believed_the_second_time(
    tmp_path: Path,
) -> None:
    async with Simulator(faults("no-termination", "open-turn")) as simulator:
        provider = build("it", Options(**simulator.options(tmp_path)))
        first, second = Client(provider), Client(provider)
        await first.connect()
        await first.speak(SPEECH)
        with pytest.raises(ProviderError) as caught:
            await first.goodbye()
        assert caught.value.kind is FailureKind.LOST
        await second.connect()
        await second.speak(SPEECH)
        await second.goodbye()
    assert second.text == text_of([1, 2, 3, 4])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("open-error=4001", FailureKind.DENIED),
        ("open-error=4003", FailureKind.DENIED),
        ("open-error=4102", FailureKind.OVERLOADED),
        ("error=4029", FailureKind.OVERLOADED),
        ("error=4008", FailureKind.LOST),
        ("error=4100", FailureKind.SERVER),  # the message has no code, and its text says little
    ],
)
async def test_an_error_message_is_understood_before_the_close_comes(
    tmp_path: Path, fault: str, kind: FailureKind
) -> None:
    async with Simulator(faults(fault)) as simulator:
        with pytest.raises(ProviderError) as caught:
            await talk(simulator, tmp_path, SPEECH)
    assert caught.value.kind is kind


async def test_a_drop_is_a_loss(tmp_path: Path) -> None:
    async with Simulator(faults(drop_s=(0.5,))) as simulator:
        with pytest.raises(ProviderError) as caught:
            await talk(simulator, tmp_path, SPEECH)
    assert caught.value.kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("message", "query", "code"),
    [
        (bytes(32 * 99), "?sample_rate=16000", 4032),
        (bytes(32 * 2001), "?sample_rate=16000", 4033),
        ("nonsense", "?sample_rate=16000", 4100),
        ('{"audio_data":7}', "?sample_rate=16000", 4101),
        ('{"audio_data":"%"}', "?sample_rate=16000", 4101),
        ('{"type":"Terminate"}', "?sample_rate=16000", 4101),
        ("", "", 4000),
        ("", "?sample_rate=16000&word_boost=a", 4104),
        ("", "?sample_rate=16000&format_turns=true", 4101),
    ],
)
async def test_the_simulator_is_strict(message: bytes | str, query: str, code: int) -> None:
    async with Simulator() as simulator:
        headers = {"Authorization": simulator.key}
        connection = await connect(simulator.url + query, additional_headers=headers)
        if message:
            await connection.send(message)
        async with asyncio.timeout(10):
            await connection.wait_closed()
        assert connection.close_code == code


async def test_the_simulator_refuses_audio_faster_than_real_time() -> None:
    async with Simulator() as simulator:
        headers = {"Authorization": simulator.key}
        connection = await connect(simulator.url + "?sample_rate=16000", additional_headers=headers)
        for _ in range(4):
            await connection.send(bytes(64_000))
        async with asyncio.timeout(10):
            await connection.wait_closed()
        assert connection.close_code == 4029
