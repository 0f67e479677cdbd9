"""AWS's own client against the simulator, over HTTP/2."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stt_edge.providers.aws_event_stream import decode
from tests.simulators.aws import Simulator
from tests.simulators.aws_wire import ACCESS_KEY, REGION
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, SyntheticRecogniser, say, text_of

pytest.importorskip("amazon_transcribe", reason="AWS's own client is the proof")
http2 = pytest.importorskip("tests.simulators.aws_http2", reason="the HTTP/2 front needs h2")

WORDS = list(range(7))
CHUNK = 3200


@pytest.fixture
def heard() -> list[Any]:
    """Results in the order in which AWS's client gave them."""
    return []


async def client_for(front: Any, simulator: Simulator, secret: str | None = None) -> Any:
    """AWS's client, with our certificate and credentials."""
    from amazon_transcribe.auth import StaticCredentialResolver
    from amazon_transcribe.client import TranscribeStreamingClient
    from amazon_transcribe.endpoints import StaticEndpointResolver
    from awscrt.io import ClientTlsContext, TlsContextOptions

    client = TranscribeStreamingClient(
        region=REGION,
        endpoint_resolver=StaticEndpointResolver(front.url),
        credential_resolver=StaticCredentialResolver(
            ACCESS_KEY, secret or simulator.key, simulator.token
        ),
    )
    trust = TlsContextOptions()
    trust.override_default_trust_store_from_path(None, str(front.ca_file))
    client._session_manager._tls_ctx = ClientTlsContext(trust)
    return client


async def open_stream(client: Any, **more: Any) -> Any:
    return await client.start_stream_transcription(
        **(
            {"language_code": "en-US", "media_sample_rate_hz": 16_000, "media_encoding": "pcm"}
            | more
        )
    )


async def transcribe(stream: Any, pcm: bytes, heard: list[Any], *, end: bool = True) -> None:
    async def speak() -> None:
        for at in range(0, len(pcm), CHUNK):
            await stream.input_stream.send_audio_event(audio_chunk=pcm[at : at + CHUNK])
            await asyncio.sleep(0)
        if end:
            await stream.input_stream.end_stream()

    async def listen() -> None:
        async for event in stream.output_stream:
            heard.extend(event.transcript.results)

    async with asyncio.timeout(10):
        await asyncio.gather(speak(), listen())


async def test_awss_client_has_partials_finals_and_a_clean_end(
    tmp_path: Path, heard: list[Any]
) -> None:
    pcm = say(WORDS)
    simulator = Simulator(token="a/token=", recogniser=lambda: SyntheticRecogniser(ICELANDIC))
    async with http2.Http2Front(simulator, tmp_path) as front:
        stream = await open_stream(await client_for(front, simulator), vocabulary_name="words")
        await transcribe(stream, pcm, heard)
    finals = [result for result in heard if not result.is_partial]
    texts = [result.alternatives[0].transcript for result in finals]
    assert " ".join(texts) == text_of(WORDS, ICELANDIC)
    assert heard[0].is_partial
    assert heard[0].result_id == finals[0].result_id
    assert finals[0].alternatives[0].items[0].confidence == pytest.approx(0.9)
    assert finals[0].start_time == 0.05
    (session,) = simulator.sessions
    assert session.pcm == pcm
    assert session.ended
    assert simulator.parameters == [
        {
            "language-code": "en-US",
            "sample-rate": "16000",
            "media-encoding": "pcm",
            "vocabulary-name": "words",
        }
    ]


async def test_awss_client_is_refused_with_a_wrong_key(tmp_path: Path) -> None:
    from amazon_transcribe.exceptions import UnknownServiceException

    simulator = Simulator()
    async with http2.Http2Front(simulator, tmp_path) as front:
        with pytest.raises(UnknownServiceException) as caught:
            await open_stream(await client_for(front, simulator, "wrong"))
    assert caught.value.error_code == "InvalidSignatureException"
    assert caught.value.status_code == 403
    assert simulator.refusals == 1


async def test_awss_client_is_told_of_parameters_that_make_no_sense(
    tmp_path: Path, heard: list[Any]
) -> None:
    from amazon_transcribe.exceptions import BadRequestException

    simulator = Simulator()
    async with http2.Http2Front(simulator, tmp_path) as front:
        stream = await open_stream(await client_for(front, simulator), media_encoding="mp3")
        with pytest.raises(BadRequestException, match="media-encoding"):
            await transcribe(stream, b"", heard, end=False)
        await stream.input_stream.end_stream()


async def test_awss_client_is_told_of_an_exception_in_the_middle(
    tmp_path: Path, heard: list[Any]
) -> None:
    from amazon_transcribe.exceptions import LimitExceededException

    simulator = Simulator(Faults(other=frozenset(("exception=LimitExceededException",))))
    async with http2.Http2Front(simulator, tmp_path) as front:
        stream = await open_stream(await client_for(front, simulator))
        with pytest.raises(LimitExceededException, match="simulated"):
            await transcribe(stream, say([0]), heard, end=False)
        await stream.input_stream.end_stream()


async def test_a_drop_leaves_awss_client_without_the_last_final(
    tmp_path: Path, heard: list[Any]
) -> None:
    simulator = Simulator(Faults(drop_s=(1.0,)))
    async with http2.Http2Front(simulator, tmp_path) as front:
        stream = await open_stream(await client_for(front, simulator))
        await transcribe(stream, say(WORDS), heard)
    assert heard
    assert all(result.is_partial for result in heard)
    assert simulator.sessions[0].closed_code == 1006


async def test_awss_own_encoder_and_ours_write_the_same_audio_event() -> None:
    from amazon_transcribe.eventstream import EventStreamMessageSerializer
    from amazon_transcribe.model import AudioEvent
    from amazon_transcribe.serialize import AudioEventSerializer

    from stt_edge.providers.aws import AwsProtocol
    from stt_edge.providers.aws_failures import FailureReader
    from stt_edge.providers.aws_signing import Credentials

    protocol = AwsProtocol(FailureReader(Credentials(None, "key")), model=None, language=None)
    protocol.begin()
    protocol.send_audio(b"\1\2")
    protocol.goodbye()
    for ours, pcm in zip(protocol.to_send(), (b"\1\2", b""), strict=True):
        assert isinstance(ours, bytes)
        headers, payload = AudioEventSerializer().serialize(AudioEvent(pcm))
        theirs = EventStreamMessageSerializer().serialize(headers, payload)
        assert decode(ours) == decode(theirs)
        assert len(ours) == len(theirs)
