"""Google's own client against our simulator: what it takes for the service, we may take too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulators.core import Faults
from tests.simulators.google_rest import Simulator
from tests.simulators.google_storage import BUCKET, StoredObject
from tests.simulators.google_storage import Simulator as StorageSimulator
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of

speech = pytest.importorskip("google.cloud.speech_v1", reason="needs google-cloud-speech")

TOKEN = "ya29.sdk"
WORDS = list(range(14))


def client(simulator: Simulator, token: str = TOKEN) -> Any:
    from google.cloud.speech_v1.services.speech.transports import SpeechRestTransport
    from google.oauth2.credentials import Credentials

    host = f"127.0.0.1:{simulator.port}"
    transport = SpeechRestTransport(host=host, url_scheme="http", credentials=Credentials(token))
    return speech.SpeechClient(transport=transport)


def config(**more: Any) -> Any:
    return speech.RecognitionConfig(
        encoding=speech.RecognitionConfig.AudioEncoding.LINEAR16,
        sample_rate_hertz=16_000,
        language_code="is-IS",
        enable_word_time_offsets=True,
        speech_contexts=[speech.SpeechContext(phrases=["kaffi"], boost=5.0)],
        **more,
    )


async def asked(simulator: Simulator, question: Callable[[Any], Any], token: str = TOKEN) -> Any:
    """Return what a question to the client, which blocks, is answered with."""
    simulator.tokens.add(TOKEN)
    return await asyncio.to_thread(lambda: question(client(simulator, token)))


def simulator(faults: Faults | None = None, **more: Any) -> Simulator:
    return Simulator(faults or Faults(), recogniser=lambda: SyntheticRecogniser(ICELANDIC), **more)


async def test_recognize_gives_the_words_and_their_times() -> None:
    async with simulator() as service:
        audio = speech.RecognitionAudio(content=say(WORDS))
        answer = await asked(service, lambda sdk: sdk.recognize(config=config(), audio=audio))
        texts = [result.alternatives[0].transcript for result in answer.results]
        assert "".join(texts) == text_of(WORDS, ICELANDIC)
        first = answer.results[0].alternatives[0].words[0]
        assert (first.word, first.start_time.total_seconds()) == ("góðan", 0.05)
        assert answer.results[0].language_code == "is-is"
        assert answer.total_billed_time.total_seconds() == 5
        assert service.configs[0]["encoding"] == "LINEAR16"  # sent as a number


async def test_a_long_running_job_is_waited_for() -> None:
    async with simulator() as service:
        service.looks = 0
        audio = speech.RecognitionAudio(content=say(WORDS))

        def question(sdk: Any) -> Any:
            operation = sdk.long_running_recognize(config=config(), audio=audio)
            return operation.result(timeout=20), operation.metadata

        answer, metadata = await asked(service, question)
        texts = [result.alternatives[0].transcript for result in answer.results]
        assert "".join(texts) == text_of(WORDS, ICELANDIC)
        assert metadata.progress_percent == 100


async def test_an_object_of_a_bucket_is_transcribed_and_named_in_the_metadata() -> None:
    async with StorageSimulator() as storage, simulator(storage=storage) as service:
        service.looks = 0
        storage.objects[BUCKET, "talk.raw"] = StoredObject(say([1]), 1, {}, "audio/x")
        audio = speech.RecognitionAudio(uri=f"gs://{BUCKET}/talk.raw")

        def question(sdk: Any) -> Any:
            operation = sdk.long_running_recognize(config=config(), audio=audio)
            return operation.result(timeout=20), operation.metadata

        answer, metadata = await asked(service, question)
        assert answer.results[0].alternatives[0].transcript == "dag"
        assert metadata.uri == audio.uri


async def test_jobs_are_listed() -> None:
    async with simulator() as service:
        audio = speech.RecognitionAudio(content=say([1]))

        def question(sdk: Any) -> Any:
            for _ in range(3):
                sdk.long_running_recognize(config=config(), audio=audio)
            operations = sdk.transport.operations_client
            return [found.name for found in operations.list_operations("operations", page_size=2)]

        assert sorted(await asked(service, question)) == sorted(service.jobs)


async def test_silence_gives_no_results() -> None:
    async with simulator() as service:
        audio = speech.RecognitionAudio(content=bytes(3200))
        answer = await asked(service, lambda sdk: sdk.recognize(config=config(), audio=audio))
        assert list(answer.results) == []


async def test_refusals_arrive_as_the_exceptions_of_the_client() -> None:
    from google.api_core import exceptions
    from google.auth.exceptions import RefreshError

    async with simulator() as service:
        audio = speech.RecognitionAudio(content=say([1]))
        with pytest.raises(RefreshError):  # after a 401 it would fetch another token
            await asked(service, lambda sdk: sdk.recognize(config=config(), audio=audio), "wrong")
        bad = speech.RecognitionAudio(content=bytes(61 * 32_000))
        with pytest.raises(exceptions.BadRequest, match="exceeds duration limit"):
            await asked(service, lambda sdk: sdk.long_running_recognize(config=config(), audio=bad))
        many = config(max_alternatives=31)
        with pytest.raises(exceptions.BadRequest, match="max alternatives"):
            await asked(service, lambda sdk: sdk.recognize(config=many, audio=audio))


async def test_a_connection_that_breaks_is_an_error_of_the_client() -> None:
    import requests

    async with simulator(Faults(drop_s=(0.1,))) as service:
        audio = speech.RecognitionAudio(content=say([1]))

        def question(sdk: Any) -> Any:
            return sdk.recognize(config=config(), audio=audio, retry=None)

        with pytest.raises(requests.ConnectionError):
            await asked(service, question)
        assert (await asked(service, question)).results[0].alternatives[0].transcript == "dag"
