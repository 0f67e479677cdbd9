"""The client and the simulator of OpenAI's realtime transcription, over real sockets."""

from __future__ import annotations

import array
import base64
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import Finalized
from stt_edge.providers.openai_realtime import Options
from tests.providers.client import Client
from tests.simulators.core import Faults
from tests.simulators.openai_realtime import Simulator
from tests.simulators.speech import ICELANDIC, THAI, SyntheticRecogniser, say, text_of

WORDS = [0, 1, 5, 6]
SPEECH = say(WORDS)


def simulator(*other: str, vocabulary: tuple[str, ...] = ICELANDIC, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults),
        recogniser=partial(SyntheticRecogniser, vocabulary),
    )


def client_of(service: Simulator, directory: Path, **options: Any) -> Client:
    known = {**service.options(directory), **options}
    return Client(registry.build("o", "openai_realtime", Options(**known)))


async def transcribed(
    service: Simulator, directory: Path, *utterances: bytes, **options: Any
) -> Client:
    """One connection, some utterances on it, a goodbye."""
    client = client_of(service, directory, **options)
    try:
        await client.connect()
        for pcm in utterances or (SPEECH,):
            await client.utterance(pcm)
        await client.goodbye()
    finally:
        await client.transport.close()
    return client


async def refused(service: Simulator, directory: Path, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as failure:
        await transcribed(service, directory, **options)
    return failure.value


@pytest.mark.parametrize("vocabulary", [ICELANDIC, THAI])
async def test_utterances_on_one_connection_are_understood_one_by_one(
    vocabulary: tuple[str, ...], tmp_path: Path
) -> None:
    async with simulator(vocabulary=vocabulary) as service:
        client = await transcribed(service, tmp_path, SPEECH, say([2, 3]), language="is")
    assert [final.text for final in client.finals] == [
        text_of(WORDS, vocabulary),
        text_of([2, 3], vocabulary),
    ]
    assert len(service.sessions) == 1
    assert client.partials


async def test_the_audio_that_arrives_is_the_same_at_24_khz(tmp_path: Path) -> None:
    async with simulator() as service:
        await transcribed(service, tmp_path)
    received = array.array("h", service.sessions[0].utterances[0])
    source = array.array("h", SPEECH)
    assert len(received) == math.ceil(len(source) * 1.5)
    assert received[0::3] == source[0::2]


@pytest.mark.parametrize(
    "model", ["gpt-transcribe", "gpt-4o-mini-transcribe", "whisper-1", "gpt-realtime-whisper"]
)
async def test_every_model_is_asked_for_in_a_way_it_understands(model: str, tmp_path: Path) -> None:
    async with simulator() as service:
        client = await transcribed(service, tmp_path, model=model, language="is", prompt="x")
    assert client.text == text_of(WORDS, ICELANDIC)


async def test_speaches_is_understood(tmp_path: Path) -> None:
    async with simulator("speaches") as service:
        client = await transcribed(service, tmp_path, language="is")
    assert client.text == text_of(WORDS, ICELANDIC)


async def test_a_goodbye_in_place_of_a_finalize_loses_nothing(tmp_path: Path) -> None:
    async with simulator(late_final_s=0.05) as service:
        client = client_of(service, tmp_path)
        await client.connect()
        await client.speak(SPEECH)
        await client.goodbye()
    assert client.text == text_of(WORDS, ICELANDIC)


async def test_an_utterance_of_ten_milliseconds_has_an_end(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await transcribed(service, tmp_path, SPEECH[:320])
    assert client.text == ""


async def test_an_utterance_without_audio_has_an_end(tmp_path: Path) -> None:
    async with simulator() as service:
        client = client_of(service, tmp_path)
        await client.connect()
        client.protocol.begin()
        client.protocol.finalize()
        await client.flush()
        await client.until(Finalized)
        await client.goodbye()
    assert client.finals == []


async def test_duplicate_finals_are_one(tmp_path: Path) -> None:
    async with simulator(duplicate_finals=True) as service:
        client = await transcribed(service, tmp_path, SPEECH, SPEECH)
    assert len(client.finals) == 2


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"http_status": 401}, FailureKind.DENIED),
        ({"http_status": 402}, FailureKind.DENIED),
        ({"http_status": 403}, FailureKind.DENIED),
        ({"http_status": 429, "retry_after": "9"}, FailureKind.OVERLOADED),
        ({"http_status": 500}, FailureKind.SERVER),
        ({"garbage": True}, FailureKind.PROTOCOL),
        ({"huge": True}, FailureKind.PROTOCOL),
        ({"invalid_utf8": True}, FailureKind.PROTOCOL),
        ({"close_code": 1011}, FailureKind.SERVER),
        ({"drop_s": (0.5,)}, FailureKind.LOST),
        ({"drop_at_goodbye": True}, FailureKind.LOST),
        ({"other": ("quota",)}, FailureKind.DENIED),
        ({"other": ("session_expired",)}, FailureKind.LOST),
        ({"other": ("item_failed",)}, FailureKind.UTTERANCE),
        ({"other": ("bad_model",)}, FailureKind.REQUEST),
    ],
)
async def test_what_goes_wrong_has_its_kind(
    faults: dict[str, Any], kind: FailureKind, tmp_path: Path
) -> None:
    known = dict(faults)
    async with simulator(*known.pop("other", ()), **known) as service:
        failure = await refused(service, tmp_path)
    assert failure.kind is kind
    assert "sesame" not in str(failure)


