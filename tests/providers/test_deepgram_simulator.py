from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Farewell
from stt_edge.providers.deepgram import Options, build
from tests.providers.client import Client
from tests.simulators.core import Faults
from tests.simulators.deepgram import Simulator
from tests.simulators.speech import THAI, SyntheticRecogniser, say, text_of

SPEECH = say([1, 2, 3, 4])
QUERY = "?encoding=linear16&sample_rate=16000&model=nova-3&interim_results=true"
PATIENCE_S = 10


def faults(*other: str, **common: Any) -> Faults:
    return Faults(**common, other=frozenset(other))


async def called(simulator: Simulator, directory: Path, **options: Any) -> Client:
    """Connect; nothing is said before audio comes."""
    client = Client(build("it", Options(**{**simulator.options(directory), **options})))
    await client.transport.connect()
    client.protocol.open()
    return client


async def talk(simulator: Simulator, directory: Path, pcm: bytes, **options: Any) -> Client:
    client = await called(simulator, directory, **options)
    await client.speak(pcm)
    await client.goodbye()
    return client


async def test_utterances_follow_one_another_on_one_connection(tmp_path: Path) -> None:
    first, second = SPEECH + bytes(34), say([5, 6])
    async with Simulator() as simulator:
        client = await called(simulator, tmp_path)
        assert await client.utterance(first) == text_of([1, 2, 3, 4])
        client.protocol.keep_alive()
        assert await client.utterance(second) == text_of([5, 6])
        await client.goodbye()
    (session,) = simulator.sessions
    assert session.utterances[:2] == [first, second]
    assert [json.loads(text)["type"] for text in session.texts] == [
        "Finalize",
        "KeepAlive",
        "Finalize",
        "CloseStream",
    ]
    assert client.partials
    assert session.ended
    assert session.closed_code == 1000
    last = client.finals[-1].words[0]
    assert (last.start, last.end) == (800, 4800)


async def test_a_long_utterance_comes_in_pieces_that_are_told_once(tmp_path: Path) -> None:
    words = list(range(12))
    recogniser = lambda: SyntheticRecogniser(THAI)  # noqa: E731
    async with Simulator(faults(duplicate_finals=True), recogniser=recogniser) as simulator:
        client = await talk(simulator, tmp_path, say(words))
    said = {final.item_id: final.text for final in client.finals}
    assert len(said) > 2
    assert " ".join(said.values()) == text_of(words, THAI)


@pytest.mark.parametrize("fault", ["unmarked-finalize", "silent-finalize"])
async def test_an_utterance_ends_though_the_answer_to_finalize_is_not_marked(
    tmp_path: Path, fault: str
) -> None:
    async with Simulator(faults(fault)) as simulator:
        client = await called(simulator, tmp_path)
        assert await client.utterance(SPEECH) == text_of([1, 2, 3, 4])
        await client.goodbye()


async def test_the_goodbye_brings_the_text_when_finalize_is_not_answered(tmp_path: Path) -> None:
    async with Simulator(faults("silent-finalize")) as simulator:
        client = await called(simulator, tmp_path)
        await client.speak(SPEECH)
        client.protocol.finalize()
        client.protocol.finalize()
        await client.flush()
        await client.goodbye()
    assert client.text == text_of([1, 2, 3, 4])


async def test_a_close_without_metadata_ends_well_when_all_is_settled(tmp_path: Path) -> None:
    async with Simulator(faults("no-metadata")) as simulator:
        client = await talk(simulator, tmp_path, SPEECH)
    assert client.text == text_of([1, 2, 3, 4])
    assert isinstance(client.events[-1], Farewell)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults("close=1008"), FailureKind.REQUEST),
        (faults("close=1011"), FailureKind.SERVER),
        (faults("error"), FailureKind.SERVER),
        (faults(drop_s=(0.2,)), FailureKind.LOST),
        (faults(close_code=1011), FailureKind.SERVER),
        (faults(garbage=True), FailureKind.PROTOCOL),
        (faults(huge=True), FailureKind.PROTOCOL),
        (faults(invalid_utf8=True), FailureKind.PROTOCOL),
    ],
    ids=["data", "net", "error", "drop", "close", "garbage", "huge", "utf-8"],
)
async def test_what_goes_wrong_in_the_middle_is_a_failure_of_its_kind(
    tmp_path: Path, fault: Faults, kind: FailureKind
) -> None:
    async with Simulator(fault) as simulator:
        client = await called(simulator, tmp_path)
        client.protocol.begin()
        client.protocol.send_audio(SPEECH[:12_800])
        await client.flush()
        with pytest.raises(ProviderError) as caught:
            await client.until(Farewell)
    assert caught.value.kind is kind


