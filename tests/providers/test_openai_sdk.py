"""OpenAI's own client against the simulators: they are what they say they are."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.simulators import openai as http
from tests.simulators import openai_realtime as realtime
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of

openai = pytest.importorskip("openai", reason="OpenAI's client (openai) is not installed")

WORDS = [0, 1, 5, 6]
SPEECH = say(WORDS)
TEXT = text_of(WORDS, ICELANDIC)
SPEECH_24K = say(WORDS, word_ms=375, gap_ms=75)
"""Half as much again of samples: the same at 24 kHz."""
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def recognisers() -> Any:
    return partial(SyntheticRecogniser, ICELANDIC)


def recording(pcm: bytes = SPEECH) -> tuple[str, bytes, str]:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(pcm)
    return "speech.wav", file.getvalue(), "audio/wav"


@asynccontextmanager
async def http_client(
    *other: str, key: str | None = None, **faults: Any
) -> AsyncIterator[tuple[Any, http.Simulator]]:
    service = http.Simulator(Faults(other=frozenset(other), **faults), recogniser=recognisers())
    async with (
        service,
        openai.AsyncOpenAI(
            api_key=key or service.key, base_url=service.url, max_retries=0
        ) as client,
    ):
        yield client, service


@asynccontextmanager
async def realtime_connection(
    *other: str, key: str | None = None, **faults: Any
) -> AsyncIterator[tuple[Any, realtime.Simulator]]:
    service = realtime.Simulator(Faults(other=frozenset(other), **faults), recogniser=recognisers())
    async with service:
        base_url = service.url.removesuffix("/realtime")
        client = openai.AsyncOpenAI(api_key=key or service.key, websocket_base_url=base_url)
        async with (
            client,
            client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
        ):
            yield connection, service


async def configure(connection: Any, model: str = "gpt-live-transcribe") -> None:
    sound = {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": model},
        "turn_detection": None,
    }
    await connection.session.update(session={"type": "transcription", "audio": {"input": sound}})
    await until(connection, "session.updated")


async def until(connection: Any, kind: str) -> list[Any]:
    heard = []
    while not heard or heard[-1].type != kind:
        heard.append(await connection.recv())
    return heard


async def speak(connection: Any) -> None:
    for at in range(0, len(SPEECH_24K), 4800):
        audio = base64.b64encode(SPEECH_24K[at : at + 4800]).decode()
        await connection.input_audio_buffer.append(audio=audio)


# --- over HTTP ---


async def test_a_recording_becomes_text() -> None:
    async with http_client() as (client, service):
        reply = await client.audio.transcriptions.create(
            model="gpt-transcribe", file=recording(), languages=["is"], keywords=["Hekla"]
        )
    assert reply.text == TEXT
    assert [found.code for found in reply.languages] == ["is"]
    assert service.sessions[0].pcm == SPEECH


async def test_whisper_gives_words_and_segments() -> None:
    async with http_client() as (client, _):
        reply = await client.audio.transcriptions.create(
            model="whisper-1",
            file=recording(),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    assert [word.word for word in reply.words] == TEXT.split()
    assert reply.segments[0].text.strip() == TEXT


async def test_text_can_be_had_as_it_is_written() -> None:
    async with http_client() as (client, _):
        create = client.audio.transcriptions.create
        deltas, texts = [], []
        async for event in await create(model="gpt-transcribe", file=recording(), stream=True):
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            else:
                texts.append(event.text)
    assert "".join(deltas) == TEXT
    assert texts == [TEXT]


@pytest.mark.parametrize(
    ("faults", "other", "error"),
    [
        ({"http_status": 500}, (), "InternalServerError"),
        ({"http_status": 403}, (), "PermissionDeniedError"),
        ({}, ("rate_limit",), "RateLimitError"),
        ({}, ("quota",), "RateLimitError"),
        ({"drop_at_goodbye": True}, (), "APIConnectionError"),
        ({"drop_s": (0.3,)}, (), "APIConnectionError"),
    ],
)
async def test_refusals_and_drops_are_what_the_client_expects(
    faults: dict[str, Any], other: tuple[str, ...], error: str
) -> None:
    async with http_client(*other, **faults) as (client, _):
        with pytest.raises(getattr(openai, error)):
            await client.audio.transcriptions.create(model="gpt-transcribe", file=recording())


async def test_a_wrong_key_is_refused() -> None:
    async with http_client(key="wrong") as (client, _):
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.audio.transcriptions.create(model="gpt-transcribe", file=recording())
    assert refused.value.code == "invalid_api_key"


async def test_a_model_that_is_none_is_refused() -> None:
    async with http_client() as (client, _):
        with pytest.raises(openai.NotFoundError) as refused:
            await client.audio.transcriptions.create(model="nonsense", file=recording())
    assert refused.value.code == "model_not_found"


# --- realtime ---


async def test_speech_becomes_deltas_and_a_transcript() -> None:
    async with realtime_connection() as (connection, service):
        await configure(connection)
        await speak(connection)
        await connection.input_audio_buffer.commit()
        heard = await until(connection, f"{TRANSCRIPTION}.completed")
        committed = next(event for event in heard if event.type == "input_audio_buffer.committed")
        deltas = [event for event in heard if event.type == f"{TRANSCRIPTION}.delta"]
        assert "".join(delta.delta for delta in deltas) == heard[-1].transcript == TEXT
        assert {delta.item_id for delta in deltas} == {committed.item_id} == {heard[-1].item_id}
        await connection.input_audio_buffer.clear()
        await until(connection, "input_audio_buffer.cleared")
    assert service.sessions[0].pcm == SPEECH_24K


async def test_items_name_the_one_before() -> None:
    async with realtime_connection() as (connection, _):
        await configure(connection, "gpt-transcribe")
        items = []
        for _ in range(2):
            await speak(connection)
            await connection.input_audio_buffer.commit()
            heard = await until(connection, f"{TRANSCRIPTION}.completed")
            items += [event for event in heard if event.type == "input_audio_buffer.committed"]
    assert items[0].previous_item_id is None
    assert items[1].previous_item_id == items[0].item_id


async def test_a_commit_of_nothing_is_an_error_event() -> None:
    async with realtime_connection() as (connection, _):
        await configure(connection)
        await connection.input_audio_buffer.commit()
        heard = await until(connection, "error")
    assert heard[-1].error.code == "input_audio_buffer_commit_empty"


async def test_a_wrong_key_is_refused_at_the_handshake() -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused:
        async with realtime_connection(key="wrong"):
            pass
    assert refused.value.response.status_code == 401


async def test_a_drop_in_the_middle_is_seen() -> None:
    from websockets.exceptions import ConnectionClosedError

    async def whole() -> None:
        async with realtime_connection(drop_s=(0.3,)) as (connection, _):
            await configure(connection)
            await speak(connection)
            await until(connection, f"{TRANSCRIPTION}.completed")

    with pytest.raises(ConnectionClosedError):
        await whole()
