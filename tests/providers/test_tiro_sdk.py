"""Tiro has no library of its own: Google's types read what both sides say, as protobuf's JSON."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stt_edge.providers import registry, tiro
from stt_edge.providers.base import Farewell
from tests.providers.client import Client
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of
from tests.simulators.tiro import Simulator

speech_v1 = pytest.importorskip("google.cloud.speech_v1", reason="google-cloud-speech is missing")

WORDS = [0, 1, 5]


async def conversation(directory: Path, *other: str, **options: Any) -> tuple[Any, list[Any]]:
    """Return the session as the simulator saw it, and the messages it sent."""
    recogniser = partial(SyntheticRecogniser, ICELANDIC)
    said: list[Any] = []
    async with Simulator(Faults(other=frozenset(other)), recogniser=recogniser) as service:
        told = tiro.Options(**service.options(directory), **options)
        client = Client(registry.build("t", "tiro", told))
        hear = client.protocol.feed
        client.protocol.feed = lambda message: said.append(message) or hear(message)  # type: ignore[method-assign,func-returns-value]
        await client.transport.connect()
        client.protocol.open()
        await client.speak(say(WORDS))
        client.protocol.goodbye()
        await client.flush()
        if not options:
            await client.until(Farewell)
        else:
            said.append(await client.transport.receive())
        await client.transport.close()
    return service.sessions[0], [json.loads(message) for message in said]


async def test_every_message_of_ours_is_a_request(tmp_path: Path) -> None:
    session, _ = await conversation(tmp_path)
    first, *rest = (
        speech_v1.StreamingRecognizeRequest.from_json(text, ignore_unknown_fields=False)
        for text in session.texts
    )
    config = first.streaming_config.config
    assert config.encoding == speech_v1.RecognitionConfig.AudioEncoding.LINEAR16
    assert (config.sample_rate_hertz, config.language_code) == (16000, "is-IS")
    assert config.enable_word_time_offsets
    assert config.enable_automatic_punctuation
    assert first.streaming_config.interim_results
    assert b"".join(request.audio_content for request in rest) == say(WORDS)
    assert rest[-1].audio_content == b""


@pytest.mark.parametrize("mode", ["", "omit-defaults"])
async def test_every_message_of_the_simulator_is_a_response(mode: str, tmp_path: Path) -> None:
    _, said = await conversation(tmp_path, mode)
    responses = [
        speech_v1.StreamingRecognizeResponse.from_json(
            json.dumps(message["result"]), ignore_unknown_fields=False
        )
        for message in said
    ]
    *interims, last = (response.results[0] for response in responses)
    assert interims
    assert not any(result.is_final for result in interims)
    assert last.is_final
    assert last.alternatives[0].transcript == text_of(WORDS, ICELANDIC)
    times = [
        (word.start_time.total_seconds(), word.end_time.total_seconds())
        for word in last.alternatives[0].words
    ]
    assert times == [(0.05, 0.3), (0.35, 0.6), (0.65, 0.9)]


async def test_an_error_of_the_simulator_is_a_status(tmp_path: Path) -> None:
    status = pytest.importorskip("google.rpc.status_pb2", reason="googleapis-common-protos")
    json_format = pytest.importorskip("google.protobuf.json_format", reason="protobuf is missing")
    _, (message,) = await conversation(tmp_path, language="xx")
    details = message["error"].pop("details")
    parsed = json_format.ParseDict(message["error"], status.Status())
    assert (parsed.code, bool(parsed.message)) == (3, True)
    assert details[0]["fieldViolations"][0]["field"] == "streaming_config.config.language_code"