async def test_a_drop_at_the_goodbye_is_a_loss(tmp_path: Path) -> None:
    async with Simulator(faults(drop_at_goodbye=True)) as simulator:
        with pytest.raises(ProviderError) as caught:
            await talk(simulator, tmp_path, SPEECH)
    assert caught.value.kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        (faults(), {"credential": "token", "model": "nova-9"}, FailureKind.REQUEST),
        (faults(), {"url": "/v1/speak"}, FailureKind.REQUEST),
        (faults(http_status=402), {}, FailureKind.DENIED),
        (faults(http_status=403), {}, FailureKind.DENIED),
        (faults(http_status=429, retry_after="9"), {}, FailureKind.OVERLOADED),
        (faults(http_status=500), {}, FailureKind.SERVER),
    ],
    ids=["model", "path", "402", "403", "429", "500"],
)
async def test_a_refused_handshake_is_a_failure_of_its_kind(
    tmp_path: Path, fault: Faults, options: dict[str, Any], kind: FailureKind
) -> None:
    async with Simulator(fault) as simulator:
        if "url" in options:
            options = {"url": simulator.url.replace(simulator.path, options["url"])}
        with pytest.raises(ProviderError) as caught:
            await called(simulator, tmp_path, **options)
    assert caught.value.kind is kind
    assert simulator.refusals == 1
    assert simulator.key not in str(caught.value)


async def test_a_bad_key_is_denied_and_the_remedy_names_its_file(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        options = Options(**simulator.options(tmp_path))
        (tmp_path / "key").write_text("another-key-0815\n")
        with pytest.raises(ProviderError) as caught:
            await build("it", options).make_transport().connect()
    assert caught.value.kind is FailureKind.DENIED
    assert str(tmp_path / "key") in caught.value.remedy


# The simulator is as strict as the service is


async def dial(simulator: Simulator, query: str = QUERY, scheme: str = "token") -> ClientConnection:
    headers = {"Authorization": f"{scheme} {simulator.key}"}
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


@pytest.mark.parametrize(
    "query",
    [
        "?model=nova-3",
        QUERY + "&punctuate=True",
        QUERY + "&endpointing=soon",
        QUERY + "&sample_rate=8000",
        QUERY + "&formatting=true",
        QUERY.replace("nova-3", "nova-9"),
        QUERY.replace("nova-3", "nova-2") + "&keyterm=kaffi",
        QUERY.replace("interim_results=true", "utterance_end_ms=1000"),
    ],
)
async def test_the_simulator_refuses_parameters_that_are_wrong(query: str) -> None:
    async with Simulator() as simulator:
        with pytest.raises(InvalidStatus) as caught:
            await dial(simulator, query)
    assert caught.value.response.status_code == 400
    assert caught.value.response.headers["dg-error"]


async def test_the_simulator_wants_a_scheme_before_the_key() -> None:
    async with Simulator() as simulator:
        with pytest.raises(InvalidStatus) as caught:
            await dial(simulator, scheme="")
        async with await dial(simulator, scheme="Bearer"):
            pass
    assert caught.value.response.status_code == 401


async def test_an_empty_binary_message_ends_the_session() -> None:
    async with Simulator() as simulator, await dial(simulator) as connection:
        await connection.send(SPEECH)
        await connection.send(b"")
        heard = await answers(connection)
    assert not any(item["type"] == "Metadata" for item in heard)


async def test_a_text_that_is_no_control_message_is_an_error() -> None:
    async with Simulator() as simulator, await dial(simulator) as connection:
        for message in ("nonsense", '{"type":"Stop"}'):
            await connection.send(message)
            assert json.loads(await connection.recv())["type"] == "Error"


async def test_keep_alive_does_not_help_before_the_first_audio() -> None:
    async with Simulator(faults("idle=200")) as simulator, await dial(simulator) as connection:

        async def keep_alive() -> None:
            while True:
                await connection.send('{"type":"KeepAlive"}')
                await asyncio.sleep(0.05)

        keeping = asyncio.create_task(keep_alive())
        await answers(connection)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert connection.close_code == 1011
    assert str(connection.close_reason).startswith("NET-0001")


async def test_keep_alive_helps_after_the_first_audio_until_it_stops() -> None:
    async with Simulator(faults("idle=200")) as simulator, await dial(simulator) as connection:
        await connection.send(bytes(3200))
        for _ in range(8):
            await asyncio.sleep(0.05)
            await connection.send('{"type":"KeepAlive"}')
        await answers(connection)
    assert len(simulator.sessions[0].texts) == 8
    assert connection.close_code == 1011