async def test_a_wrong_key_is_denied(tmp_path: Path) -> None:
    async with simulator() as service:
        (tmp_path / "other").write_text("wrong-key-0815")
        failure = await refused(service, tmp_path, api_key_file=str(tmp_path / "other"))
    assert (failure.kind, failure.code) == (FailureKind.DENIED, "invalid_api_key")
    assert "0815" not in str(failure)


# --- how strict the simulator is ---


SESSION: dict[str, Any] = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "gpt-live-transcribe"},
            "turn_detection": None,
        }
    },
}
UPDATE = {"type": "session.update", "session": SESSION}
APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(3200)).decode()}
COMMIT = {"type": "input_audio_buffer.commit"}


def session_with(**changed: Any) -> dict[str, Any]:
    sound = {**SESSION["audio"]["input"], **changed}
    return {**UPDATE, "session": {**SESSION, "audio": {"input": sound}}}


@pytest.mark.parametrize(
    "said",
    [
        [APPEND],
        [UPDATE, COMMIT],
        [UPDATE, APPEND, COMMIT],  # 67 ms
        [UPDATE, {**APPEND, "audio": "äöü"}],
        [UPDATE, {**APPEND, "audio": base64.b64encode(b"odd").decode()}],
        [UPDATE, {**APPEND, "sound": ""}],
        [{"type": "transcription_session.update", "session": {}}],
        [session_with(format={"type": "audio/pcm", "rate": 16_000})],
        [session_with(transcription={"model": "gpt-live-transcribe", "language": "en"})],
        [session_with(transcription={"model": "whisper-1", "languages": ["en"]})],
        [session_with(transcription={"model": "unheard-of"})],
        [session_with(turn_detection={"type": "server_vad"})],
    ],
)
async def test_the_simulator_complains_of_what_the_service_would(said: list[Any]) -> None:
    async with simulator() as service:
        headers = {"Authorization": f"Bearer {service.key}"}
        url = service.url + "?intent=transcription"
        async with connect(url, additional_headers=headers) as connection:
            for message in said:
                await connection.send(json.dumps(message))
            heard = json.loads(await connection.recv())
            while heard["type"] != "error":
                heard = json.loads(await connection.recv())
    assert heard["error"]["type"] == "invalid_request_error"
