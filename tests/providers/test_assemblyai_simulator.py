from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.assemblyai import Options, build
from stt_edge.providers.base import Farewell
from tests.providers.client import Client
from tests.simulators.assemblyai import Simulator
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of

SPEECH = say([1, 2, 3, 4])
PAUSE = bytes(32 * 600)
QUERY = "?sample_rate=16000&encoding=pcm_s16le&format_turns=true"
PATIENCE_S = 10


def faults(*other: str, **common: Any) -> Faults:
    return Faults(**common, other=frozenset(("unpaced", *other)))


def changes(value: Any) -> str:
    """Name a set of faults by what is wrong."""
    if not isinstance(value, Faults):
        return str(value)
    usual = Faults()
    names = {item.name for item in fields(Faults)} - {"other"}
    wrong = [name for name in sorted(names) if getattr(value, name) != getattr(usual, name)]
    return "+".join([*wrong, *sorted(value.other - {"unpaced"})])


def client(simulator: Simulator, directory: Path, **options: Any) -> Client:
    return Client(build("it", Options(**{**simulator.options(directory), **options})))


async def talk(simulator: Simulator, directory: Path, pcm: bytes, **options: Any) -> Client:
    talker = client(simulator, directory, **options)
    await talker.connect()
    await talker.speak(pcm)
    await talker.goodbye()
    return talker


async def test_an_utterance_arrives_sample_for_sample_and_comes_back_as_text(
    tmp_path: Path,
) -> None:
    pcm = SPEECH + bytes(32 * 17)  # no whole number of messages
    async with Simulator(faults()) as simulator:
        talker = await talk(simulator, tmp_path, pcm)
    assert talker.text == text_of([1, 2, 3, 4])
    assert talker.partials
    (session,) = simulator.sessions
    assert session.pcm == pcm
    assert session.ended
    assert session.closed_code == 1000
    assert all(800 <= samples <= 16_000 for samples, _ in session.chunks)
    word = talker.finals[0].words[0]
    assert (word.start, word.end) == (800, 4800)


async def test_pauses_make_several_turns_and_formatting_does_not_double_them(
    tmp_path: Path,
) -> None:
    async with Simulator(faults("formats")) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH + PAUSE + say([5, 6]))
    first, second = (final.text for final in talker.finals)
    assert first == text_of([1, 2, 3, 4]).capitalize() + "."
    assert second == text_of([5, 6]).capitalize() + "."
    assert len({final.item_id for final in talker.finals}) == 2


@pytest.mark.parametrize("fault", ["plain-only", "open-turn"])
async def test_the_text_is_whole_however_the_turn_ends(tmp_path: Path, fault: str) -> None:
    async with Simulator(faults(fault)) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH)
    assert talker.text == text_of([1, 2, 3, 4])


async def test_repeated_finals_are_told_once(tmp_path: Path) -> None:
    async with Simulator(faults(duplicate_finals=True)) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH, format_turns=False)
    assert talker.text == text_of([1, 2, 3, 4])


async def test_icelandic_goes_through_unharmed(tmp_path: Path) -> None:
    recogniser = lambda: SyntheticRecogniser(ICELANDIC)  # noqa: E731
    async with Simulator(faults(), recogniser=recogniser) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH, language="is", keyterms=("Þórður",))
    assert talker.text == text_of([1, 2, 3, 4], ICELANDIC)


async def test_a_key_in_the_query_is_as_good(tmp_path: Path) -> None:
    async with Simulator(faults()) as simulator:
        talker = await talk(simulator, tmp_path, SPEECH, auth="query")
    assert isinstance(talker.events[-1], Farewell)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults("error=1008"), FailureKind.DENIED),
        (faults("error=3006"), FailureKind.REQUEST),
        (faults("error=3008"), FailureKind.LOST),
        (faults("error=3009"), FailureKind.OVERLOADED),
        (faults("open-error=4002"), FailureKind.DENIED),
        (faults("open-error=3009", "untyped-error"), FailureKind.OVERLOADED),
        (faults(drop_s=(0.2,)), FailureKind.LOST),
        (faults(drop_at_goodbye=True), FailureKind.LOST),
        (faults(close_code=1011), FailureKind.SERVER),
        (faults(http_status=402), FailureKind.DENIED),
        (faults(http_status=429, retry_after="7"), FailureKind.OVERLOADED),
        (faults(http_status=503), FailureKind.SERVER),
    ],
    ids=changes,
)
async def test_what_goes_wrong_is_a_failure_of_its_kind(
    tmp_path: Path, fault: Faults, kind: FailureKind
) -> None:
    async with Simulator(fault) as simulator:
        with pytest.raises(ProviderError) as caught:
            await talk(simulator, tmp_path, SPEECH)
    assert caught.value.kind is kind
    assert simulator.key not in str(caught.value)
    if fault.retry_after is not None:
        assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("nonsense", ["garbage", "huge", "invalid_utf8"])
