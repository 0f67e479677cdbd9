"""The client and the simulator of Tiro, over real sockets."""

from __future__ import annotations

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry, tiro
from stt_edge.providers.base import Farewell, Provider
from tests.providers.client import Caller
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of
from tests.simulators.tiro import Simulator

WORDS = [0, 1, 5, 6, 7]
TEXT = text_of(WORDS, ICELANDIC)
SPEECH = say(WORDS)
PAUSE = bytes(32_000)
CONFIG = {"encoding": "LINEAR16", "sampleRateHertz": 16000, "languageCode": "is-IS"}


def simulator(*other: str, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults),
        recogniser=partial(SyntheticRecogniser, ICELANDIC),
    )


def provider(service: Simulator, directory: Path, **options: Any) -> Provider:
    known = service.options(directory)
    return registry.build("t", "tiro", tiro.Options(**known, **options))


async def call(service: Simulator, directory: Path, pcm: bytes = SPEECH, **options: Any) -> Caller:
    return await Caller(provider(service, directory, **options)).whole(pcm)


async def failure(service: Simulator, directory: Path, **options: Any) -> ProviderError:
    async with service:
        with pytest.raises(ProviderError) as caught:
            await call(service, directory, **options)
    return caught.value


@pytest.mark.parametrize("mode", ["", "omit-defaults"])
async def test_everything_said_is_understood_with_its_times(mode: str, tmp_path: Path) -> None:
    async with simulator(mode) as service:
        client = await call(service, tmp_path)
    (session,) = service.sessions
    assert session.pcm == SPEECH
    assert session.ended
    assert client.text == TEXT
    (final,) = client.finals
    assert [(word.start, word.end) for word in final.words] == [
        (800 + at * 4800, 4800 + at * 4800) for at in range(5)
    ]
    assert final.confidence is None
    assert client.partials
    assert TEXT.startswith(client.partials[0].text)
    assert client.events[-1] == Farewell(confirmed=False)


async def test_a_pause_makes_a_final_and_the_stream_goes_on(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await call(service, tmp_path, SPEECH + PAUSE + SPEECH)
    assert [final.text for final in client.finals] == [TEXT, TEXT]
    assert client.finals[1].start == len(SPEECH + PAUSE) // 2 + 800


async def test_without_interim_results_there_are_finals_only(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await call(service, tmp_path, interim_results=False)
    assert (client.partials, client.text) == ([], TEXT)


async def test_without_word_times_the_text_is_the_same(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await call(service, tmp_path, word_times=False)
    assert client.text == TEXT
    assert client.finals[0].words == ()


async def test_a_service_that_gives_no_times_though_asked_says_all_in_the_end(
    tmp_path: Path,
) -> None:
    async with simulator("no-word-times") as service:
        client = await call(service, tmp_path, SPEECH + PAUSE + SPEECH)
    assert [final.text for final in client.finals] == [f"{TEXT} {TEXT}"]


async def test_a_stream_without_results_ends_in_good_order(tmp_path: Path) -> None:
    async with simulator("no-results") as service:
        client = await call(service, tmp_path)
    assert client.events == [Farewell(confirmed=False)]


async def test_a_trailer_ends_it_while_the_connection_stays(tmp_path: Path) -> None:
    async with simulator("end-of-audio") as service:
        client = await call(service, tmp_path)
    assert (client.text, client.events[-1]) == (TEXT, Farewell())


async def test_an_older_server_is_told_the_end_in_its_word(tmp_path: Path) -> None:
    async with simulator("only-end") as service:
        client = Caller(provider(service, tmp_path))
        await client.connect()
        await client.speak(SPEECH)
        client.protocol.goodbye()  # not understood; the session says it again after 2 s
        await client.goodbye()
    assert client.text == TEXT
    assert [json.loads(text) for text in service.sessions[0].texts[-2:]] == [
        {"audioContent": ""},
        {"audioContent": "RU5E"},
    ]


async def test_a_single_utterance_ends_with_the_first_pause(tmp_path: Path) -> None:
    async with simulator() as service:
        client = Caller(provider(service, tmp_path, single_utterance=True))
        await client.connect()
        await client.speak(SPEECH + PAUSE)
        with pytest.raises(ProviderError) as caught:
            await client.until(Farewell)
        await client.transport.close()
    assert caught.value.kind is FailureKind.LOST
    assert client.text == TEXT


async def test_a_line_that_is_too_long_for_the_proxy_breaks_the_connection(tmp_path: Path) -> None:
    error = await failure(simulator("short-lines"), tmp_path)
    assert error.kind is FailureKind.LOST


@pytest.mark.parametrize("shape", ["", "old-errors", "omit-defaults", "refuse-token"])
async def test_a_bad_key_is_told_with_the_file_to_put_right(shape: str, tmp_path: Path) -> None:
    service = simulator(shape)
    async with service:
        told = provider(service, tmp_path)
        (tmp_path / "key").write_text("wrong-key\n")
        with pytest.raises(ProviderError) as caught:
            await Caller(told).whole(SPEECH)
    assert caught.value.kind is FailureKind.DENIED
    assert str(tmp_path / "key") in caught.value.remedy
    assert "wrong-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("grpc-8", FailureKind.OVERLOADED),
        ("grpc-13", FailureKind.SERVER),
        ("grpc-14-inside", FailureKind.LOST),
        ("grpc-7", FailureKind.DENIED),
    ],
)
async def test_a_status_in_mid_stream_has_its_kind(
    fault: str, kind: FailureKind, tmp_path: Path
) -> None:
    assert (await failure(simulator(fault), tmp_path)).kind is kind


async def test_an_unknown_language_is_named(tmp_path: Path) -> None:
    error = await failure(simulator(), tmp_path, language="xx")
    assert error.kind is FailureKind.REQUEST
    assert "language_code" in str(error)


async def test_another_path_is_refused(tmp_path: Path) -> None:
    service = simulator()
    async with service:
        url = service.url.replace("v2beta1", "v9")
        known = {**service.options(tmp_path), "url": url}
        with pytest.raises(ProviderError) as caught:
            await Caller(registry.build("t", "tiro", tiro.Options(**known))).whole(SPEECH)
    assert caught.value.kind is FailureKind.REQUEST


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"http_status": 402}, FailureKind.DENIED),
        ({"http_status": 429, "retry_after": "7"}, FailureKind.OVERLOADED),
        ({"http_status": 500}, FailureKind.SERVER),
        ({"garbage": True}, FailureKind.PROTOCOL),
        ({"huge": True}, FailureKind.PROTOCOL),
        ({"invalid_utf8": True}, FailureKind.PROTOCOL),
        ({"close_code": 1011}, FailureKind.SERVER),
        ({"drop_s": (0.5,)}, FailureKind.LOST),
    ],
)
async def test_what_any_service_may_do_wrong_is_a_failure(
    faults: dict[str, Any], kind: FailureKind, tmp_path: Path
) -> None:
    error = await failure(simulator(**faults), tmp_path)
    assert error.kind is kind
    assert error.retry_after_s == (7.0 if "retry_after" in faults else None)


