"""The client and the simulator of iApp, over real sockets."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import iapp, registry
from stt_edge.providers.base import Farewell, Provider
from stt_edge.providers.transports import websocket
from tests.providers.client import Caller
from tests.simulators.core import Faults
from tests.simulators.iapp import PATHS, Simulator
from tests.simulators.speech import THAI, SyntheticRecogniser, say, text_of

WORDS = [0, 1, 2, 3]
TEXT = text_of(WORDS, THAI)
SPEECH = say(WORDS)
PAUSE = bytes(32_000)
DIALECTS = ["dialect-a", "dialect-b", "dialect-c"]


def simulator(*other: str, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults), recogniser=partial(SyntheticRecogniser, THAI)
    )


def provider(service: Simulator, directory: Path, **options: Any) -> Provider:
    known = {**service.options(directory), **options}
    return registry.build("i", "iapp", iapp.Options(**known))


async def call(service: Simulator, directory: Path, pcm: bytes = SPEECH, **options: Any) -> Caller:
    return await Caller(provider(service, directory, **options)).whole(pcm)


async def failure(service: Simulator, directory: Path, **options: Any) -> ProviderError:
    async with service:
        with pytest.raises(ProviderError) as caught:
            await call(service, directory, **options)
    return caught.value


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_everything_said_is_understood(dialect: str, tmp_path: Path) -> None:
    async with simulator(dialect) as service:
        client = await call(service, tmp_path)
    (session,) = service.sessions
    assert session.pcm == SPEECH
    assert session.ended
    assert client.text == TEXT
    assert len(client.partials) > 1
    assert client.events[-1] == Farewell()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("spelling", ["", "new-sentence", "first-unannounced"])
async def test_a_pause_parts_two_finals(dialect: str, spelling: str, tmp_path: Path) -> None:
    async with simulator(dialect, spelling) as service:
        client = await call(service, tmp_path, SPEECH + PAUSE + SPEECH)
    assert [final.text for final in client.finals] == [TEXT, TEXT]


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
async def test_dialect_c_says_when(unit: str, tmp_path: Path) -> None:
    async with simulator("dialect-c", unit) as service:
        client = await call(service, tmp_path, segment_times=unit)
    assert [(final.start, final.end) for final in client.finals] == [(800, 800 + 3 * 4800 + 4000)]


async def test_the_last_segment_may_come_in_the_result_of_the_session(tmp_path: Path) -> None:
    async with simulator("dialect-c", "only-in-session") as service:
        client = await call(service, tmp_path, SPEECH + PAUSE + SPEECH)
    assert [final.text for final in client.finals] == [TEXT, TEXT]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_told_twice_is_final_once(dialect: str, tmp_path: Path) -> None:
    async with simulator(dialect, duplicate_finals=True) as service:
        client = await call(service, tmp_path)
    assert client.text == TEXT


async def test_silence_ends_in_good_order(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await call(service, tmp_path, PAUSE)
    assert client.events == [Farewell()]


async def test_results_that_come_after_the_goodbye_are_not_lost(tmp_path: Path) -> None:
    async with simulator(late_final_s=0.2) as service:
        client = await call(service, tmp_path)
    assert client.text == TEXT


async def test_no_pings_are_sent_to_a_service_that_does_not_answer_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_PING_S", 0.05)
    async with simulator(late_final_s=0.4) as service:
        client = await call(service, tmp_path)
    assert client.text == TEXT
    assert service.pings == 0


async def test_an_abrupt_end_is_made_good_once_and_then_taken_as_it_is(tmp_path: Path) -> None:
    async with simulator("abrupt") as service:
        told = provider(service, tmp_path)
        with pytest.raises(ProviderError) as caught:
            await Caller(told).whole(SPEECH)
        assert caught.value.kind is FailureKind.LOST
        client = await Caller(told).whole(SPEECH)
    assert client.text == TEXT


async def test_without_a_confirmation_the_last_partial_is_all_there_is(tmp_path: Path) -> None:
    async with simulator("no-confirm") as service:
        client = Caller(provider(service, tmp_path))
        await client.connect()
        await client.speak(SPEECH)
        client.protocol.goodbye()
        await client.flush()
        while not client.partials or client.partials[-1].text != TEXT:
            client.events += client.protocol.feed(await client.transport.receive())
        await client.transport.close()
    assert client.finals == []  # the session promotes the partial, when it has waited enough


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_bad_key_is_refused_with_the_file_to_put_right(
    dialect: str, tmp_path: Path
) -> None:
    async with simulator(dialect) as service:
        told = provider(service, tmp_path)
        (tmp_path / "key").write_text("wrong-key\n")
        with pytest.raises(ProviderError) as caught:
            await Caller(told).whole(SPEECH)
    assert service.refusals == 1
    assert caught.value.kind is FailureKind.DENIED
    assert str(tmp_path / "key") in caught.value.remedy


async def test_dialect_c_takes_the_key_in_the_query_too(tmp_path: Path) -> None:
    async with simulator("dialect-c") as service:
        client = await call(service, tmp_path, key_in="query", language="zh")
    assert client.text == TEXT


async def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    error = await failure(simulator("dialect-c"), tmp_path, language="xx")
    assert error.kind is FailureKind.REQUEST


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"http_status": 402}, FailureKind.DENIED),
        ({"http_status": 429, "retry_after": "7"}, FailureKind.OVERLOADED),
        ({"http_status": 504}, FailureKind.SERVER),
        ({"garbage": True}, FailureKind.PROTOCOL),
        ({"huge": True}, FailureKind.PROTOCOL),
        ({"invalid_utf8": True}, FailureKind.PROTOCOL),
        ({"close_code": 1011}, FailureKind.SERVER),
        ({"close_code": 1013}, FailureKind.OVERLOADED),
        ({"drop_s": (0.5,)}, FailureKind.LOST),
        ({"drop_at_goodbye": True}, FailureKind.LOST),
    ],
)
async def test_what_any_service_may_do_wrong_is_a_failure(
    faults: dict[str, Any], kind: FailureKind, tmp_path: Path
) -> None:
    error = await failure(simulator(**faults), tmp_path)
    assert error.kind is kind
    assert error.retry_after_s == (7.0 if "retry_after" in faults else None)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "kind"), [("invalid api key", FailureKind.DENIED), ("boom", FailureKind.SERVER)]
)
async def test_an_error_in_mid_stream_has_its_kind(
    dialect: str, text: str, kind: FailureKind, tmp_path: Path
) -> None:
    assert (await failure(simulator(dialect, f"error={text}"), tmp_path)).kind is kind


# --- the documented client, as the simulator sees it ---


async def test_the_sample_of_the_documentation_gets_its_sentences() -> None:
    async with (
        simulator() as service,
        connect(service.url, additional_headers={"apikey": service.key}, ping_timeout=None) as wire,
    ):
        for at in range(0, len(SPEECH), 1024):
            await wire.send(SPEECH[at : at + 1024])
        await wire.send(json.dumps({"data": {"status": "CloseConnection"}}))
        heard = []
        while (message := json.loads(await wire.recv()))["text"] != "Confirm Close Connection":
            heard.append(message)
    assert heard[0] == {"state": "NewSentence", "text": THAI[0]}
    assert heard[-1] == {"state": "Sentence", "text": TEXT}


async def test_text_that_is_no_goodbye_is_passed_over() -> None:
    async with (
        simulator() as service,
        connect(service.url, additional_headers={"apikey": service.key}) as wire,
    ):
        for text in ("no json", "[]", '{"data":{"status":"end of stream"}}'):
            await wire.send(text)
        await wire.send(SPEECH)
        assert json.loads(await wire.recv())["state"] == "NewSentence"


@pytest.mark.parametrize("path", [*PATHS.values(), "/other"])
async def test_every_path_wants_the_key(path: str) -> None:
    async with simulator() as service:
        service.path = path
        with pytest.raises(InvalidStatus) as refused:
            await connect(service.url)
    assert refused.value.response.status_code == (404 if path == "/other" else 401)
