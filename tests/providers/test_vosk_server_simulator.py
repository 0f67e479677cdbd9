"""The client and the simulator of vosk-server, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import Event, Farewell, Finalized, Provider, TransportClosedError
from stt_edge.providers.vosk_server import Options
from tests.providers.client import PATIENCE_S, Client
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of
from tests.simulators.vosk_server import Simulator

WORDS = [0, 1, 2, 5, 6, 3, 4, 9]
TEXT = text_of(WORDS, ICELANDIC)
SPEECH = say(WORDS)
CONFIG = '{"config" : {"sample_rate" : 16000, "words" : true}}'


def simulator(*other: str, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults),
        recogniser=partial(SyntheticRecogniser, ICELANDIC),
    )


def provider(service: Simulator, directory: Path, **options: Any) -> Provider:
    known = service.options(directory)
    return registry.build("v", "vosk_server", Options(**known, **options))


class Caller(Client):
    """Listens while it speaks, as a session does."""

    async def connect(self) -> None:
        await self.transport.connect()
        self.protocol.open()
        await self.flush()

    async def utterance(self, pcm: bytes) -> str:
        before = len(self.finals)
        await self._say(pcm, self.protocol.finalize, Finalized)
        return " ".join(final.text for final in self.finals[before:])

    async def last_utterance(self, pcm: bytes) -> str:
        """End with the goodbye, without asking for the result first."""
        await self._say(pcm, self.protocol.goodbye, Farewell)
        return self.text

    async def _say(self, pcm: bytes, end: Callable[[], None], answer: type[Event]) -> None:
        async def speak() -> None:
            await self.speak(pcm)
            end()
            await self.flush()

        tasks = [asyncio.create_task(self.until(answer)), asyncio.create_task(speak())]
        _, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in waiting:
            task.cancel()
        failures = [task.exception() for task in tasks if task not in waiting]
        for failed in filter(None, failures):
            raise failed

    async def flush(self) -> None:
        with contextlib.suppress(TransportClosedError):  # the receiver learns of it too
            await super().flush()


@contextlib.asynccontextmanager
async def calling(service: Simulator, directory: Path, **options: Any) -> AsyncIterator[Caller]:
    async with service:
        caller = Caller(provider(service, directory, **options))
        await caller.connect()
        try:
            yield caller
        finally:
            await caller.transport.close()


async def failure(service: Simulator, directory: Path, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        async with calling(service, directory, **options) as caller:
            await caller.last_utterance(SPEECH)
    return caught.value


async def test_everything_said_is_understood_with_times_and_partials(tmp_path: Path) -> None:
    service = simulator()
    async with calling(service, tmp_path) as caller:
        assert await caller.last_utterance(SPEECH) == TEXT
    assert service.sessions[0].pcm == SPEECH
    assert caller.partials
    assert len(caller.finals) > 1, "the server found a pause"
    starts = [word.start for final in caller.finals for word in final.words]
    assert starts == [800 + 4800 * at for at in range(len(WORDS))]


async def test_many_utterances_share_a_connection_and_each_has_its_own_times(
    tmp_path: Path,
) -> None:
    service = simulator()
    async with calling(service, tmp_path) as caller:
        for _ in range(3):
            del caller.events[:]
            assert await caller.utterance(SPEECH) == TEXT
            assert caller.finals[0].start == 800
        await caller.goodbye()
    assert service.sessions[0].utterances[:3] == [SPEECH] * 3
    assert service.sessions[0].ended


async def test_a_silent_utterance_has_no_result(tmp_path: Path) -> None:
    async with calling(simulator(), tmp_path) as caller:
        assert await caller.utterance(bytes(32_000)) == ""
        assert caller.finals == []


async def test_finals_said_twice_are_taken_once(tmp_path: Path) -> None:
    async with calling(simulator(duplicate_finals=True), tmp_path) as caller:
        assert await caller.utterance(SPEECH) == TEXT
        assert await caller.utterance(SPEECH) == TEXT


async def test_without_words_and_with_alternatives_the_text_is_the_same(tmp_path: Path) -> None:
    async with calling(simulator(), tmp_path, words=False) as caller:
        assert await caller.utterance(SPEECH) == TEXT
        assert caller.finals[0].start is None
    async with calling(simulator(), tmp_path, alternatives=3) as caller:
        assert await caller.utterance(SPEECH) == TEXT
        assert caller.finals[0].confidence is None


async def test_phrases_leave_out_the_rest(tmp_path: Path) -> None:
    async with calling(simulator(), tmp_path, phrases=("góðan dag",)) as caller:
        assert await caller.utterance(SPEECH) == "góðan dag"


async def test_a_server_that_ignores_the_rate_understands_nothing(tmp_path: Path) -> None:
    async with calling(simulator("8k"), tmp_path) as caller:
        assert await caller.utterance(SPEECH) == ""


async def test_a_server_that_stops_answering_is_not_fed_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_edge.providers.vosk_server._ANSWER_S", 0.2)
    service = simulator(silent=True)
    with pytest.raises(ProviderError, match="not answered 16 messages") as caught:
        async with calling(service, tmp_path) as caller:
            await caller.speak(SPEECH)
    assert caught.value.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(drop_s=(1.0,)), FailureKind.LOST),
        (Faults(drop_at_goodbye=True), FailureKind.LOST),
        (Faults(other=frozenset(["crash"])), FailureKind.SERVER),
        (Faults(close_code=1001), FailureKind.LOST),
        (Faults(garbage=True), FailureKind.PROTOCOL),
        (Faults(huge=True), FailureKind.PROTOCOL),
        (Faults(invalid_utf8=True), FailureKind.PROTOCOL),
        (Faults(http_status=503), FailureKind.SERVER),
        (Faults(http_status=404), FailureKind.REQUEST),
    ],
    ids=["drop", "drop-end", "crash", "1001", "garbage", "huge", "utf8", "503", "404"],
)
async def test_what_goes_wrong_is_told_by_its_kind(
    fault: Faults, kind: FailureKind, tmp_path: Path
) -> None:
    assert (await failure(Simulator(fault), tmp_path)).kind is kind


async def test_a_model_the_server_cannot_load_is_a_wrong_request(tmp_path: Path) -> None:
    kinds = []
    async with simulator("bad-model") as service:
        built = provider(service, tmp_path, model="/nowhere")
        for _ in range(2):
            caller = Caller(built)
            await caller.connect()
            with pytest.raises(ProviderError) as caught:
                await caller.last_utterance(SPEECH)
            kinds.append(caught.value.kind)
            await caller.transport.close()
    assert kinds == [FailureKind.SERVER, FailureKind.REQUEST]


async def test_nobody_listening_is_no_connection(tmp_path: Path) -> None:
    async with simulator() as service:
        built = provider(service, tmp_path)
    with pytest.raises(ProviderError) as caught:
        await Caller(built).connect()
    assert caught.value.kind is FailureKind.CONNECT


# A client as in the samples of the server's own repository: it waits for each answer.


@contextlib.asynccontextmanager
async def sample_client(service: Simulator) -> AsyncIterator[ClientConnection]:
    async with service, asyncio.timeout(PATIENCE_S), connect(service.url) as connection:
        yield connection


async def answer(connection: ClientConnection, message: str | bytes) -> dict[str, Any]:
    await connection.send(message)
    body: dict[str, Any] = json.loads(await connection.recv())
    return body


async def test_a_sample_client_gets_one_answer_for_each_message() -> None:
    async with sample_client(simulator()) as connection:
        await connection.send(CONFIG)
        said = [
            await answer(connection, SPEECH[at : at + 8000]) for at in range(0, len(SPEECH), 8000)
        ]
        said.append(await answer(connection, '{"eof" : 1}'))
        with pytest.raises(Exception, match="1000"):
            await connection.recv()
    assert " ".join(body["text"] for body in said if body.get("text")) == TEXT
    assert said[-1]["result"][0].keys() == {"conf", "end", "start", "word"}


@pytest.mark.parametrize("wrong", ['{"eof": 1}', '{"reset":1}', "hello", '{"config" : 5}'])
async def test_the_server_crashes_at_any_other_text(wrong: str) -> None:
    async with sample_client(simulator()) as connection:
        await connection.send(CONFIG)
        with pytest.raises(ConnectionClosedError, match="1011"):
            await answer(connection, wrong)


async def test_without_a_configuration_the_server_takes_the_audio_for_8_khz() -> None:
    async with sample_client(simulator()) as connection:
        await answer(connection, SPEECH)
        body = await answer(connection, '{"reset" : 1}')
    assert "dag" not in json.dumps(body, ensure_ascii=False)