async def test_a_drop_in_place_of_the_last_final_is_made_good_once(tmp_path: Path) -> None:
    async with simulator(drop_at_goodbye=True) as service:
        told = provider(service, tmp_path)
        with pytest.raises(ProviderError) as caught:
            await Caller(told).whole(SPEECH)
        assert caught.value.kind is FailureKind.LOST
        client = await Caller(told).whole(SPEECH)
    assert client.text
    assert TEXT.startswith(client.text)


async def test_a_final_that_comes_twice_has_the_same_times(tmp_path: Path) -> None:
    async with simulator(duplicate_finals=True) as service:
        client = await call(service, tmp_path)
    first, second = client.finals
    assert first == second


async def test_a_close_before_the_end_loses_the_final() -> None:
    async with simulator() as service, opened(service) as connection:
        await say_to(connection, {"streamingConfig": {"config": CONFIG}})
        await say_to(connection, {"audioContent": base64.b64encode(SPEECH).decode()})
        await connection.close()
        with pytest.raises(ConnectionClosed):
            await connection.recv()


# --- how strict the simulator is ---


def opened(service: Simulator) -> connect:
    return connect(f"{service.url}?token={service.key}", compression=None)


async def say_to(connection: ClientConnection, message: Any) -> None:
    await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))


AUDIO = {"audioContent": "AAAA"}
GOOD = {"streamingConfig": {"config": CONFIG}}


@pytest.mark.parametrize(
    "messages",
    [
        ["no json"],
        ["[]"],
        [AUDIO],
        [{**GOOD, **AUDIO}],
        [GOOD, GOOD],
        [GOOD, {}],
        [GOOD, {"audioContent": "*"}],
        [GOOD, {"audioContent": "AA=="}],
        [GOOD, {"audioContent": 7}],
        [{"streamingConfig": {}}],
        [{"streamingConfig": {"config": CONFIG, "interimResults": 1}}],
        [{"streamingConfig": {"config": {**CONFIG, "encoding": "FLAC"}}}],
        [{"streamingConfig": {"config": {**CONFIG, "languageCode": "xx"}}}],
        [{"streamingConfig": {"config": {**CONFIG, "sampleRateHertz": 7999}}}],
        [{"streamingConfig": {"config": {**CONFIG, "maxAlternatives": 31}}}],
    ],
)
async def test_what_the_service_cannot_take_is_an_invalid_argument(messages: list[Any]) -> None:
    async with simulator() as service, opened(service) as connection:
        for message in messages:
            await say_to(connection, message)
        assert json.loads(await connection.recv())["error"]["code"] == 3
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is None  # no close frame


async def test_frames_may_be_binary_and_unknown_names_are_passed_over() -> None:
    async with simulator() as service, opened(service) as connection:
        streaming = {"config": {**CONFIG, "model": "x"}, "z": 1}
        await say_to(connection, json.dumps({"streamingConfig": streaming}).encode())
        await say_to(connection, {"audioContent": base64.b64encode(SPEECH).decode()})
        await say_to(connection, {"audioContent": ""})
        (hypothesis,) = json.loads(await connection.recv())["result"]["results"]
        assert hypothesis["isFinal"]
        assert hypothesis["alternatives"][0]["words"] == []


async def test_the_token_may_be_refused_at_the_handshake() -> None:
    async with simulator("refuse-token") as service:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{service.url}?token=wrong", compression=None)
    assert refused.value.response.status_code == 401


async def test_the_end_of_the_stream_comes_without_a_close_frame() -> None:
    async with simulator() as service, opened(service) as connection:
        for message in (GOOD, {"audioContent": ""}):
            await say_to(connection, message)
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is None
    assert service.sessions[0].closed_code == 1006