async def test_nonsense_is_a_failure_of_the_protocol(tmp_path: Path, nonsense: str) -> None:
    async with Simulator(faults(**{nonsense: True})) as simulator:
        talker = client(simulator, tmp_path)
        await talker.connect()
        await talker.speak(SPEECH)
        with pytest.raises(ProviderError) as caught:
            await talker.until(Farewell)
    assert caught.value.kind is FailureKind.PROTOCOL


@pytest.mark.parametrize("fault", [faults(), faults("401")], ids=["1008", "401"])
async def test_a_bad_key_is_denied_and_the_remedy_names_its_file(
    tmp_path: Path, fault: Faults
) -> None:
    async with Simulator(fault) as simulator:
        talker = client(simulator, tmp_path)
        (tmp_path / "key").write_text("another-key-0815\n")
        with pytest.raises(ProviderError) as caught:
            await talker.connect()
    assert caught.value.kind is FailureKind.DENIED
    assert str(tmp_path / "key") in caught.value.remedy
    assert simulator.key not in str(caught.value)


async def test_a_close_without_termination_is_believed_the_second_time(tmp_path: Path) -> None:
    async with Simulator(faults("no-termination")) as simulator:
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


# The simulator is as strict as the service is


async def dial(simulator: Simulator, query: str = QUERY) -> ClientConnection:
    headers = {"Authorization": simulator.key}
    return await connect(simulator.url + query, additional_headers=headers)


async def answers(connection: Connection) -> list[Any]:
    """Return what comes until the connection is closed."""
    heard = []
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                heard.append(json.loads(await connection.recv()))
        except ConnectionClosed:
            return heard


@pytest.mark.parametrize("milliseconds", [49, 1001])
async def test_the_simulator_takes_messages_of_50_to_1000_ms_only(milliseconds: int) -> None:
    async with Simulator(faults()) as simulator, await dial(simulator) as connection:
        await connection.send(bytes(32 * milliseconds))
        heard = await answers(connection)
    assert heard[-1]["error_code"] == 3007
    assert connection.close_code == 3007


async def test_the_simulator_refuses_audio_faster_than_real_time() -> None:
    async with Simulator() as simulator, await dial(simulator) as connection:
        for _ in range(20):
            await connection.send(bytes(32_000))
        heard = await answers(connection)
    assert heard[-1]["error_code"] == 3007
    assert "real time" in heard[-1]["error"]


@pytest.mark.parametrize("message", ["nonsense", "[]", '{"type":"Stop"}', "{}"])
async def test_the_simulator_refuses_messages_it_does_not_know(message: str) -> None:
    async with Simulator(faults()) as simulator, await dial(simulator) as connection:
        await connection.send(message)
        heard = await answers(connection)
    assert heard[-1]["error_code"] == 3006


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sample_rate=no",
        "?sample_rate=16000&format_turns=perhaps",
        "?sample_rate=16000&keyterms_prompt=a,b",
        "?sample_rate=16000&speech_model=best",
        "?sample_rate=16000&speech_modle=u3-rt-pro",
        "?sample_rate=16000&sample_rate=8000",
    ],
)
async def test_the_simulator_refuses_parameters_that_are_wrong(query: str) -> None:
    async with Simulator() as simulator, await dial(simulator, query) as connection:
        heard = await answers(connection)
    assert [item["type"] for item in heard] == ["Error"]
    assert connection.close_code == 3006


async def test_the_simulator_knows_one_path_only() -> None:
    async with Simulator() as simulator:
        simulator.path = "/v2/ws"
        url = simulator.url
        simulator.path = "/v3/ws"
        with pytest.raises(InvalidStatus) as caught:
            await connect(url)
    assert caught.value.response.status_code == 404
    assert simulator.refusals == 1


async def test_a_forced_endpoint_ends_the_turn_and_the_next_goes_on() -> None:
    async with Simulator(faults()) as simulator, await dial(simulator) as connection:
        await connection.send(say([1], word_ms=700))
        await connection.send('{"type":"ForceEndpoint"}')
        await connection.send(say([2], word_ms=700))
        await connection.send('{"type":"Terminate"}')
        heard = await answers(connection)
    final = [turn for turn in heard if turn.get("end_of_turn")]
    assert [(turn["turn_order"], turn["turn_is_formatted"]) for turn in final] == [
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    ]
    assert heard[-1]["type"] == "Termination"
    assert connection.close_code == 1000
