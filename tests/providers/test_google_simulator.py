"""The simulator of Google's streaming recognition: as strict as the real thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="needs grpcio")
speech = pytest.importorskip("google.cloud.speech_v1", reason="needs google-cloud-speech")
speech_v2 = pytest.importorskip("google.cloud.speech_v2", reason="needs google-cloud-speech")

from tests.simulators.core import Faults  # noqa: E402
from tests.simulators.google import TOKEN, Simulator  # noqa: E402
from tests.simulators.speech import say, text_of  # noqa: E402

LINEAR16 = speech.RecognitionConfig.AudioEncoding.LINEAR16


def configuration(**fields: Any) -> Any:
    known = {"encoding": LINEAR16, "sample_rate_hertz": 16000, "language_code": "en-US"}
    config = speech.RecognitionConfig(**(known | fields))
    streaming = speech.StreamingRecognitionConfig(config=config, interim_results=True)
    return speech.StreamingRecognizeRequest(streaming_config=streaming)


def audio(pcm: bytes) -> Any:
    return speech.StreamingRecognizeRequest(audio_content=pcm)


def configuration_v2(recognizer: str, **fields: Any) -> Any:
    decoding = speech_v2.ExplicitDecodingConfig(
        encoding=speech_v2.ExplicitDecodingConfig.AudioEncoding.LINEAR16,
        sample_rate_hertz=16000,
        audio_channel_count=1,
    )
    config = speech_v2.RecognitionConfig(explicit_decoding_config=decoding, **fields)
    return speech_v2.StreamingRecognizeRequest(
        recognizer=recognizer,
        streaming_config=speech_v2.StreamingRecognitionConfig(config=config),
    )


@asynccontextmanager
async def call(simulator: Simulator, **metadata: str) -> AsyncIterator[Any]:
    """A call by hand, with the key unless other metadata is given."""
    known = metadata or {"x-goog-api-key": simulator.key}
    pairs = tuple((name.replace("_", "-"), value) for name, value in known.items())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{simulator.port}") as channel:
        method = "/google.cloud.speech.v1.Speech/StreamingRecognize"
        yield channel.stream_stream(
            method,
            request_serializer=speech.StreamingRecognizeRequest.serialize,
            response_deserializer=speech.StreamingRecognizeResponse.deserialize,
        )(metadata=pairs)


async def ask(
    simulator: Simulator, requests: Iterable[Any], *, half_close: bool = True, **metadata: str
) -> tuple[list[Any], Any, str]:
    """Send requests; returns the responses and the status with its text."""
    async with call(simulator, **metadata) as stream:
        for request in requests:
            try:
                await stream.write(request)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError):
                break
        if half_close:
            await stream.done_writing()
        responses = []
        try:
            while (response := await stream.read()) is not grpc.aio.EOF:
                responses.append(response)
        except grpc.aio.AioRpcError as error:
            return responses, error.code(), error.details() or ""
        return responses, await stream.code(), ""


async def test_finals_together_are_what_was_said_and_the_last_response_bills_it() -> None:
    pcm = say(range(6))
    async with Simulator() as simulator:
        responses, status, _ = await ask(
            simulator,
            [configuration(), *(audio(pcm[at : at + 3200]) for at in range(0, len(pcm), 3200))],
        )
    assert status is grpc.StatusCode.OK
    finals = [result for response in responses for result in response.results if result.is_final]
    assert "".join(final.alternatives[0].transcript for final in finals) == text_of(range(6))
    assert responses[-1].total_billed_time.total_seconds() == 2
    assert simulator.sessions[0].pcm == pcm


async def test_interims_of_different_stability_make_one_text_together() -> None:
    async with Simulator() as simulator:
        responses, _, _ = await ask(simulator, [configuration(), audio(say([0, 1], word_ms=150))])
    stable, fresh = responses[0].results
    assert stable.stability > fresh.stability
    assert stable.alternatives[0].transcript + fresh.alternatives[0].transcript == text_of([0, 1])


async def test_audio_before_the_configuration_is_refused() -> None:
    async with Simulator() as simulator:
        _, status, text = await ask(simulator, [audio(bytes(320))])
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert "streaming_config" in text


async def test_a_second_configuration_is_refused() -> None:
    async with Simulator() as simulator:
        _, status, _ = await ask(simulator, [configuration(), configuration()])
    assert status is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": 0},
        {"sample_rate_hertz": 8000},
        {"language_code": ""},
        {"alternative_language_codes": ["a", "b", "c", "d"]},
    ],
)
async def test_a_configuration_that_is_wrong_is_refused(wrong: dict[str, Any]) -> None:
    async with Simulator() as simulator:
        _, status, _ = await ask(simulator, [configuration(**wrong)])
    assert status is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("recognizer", "fields"),
    [
        ("recognizers/_", {"model": "long", "language_codes": ["en-US"]}),
        ("projects/p/locations/global/recognizers/_", {"language_codes": ["en-US"]}),
        ("projects/p/locations/global/recognizers/_", {"model": "long"}),
    ],
)
async def test_v2_wants_a_recognizer_and_what_it_does_not_say(
    recognizer: str, fields: dict[str, Any]
) -> None:
    request = speech_v2.StreamingRecognizeRequest.serialize(configuration_v2(recognizer, **fields))
    async with (
        Simulator() as simulator,
        grpc.aio.insecure_channel(f"127.0.0.1:{simulator.port}") as channel,
    ):
        stream = channel.stream_stream("/google.cloud.speech.v2.Speech/StreamingRecognize")(
            metadata=(("x-goog-api-key", simulator.key),)
        )
        await stream.write(request)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_is_too_large_is_refused() -> None:
    async with Simulator() as simulator:
        _, status, _ = await ask(simulator, [configuration(), audio(bytes(15_000))])
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert not simulator.sessions[0].pcm


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"x_goog_api_key": "wrong"}, "INVALID_ARGUMENT"),
        ({"authorization": "Bearer wrong"}, "UNAUTHENTICATED"),
        ({"other": "x"}, "PERMISSION_DENIED"),
        ({"authorization": f"Bearer {TOKEN}"}, "OK"),
    ],
)
async def test_only_who_is_known_is_let_in(metadata: dict[str, str], expected: str) -> None:
    async with Simulator() as simulator:
        _, status, _ = await ask(simulator, [configuration()], **metadata)
    assert status.name == expected
    assert simulator.refusals == (expected != "OK")


async def test_a_stream_without_audio_is_ended() -> None:
    async with Simulator(idle_s=0.1) as simulator:
        _, status, text = await ask(simulator, [configuration()], half_close=False)
    assert status is grpc.StatusCode.OUT_OF_RANGE
    assert "without audio" in text


async def test_a_stream_that_is_too_long_is_ended() -> None:
    async with Simulator(max_stream_s=0.1) as simulator:
        _, status, text = await ask(simulator, [configuration()], half_close=False)
    assert status is grpc.StatusCode.OUT_OF_RANGE
    assert "305 seconds" in text


async def test_faults_have_the_status_that_belongs_to_them() -> None:
    async with Simulator(Faults(http_status=429, retry_after="7")) as simulator:
        _, status, _ = await ask(simulator, [])
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with Simulator(Faults(close_code=10, close_reason="gone")) as simulator:
        _, status, text = await ask(simulator, [configuration(), audio(say([0]))])
        assert (status, text) == (grpc.StatusCode.ABORTED, "gone")
        assert simulator.sessions[0].closed_code == 10
