"""The AWS provider against its simulator over real sockets, and how strict the simulator is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import aws
from stt_edge.providers.aws_event_stream import decode, encode
from stt_edge.providers.base import (
    Event,
    Failed,
    Farewell,
    Final,
    Partial,
    Provider,
    TransportClosedError,
)
from tests.simulators import aws_wire
from tests.simulators.aws import STATUS, Simulator
from tests.simulators.core import Faults
from tests.simulators.speech import ICELANDIC, THAI, SyntheticRecogniser, say, text_of

pytest.importorskip("botocore", reason="botocore signs")

WORDS = list(range(12))
CHUNK = 3200
HEADERS = {
    ":content-type": "application/octet-stream",
    ":event-type": "AudioEvent",
    ":message-type": "event",
}


@dataclass
class Talk:
    """What one utterance brought."""

    events: list[Event] = field(default_factory=list)

    @property
    def finals(self) -> list[Final]:
        return [event for event in self.events if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        return [event for event in self.events if isinstance(event, Partial)]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals)

    @property
    def failure(self) -> ProviderError:
        failed = self.events[-1]
        assert isinstance(failed, Failed)
        return failed.failure


def provider_for(simulator: Simulator, directory: Path, **more: Any) -> Provider:
    return aws.build("aws", aws.Options(**(simulator.options(directory) | more)))


async def talk(provider: Provider, pcm: bytes, *, goodbye: bool = True) -> Talk:
    """Say an utterance and listen until the connection has no more to say."""
    transport, protocol = provider.make_transport(), provider.make_protocol()
    said = Talk()
    await transport.connect()

    async def send() -> None:
        for message in protocol.to_send():
            await transport.send(message)

    async def speak() -> None:
        protocol.begin()
        for at in range(0, len(pcm), CHUNK):
            protocol.send_audio(pcm[at : at + CHUNK])
            await send()
            await asyncio.sleep(0)
        if goodbye:
            protocol.goodbye()
            await send()

    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(quietly(speak))
            while not said.events or not isinstance(said.events[-1], Farewell | Failed):
                try:
                    said.events += protocol.feed(await transport.receive())
                except TransportClosedError as closed:
                    said.events += protocol.closed(closed.code, closed.reason)
            speaking.cancel()
    finally:
        await transport.close()
    return said


async def quietly(speak: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(TransportClosedError):  # the reader learns of it too
        await speak()


@pytest.mark.parametrize("vocabulary", [ICELANDIC, THAI])
async def test_an_utterance_is_heard_sample_for_sample_and_its_words_come_back(
    vocabulary: tuple[str, ...], tmp_path: Path
) -> None:
    pcm = say(WORDS) + bytes(500)
    async with Simulator(recogniser=lambda: SyntheticRecogniser(vocabulary)) as simulator:
        said = await talk(provider_for(simulator, tmp_path, language="is-IS"), pcm)
    assert said.text == text_of(WORDS, vocabulary)
    assert isinstance(said.events[-1], Farewell)
    (session,) = simulator.sessions
    assert session.pcm == pcm
    assert session.ended
    assert session.closed_code == 1000
    assert simulator.parameters == [
        {"language-code": "is-IS", "media-encoding": "pcm", "sample-rate": "16000"}
    ]


async def test_finals_come_in_the_middle_with_times_and_partials_replace_one_another(
    tmp_path: Path,
) -> None:
    async with Simulator() as simulator:
        said = await talk(provider_for(simulator, tmp_path), say(WORDS))
    assert len(said.finals) == 3
    assert len({final.item_id for final in said.finals}) == 3
    first = said.finals[0]
    assert [word.text for word in first.words] == first.text.split()
    # a word of 250 ms after each 50 ms
    assert (first.start, first.end) == (800, 800 + 4 * 4800 + 4000)
    assert first.confidence == pytest.approx(0.9)
    assert said.partials[0].text == text_of([0])
    assert said.partials[1].text == text_of([0, 1])


async def test_punctuation_stays_with_its_word(tmp_path: Path) -> None:
    async with Simulator(punctuate=True) as simulator:
        said = await talk(provider_for(simulator, tmp_path), say([0, 1, 2]))
    (final,) = said.finals
    assert final.text == text_of([0, 1, 2]) + "."
    assert " ".join(word.text for word in final.words) == final.text
    assert final.confidence == pytest.approx(0.9)


async def test_every_option_becomes_a_parameter_the_service_takes(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        provider = provider_for(
            simulator,
            tmp_path,
            identify_language=True,
            language_options=("de-DE", "is-IS"),
            preferred_language="is-IS",
            vocabulary_name="my words,orð mín",
            vocabulary_filter_name="a+b/c=d,e",
            vocabulary_filter_method="mask",
            language_model_name="my~model",
            partial_results_stability="high",
            content_redaction=True,
            pii_entity_types=("NAME", "PHONE"),
            transcript_format="SPOKEN",
        )
        said = await talk(provider, say([0]))
    assert simulator.parameters == [
        {
            "identify-language": "true",
            "language-options": "de-DE,is-IS",
            "preferred-language": "is-IS",
            "media-encoding": "pcm",
            "sample-rate": "16000",
            "vocabulary-names": "my words,orð mín",
            "vocabulary-filter-names": "a+b/c=d,e",
            "vocabulary-filter-method": "mask",
            "language-model-name": "my~model",
            "enable-partial-results-stabilization": "true",
            "partial-results-stability": "high",
            "content-redaction-type": "PII",
            "pii-entity-types": "NAME,PHONE",
            "transcript-format": "SPOKEN",
        }
    ]
    assert said.finals[0].language == "de-DE"
    assert said.finals[0].model == "my~model"


async def test_a_session_token_is_signed_with_the_rest(tmp_path: Path) -> None:
    async with Simulator(token="a/token+with=signs") as simulator:
        said = await talk(provider_for(simulator, tmp_path), say([0]))
    assert said.text == text_of([0])


KINDS = {
    "BadRequestException": FailureKind.REQUEST,
    "SerializationException": FailureKind.REQUEST,
    "UnrecognizedClientException": FailureKind.DENIED,
    "InvalidSignatureException": FailureKind.DENIED,
    "SignatureDoesNotMatch": FailureKind.DENIED,
    "AccessDeniedException": FailureKind.DENIED,
    "ExpiredTokenException": FailureKind.SERVER,
    "MissingAuthenticationToken": FailureKind.DENIED,
    "LimitExceededException": FailureKind.OVERLOADED,
    "ThrottlingException": FailureKind.OVERLOADED,
    "ConflictException": FailureKind.SERVER,
    "InternalFailureException": FailureKind.SERVER,
    "ServiceUnavailableException": FailureKind.SERVER,
}


@pytest.mark.parametrize("way", ["exception", "error", "refusal"])
@pytest.mark.parametrize("name", sorted(STATUS))
async def test_every_exception_is_understood_in_the_stream_and_in_place_of_it(
    name: str, way: str, tmp_path: Path
) -> None:
    async with Simulator(Faults(other=frozenset((f"{way}={name}",)))) as simulator:
        provider = provider_for(simulator, tmp_path)
        if way == "refusal":
            with pytest.raises(ProviderError) as caught:
                await provider.make_transport().connect()
            failure = caught.value
        else:
            failure = (await talk(provider, say(WORDS), goodbye=False)).failure
    assert failure.kind is KINDS[name]
    assert name.removesuffix("Exception") in str(failure)
    assert failure.code == name.removesuffix("Exception")
    if failure.kind is FailureKind.DENIED:
        assert failure.remedy


async def test_fifteen_seconds_without_audio_end_a_connection_and_block_nothing(
    tmp_path: Path,
) -> None:
    async with Simulator(time_scale=0.005) as simulator:
        said = await talk(provider_for(simulator, tmp_path), say([0]), goodbye=False)
    assert said.failure.kind is FailureKind.LOST
    assert "no new audio was received for 15 seconds" in str(said.failure)


@pytest.mark.parametrize("in_stream", [False, True])
@pytest.mark.parametrize("ahead_s", [400, -400])
async def test_a_wrong_clock_is_recognised_as_such(
    ahead_s: float, in_stream: bool, tmp_path: Path
) -> None:
    other = frozenset(("auth_in_stream",) if in_stream else ())
    async with Simulator(Faults(other=other), ahead_s=ahead_s) as simulator:
        provider = provider_for(simulator, tmp_path)
        if in_stream:
            failure = (await talk(provider, say([0]), goodbye=False)).failure
        else:
            with pytest.raises(ProviderError) as caught:
                await provider.make_transport().connect()
            failure = caught.value
    assert failure.kind is FailureKind.CLOCK
    assert "clock" in failure.remedy


async def test_a_wrong_key_is_refused_until_the_file_is_corrected(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        provider = provider_for(simulator, tmp_path)
        right = (tmp_path / "key").read_text()
        (tmp_path / "key").write_text(right.replace(simulator.key, "something-else"))
        with pytest.raises(ProviderError) as caught:
            await provider.make_transport().connect()
        assert caught.value.kind is FailureKind.DENIED
        assert str(tmp_path / "key") in caught.value.remedy
        (tmp_path / "key").write_text(right)
        said = await talk(provider, say([0]))
    assert simulator.refusals == 1
    assert said.text == text_of([0])


async def test_an_expired_token_is_tried_twice_and_then_denied(tmp_path: Path) -> None:
    async with Simulator(token="fresh-token") as simulator:
        provider = provider_for(simulator, tmp_path)
        right = (tmp_path / "key").read_text()
        (tmp_path / "key").write_text(right.replace("fresh", "stale"))
        kinds = []
        for _ in range(2):
            with pytest.raises(ProviderError) as caught:
                await provider.make_transport().connect()
            kinds.append(caught.value.kind)
    assert kinds == [FailureKind.SERVER, FailureKind.DENIED]


@pytest.mark.parametrize(
    ("status", "retry_after", "kind", "wait_s"),
    [
        (401, None, FailureKind.DENIED, None),
        (403, None, FailureKind.DENIED, None),
        (429, None, FailureKind.OVERLOADED, None),
        (429, "17", FailureKind.OVERLOADED, 17),
        (500, None, FailureKind.SERVER, None),
        (503, "5", FailureKind.OVERLOADED, 5),
    ],
)
async def test_a_status_without_an_exception_means_what_it_usually_means(
    status: int, retry_after: str | None, kind: FailureKind, wait_s: float | None, tmp_path: Path
) -> None:
    async with Simulator(Faults(http_status=status, retry_after=retry_after)) as simulator:
        with pytest.raises(ProviderError) as caught:
            await provider_for(simulator, tmp_path).make_transport().connect()
    assert (caught.value.kind, caught.value.retry_after_s) == (kind, wait_s)
    assert (str(tmp_path / "key") in caught.value.remedy) == (kind is FailureKind.DENIED)


async def test_a_drop_in_the_middle_loses_nothing_that_was_final(tmp_path: Path) -> None:
    async with Simulator(Faults(drop_s=(2.0,))) as simulator:
        provider = provider_for(simulator, tmp_path)
        broken = await talk(provider, say(WORDS))
        assert broken.failure.kind is FailureKind.LOST
        end = broken.finals[-1].end
        assert end is not None
        rest = await talk(provider, say(WORDS)[2 * end :])
    assert f"{broken.text} {rest.text}" == text_of(WORDS)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(drop_at_goodbye=True), FailureKind.LOST),
        (Faults(garbage=True), FailureKind.PROTOCOL),
        (Faults(invalid_utf8=True), FailureKind.PROTOCOL),
        (Faults(huge=True), FailureKind.PROTOCOL),
        (Faults(close_code=1011), FailureKind.SERVER),
        (Faults(other=frozenset(("bad_checksum",))), FailureKind.PROTOCOL),
    ],
)
async def test_whatever_else_goes_wrong_is_a_failure_of_its_kind(
    fault: Faults, kind: FailureKind, tmp_path: Path
) -> None:
    async with Simulator(fault) as simulator:
        provider = provider_for(simulator, tmp_path)
        if fault.huge or fault.invalid_utf8:  # these the transport finds
            with pytest.raises(ExceptionGroup) as caught:
                await talk(provider, say(WORDS))
            (error,) = caught.value.exceptions
            assert isinstance(error, ProviderError)
            assert error.kind is kind
        else:
            assert (await talk(provider, say(WORDS))).failure.kind is kind


async def test_duplicate_and_late_finals_carry_the_same_item(tmp_path: Path) -> None:
    async with Simulator(Faults(duplicate_finals=True, late_final_s=0.01)) as simulator:
        said = await talk(provider_for(simulator, tmp_path), say([0, 1]))
    assert [final.text for final in said.finals] == [text_of([0, 1])] * 2
    assert len({final.item_id for final in said.finals}) == 1


# How strict the simulator is


async def signed_url(simulator: Simulator, directory: Path, **more: Any) -> str:
    from stt_edge.providers.aws_signing import Credentials, SigningEndpoint

    given = simulator.options(directory)
    parameters = {"language-code": "en-US", "media-encoding": "pcm", "sample-rate": "16000"}
    parameters = {name: value for name, value in (parameters | more).items() if value is not None}
    credentials = Credentials(None, given["credentials_file"])
    endpoint = SigningEndpoint(credentials, parameters, region=given["region"], url=given["url"])
    return (await asyncio.to_thread(endpoint)).url


async def answer_to(url: str, *messages: bytes | str) -> tuple[str, str]:
    """Return the exception that comes back, and its message."""
    async with connect(url, compression=None) as connection:
        for message in messages:
            await connection.send(message)
        async for answer in connection:
            assert isinstance(answer, bytes)
            event = decode(answer)
            if event.text(":message-type") == "exception":
                return event.text(":exception-type"), json.loads(event.payload)["Message"]
    return "", ""


SPOILT = bytearray(encode(HEADERS, bytes(3200)))
SPOILT[-1] ^= 1
PRELUDE = bytearray(encode(HEADERS, bytes(3200)))
PRELUDE[9] ^= 1


@pytest.mark.parametrize(
    ("message", "name", "said"),
    [
        ("text", "SerializationException", "text frames"),
        (bytes(5), "SerializationException", "too short"),
        (bytes(SPOILT), "SerializationException", "message checksum"),
        (bytes(PRELUDE), "SerializationException", "prelude checksum"),
        (encode({":message-type": "event"}, bytes(4)), "SerializationException", "AudioEvent"),
        (encode(HEADERS, bytes(3)), "BadRequestException", "half a sample"),
        (encode(HEADERS, bytes(32_002)), "BadRequestException", "more than 1 s"),
    ],
)
async def test_the_simulator_refuses_frames_the_service_would_refuse(
    message: bytes | str, name: str, said: str, tmp_path: Path
) -> None:
    async with Simulator() as simulator:
        found = await answer_to(await signed_url(simulator, tmp_path), message)
    assert found[0] == name
    assert said in found[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"language-code": None},
        {"identify-language": "true", "language-options": "de-DE,en-US"},
        {"language-code": None, "identify-language": "true", "language-options": "de-DE"},
        {"language-code": "english"},
        {"sample-rate": "96000"},
        {"media-encoding": "mp3"},
        {"media-encoding": None},
        {"session-id": "not-a-uuid"},
        {"partial-results-stability": "high"},
        {"pii-entity-types": "NAME"},
        {"vocabulary-filter-method": "erase"},
        {"no-such-parameter": "1"},
    ],
)
async def test_the_simulator_refuses_parameters_the_service_would_refuse(
    wrong: dict[str, str | None], tmp_path: Path
) -> None:
    async with Simulator() as simulator:
        name, said = await answer_to(await signed_url(simulator, tmp_path, **wrong))
    assert name == "BadRequestException"
    assert said


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("X-Amz-Signature=", "X-Amz-Signature=00", "InvalidSignatureException"),
        ("language-code=en-US", "language-code=de-DE", "InvalidSignatureException"),
        ("AKIDEXAMPLE", "AKIDSTRANGER", "UnrecognizedClientException"),
        ("X-Amz-Signature", "Signature", "MissingAuthenticationTokenException"),
        ("X-Amz-Expires=300", "X-Amz-Expires=3600", "BadRequestException"),
        ("sample-rate=16000", "sample-rate=16000&sample-rate=8000", "BadRequestException"),
        ("127.0.0.1", "localhost", "InvalidSignatureException"),
        ("-websocket?", "?", "UnknownOperationException"),
    ],
)
async def test_the_simulator_refuses_a_url_that_was_changed_after_it_was_signed(
    old: str, new: str, name: str, tmp_path: Path
) -> None:
    from websockets.exceptions import InvalidStatus

    async with Simulator() as simulator:
        url = (await signed_url(simulator, tmp_path)).replace(old, new)
        with pytest.raises(InvalidStatus) as caught:
            await connect(url)
    assert caught.value.response.headers["x-amzn-errortype"].startswith(name)


async def test_the_simulator_opens_signed_envelopes_and_checks_the_chain(tmp_path: Path) -> None:
    pcm = say([0, 1])
    async with Simulator() as simulator:
        url = await signed_url(simulator, tmp_path)
        authority = simulator.authority()

        def envelopes(url: str) -> list[bytes]:
            prior, sealed = bytes.fromhex(url.rpartition("=")[2]), []
            for inner in (encode(HEADERS, pcm), b""):
                now = datetime.now(UTC).replace(microsecond=0)
                prior = authority.sign_chunk(prior, now, inner)
                headers: list[tuple[str, aws_wire.Value]] = [
                    (":date", now),
                    (":chunk-signature", prior),
                ]
                sealed.append(aws_wire.encode_message(headers, inner))
            return sealed

        assert await answer_to(url, *envelopes(url)) == ("", "")
        assert simulator.sessions[0].pcm == pcm
        assert simulator.sessions[0].ended
        other_order = await answer_to(url, *reversed(envelopes(url)))
    assert other_order[0] == "InvalidSignatureException"
