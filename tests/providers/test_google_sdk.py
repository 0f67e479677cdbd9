"""Google's own client against the simulator: what the simulator says is what a client expects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="needs grpcio")
pytest.importorskip("google.cloud.speech_v1", reason="needs google-cloud-speech")

from google.api_core import exceptions  # noqa: E402
from google.cloud import speech_v1, speech_v2  # noqa: E402
from google.cloud.speech_v1.services.speech.transports import (  # noqa: E402
    SpeechGrpcTransport as TransportV1,
)
from google.cloud.speech_v2.services.speech.transports import (  # noqa: E402
    SpeechGrpcTransport as TransportV2,
)

from tests.simulators.core import Faults  # noqa: E402
from tests.simulators.google import Simulator  # noqa: E402
from tests.simulators.speech import say, text_of  # noqa: E402

WORDS = range(6)
PCM = say(WORDS)


class KeyInterceptor(grpc.StreamStreamClientInterceptor):  # type: ignore[misc]
    """Adds the key to a call: the helper of v1 has ``metadata`` and does not pass it on."""

    def __init__(self, key: str) -> None:
        self._key = key

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        metadata = (*details.metadata, ("x-goog-api-key", self._key))
        return continuation(details._replace(metadata=metadata), requests)


@contextmanager
def channel_to(simulator: Simulator, key: str) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{simulator.port}") as channel:
        yield grpc.intercept_channel(channel, KeyInterceptor(key))


def recognize_v1(simulator: Simulator, key: str) -> list[Any]:
    """Send ``PCM`` as the client's own helper does; returns the responses."""
    with channel_to(simulator, key) as channel:
        client = speech_v1.SpeechClient(transport=TransportV1(channel=channel))
        config = speech_v1.StreamingRecognitionConfig(
            config=speech_v1.RecognitionConfig(
                encoding=speech_v1.RecognitionConfig.AudioEncoding.LINEAR16,
                sample_rate_hertz=16000,
                language_code="en-US",
                enable_word_time_offsets=True,
            ),
            interim_results=True,
        )
        requests = (speech_v1.StreamingRecognizeRequest(audio_content=pcm) for pcm in chunks())
        return list(client.streaming_recognize(config, requests))


def recognize_v2(simulator: Simulator, key: str) -> list[Any]:
    with channel_to(simulator, key) as channel:
        client = speech_v2.SpeechClient(transport=TransportV2(channel=channel))
        return list(client.streaming_recognize(requests=requests_v2()))


def requests_v2() -> Iterator[Any]:
    yield speech_v2.StreamingRecognizeRequest(
        recognizer="projects/p/locations/global/recognizers/_",
        streaming_config=speech_v2.StreamingRecognitionConfig(
            config=speech_v2.RecognitionConfig(
                explicit_decoding_config=speech_v2.ExplicitDecodingConfig(
                    encoding=speech_v2.ExplicitDecodingConfig.AudioEncoding.LINEAR16,
                    sample_rate_hertz=16000,
                    audio_channel_count=1,
                ),
                model="long",
                language_codes=["en-US"],
            ),
            streaming_features=speech_v2.StreamingRecognitionFeatures(interim_results=True),
        ),
    )
    for pcm in chunks():
        yield speech_v2.StreamingRecognizeRequest(audio=pcm)


def chunks() -> Iterator[bytes]:
    return (PCM[at : at + 3200] for at in range(0, len(PCM), 3200))


BOTH = pytest.mark.parametrize("recognize", [recognize_v1, recognize_v2])
Recognize = Callable[[Simulator, str], list[Any]]


@BOTH
async def test_the_client_hears_partials_and_finals(recognize: Recognize) -> None:
    async with Simulator() as simulator:
        responses = await asyncio.to_thread(recognize, simulator, simulator.key)
    results = [result for response in responses for result in response.results]
    finals = [result for result in results if result.is_final]
    assert any(not result.is_final for result in results)
    assert "".join(final.alternatives[0].transcript for final in finals) == text_of(WORDS)
    assert [word.word for word in finals[0].alternatives[0].words] == text_of(range(4)).split()


@BOTH
async def test_the_end_of_its_requests_is_the_goodbye(recognize: Recognize) -> None:
    async with Simulator() as simulator:
        responses = await asyncio.to_thread(recognize, simulator, simulator.key)
    assert simulator.sessions[0].ended
    assert simulator.sessions[0].pcm == PCM
    last = responses[-1]
    billed = getattr(last, "total_billed_time", None) or last.metadata.total_billed_duration
    assert billed.total_seconds() == 2


@BOTH
async def test_the_client_is_refused_with_a_wrong_key(recognize: Recognize) -> None:
    async with Simulator() as simulator:
        with pytest.raises(exceptions.InvalidArgument, match="API key not valid"):
            await asyncio.to_thread(recognize, simulator, "wrong")


@BOTH
async def test_the_client_learns_that_the_connection_broke(recognize: Recognize) -> None:
    async with Simulator(Faults(drop_s=(1.0,))) as simulator:
        # ServiceUnavailable, or the Unknown that gRPC makes of a stream cut in the middle.
        with pytest.raises((exceptions.ServiceUnavailable, exceptions.Unknown)):
            await asyncio.to_thread(recognize, simulator, simulator.key)


async def test_the_client_understands_why_a_stream_was_ended() -> None:
    faults = Faults(close_code=11, close_reason="Audio Timeout Error: Long duration elapsed.")
    async with Simulator(faults) as simulator:
        with pytest.raises(exceptions.OutOfRange, match="Audio Timeout Error"):
            await asyncio.to_thread(recognize_v1, simulator, simulator.key)
