"""The client and the simulator of OpenAI over HTTP, over real sockets."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import HttpReply, HttpRequest
from stt_edge.providers.openai import Options
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport
from tests.providers.client import Client
from tests.simulators.core import Faults
from tests.simulators.openai import Simulator
from tests.simulators.speech import ICELANDIC, THAI, SyntheticRecogniser, say, text_of

WORDS = [0, 1, 5, 6]
SPEECH = say(WORDS)


def simulator(*other: str, vocabulary: tuple[str, ...] = ICELANDIC, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults),
        recogniser=partial(SyntheticRecogniser, vocabulary),
    )


async def transcribed(
    service: Simulator, directory: Path, pcm: bytes = SPEECH, **options: Any
) -> Client:
    """One utterance, from the beginning to the end."""
    known = {**service.options(directory), **options}
    client = Client(registry.build("o", "openai", Options(**known)))
    await client.transport.connect()
    try:
        client.protocol.open()
        await client.speak(pcm)
        await client.goodbye()
    finally:
        await client.transport.close()
    return client


async def refused(service: Simulator, directory: Path, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as failure:
        await transcribed(service, directory, **options)
    return failure.value


@pytest.mark.parametrize("vocabulary", [ICELANDIC, THAI])
async def test_every_sample_arrives_and_the_text_comes_back(
    vocabulary: tuple[str, ...], tmp_path: Path
) -> None:
    async with simulator(vocabulary=vocabulary) as service:
        client = await transcribed(service, tmp_path, language="is")
    assert client.text == text_of(WORDS, vocabulary)
    assert [session.pcm for session in service.sessions] == [SPEECH]


async def test_whisper_gives_times_of_words(tmp_path: Path) -> None:
    async with simulator() as service:
        client = await transcribed(service, tmp_path, model="whisper-1")
    (final,) = client.finals
    assert [(word.start, word.end) for word in final.words] == [
        (800 + at * 4800, 4800 + at * 4800) for at in range(len(WORDS))
    ]


async def test_whisper_cpp_is_spoken_to_without_a_key(tmp_path: Path) -> None:
    async with simulator("whisper_cpp", "no_words") as service:
        client = await transcribed(service, tmp_path)
    (final,) = client.finals
    assert " ".join(word.text for word in final.words) == text_of(WORDS, ICELANDIC)


async def test_whisper_cpp_that_still_loads_its_model_is_a_problem_of_the_server(
    tmp_path: Path,
) -> None:
    async with simulator("whisper_cpp", "loading") as service:
        failure = await refused(service, tmp_path)
    assert failure.kind is FailureKind.SERVER
    assert "Loading model" in failure.message


async def test_speaches_is_told_hotwords(tmp_path: Path) -> None:
    async with simulator("speaches") as service:
        client = await transcribed(service, tmp_path, hotwords=("Hekla",), language="is")
    assert client.text == text_of(WORDS, ICELANDIC)
    assert json.loads(service.sessions[0].texts[0])["hotwords"] == ["Hekla"]


async def test_a_wrong_key_is_denied_and_not_repeated_in_the_message(tmp_path: Path) -> None:
    async with simulator() as service:
        options = service.options(tmp_path)
        Path(options["api_key_file"]).write_text("sesame-0815")
        failure = await refused(service, tmp_path, api_key_file=str(tmp_path / "other"))
        assert failure.kind is FailureKind.DENIED
        (tmp_path / "other").write_text("wrong-key-0815")
        failure = await refused(service, tmp_path, api_key_file=str(tmp_path / "other"))
    assert failure.kind is FailureKind.DENIED
    assert "0815" not in str(failure)


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"http_status": 402}, FailureKind.DENIED),
        ({"http_status": 403}, FailureKind.DENIED),
        ({"http_status": 429}, FailureKind.OVERLOADED),
        ({"http_status": 500}, FailureKind.SERVER),
        ({"http_status": 503, "retry_after": "3"}, FailureKind.OVERLOADED),
        ({"other": ("quota",)}, FailureKind.DENIED),
        ({"garbage": True}, FailureKind.PROTOCOL),
        ({"huge": True}, FailureKind.PROTOCOL),
        ({"invalid_utf8": True}, FailureKind.PROTOCOL),
        ({"drop_s": (0.5,)}, FailureKind.LOST),
        ({"drop_at_goodbye": True}, FailureKind.LOST),
    ],
)
async def test_what_goes_wrong_has_its_kind(
    faults: dict[str, Any], kind: FailureKind, tmp_path: Path
) -> None:
    known = dict(faults)
    async with simulator(*known.pop("other", ()), **known) as service:
        failure = await refused(service, tmp_path)
    # A server that breaks off while it is written to is seen as either.
    allowed = {kind, FailureKind.CONNECT} if kind is FailureKind.LOST else {kind}
    assert failure.kind in allowed


async def test_the_wait_groq_asks_for_is_kept(tmp_path: Path) -> None:
    async with simulator("rate_limit") as service:
        failure = await refused(service, tmp_path)
    assert (failure.kind, failure.retry_after_s) == (FailureKind.OVERLOADED, 7)


async def test_an_unknown_model_is_a_wrong_request(tmp_path: Path) -> None:
    async with simulator() as service:
        failure = await refused(service, tmp_path, model="gpt-5-transcribe")
    assert (failure.kind, failure.code) == (FailureKind.REQUEST, "model_not_found")


# --- how strict the simulator is ---


async def answer(service: Simulator, request: HttpRequest) -> HttpReply:
    headers = {"Authorization": f"Bearer {service.key}"}
    transport = HttpTransport(lambda: HttpEndpoint(service.url, headers))
    await transport.send(request)
    return await transport.receive()


def request_with(change: tuple[bytes, bytes]) -> HttpRequest:
    """What the client asks, with one thing in it replaced."""
    protocol = registry.build("o", "openai", Options(url="http://x")).make_protocol()
    protocol.begin()
    protocol.send_audio(SPEECH)
    protocol.goodbye()
    (request,) = protocol.to_send()
    assert isinstance(request, HttpRequest)
    assert change[0] in request.body
    body = request.body.replace(*change)
    return HttpRequest(request.method, request.path, request.headers, body)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b'name="model"', b'name="modell"'), 400),
        ((b'name="file"', b'name="data"'), 400),
        ((b"speech.wav", b"speech.raw"), 400),
        ((b"RIFF", b"RIFX"), 400),
        ((b"\x80>\x00\x00", b"\x40\x1f\x00\x00"), 400),  # 8 kHz
        ((b"\r\n\r\ngpt-transcribe", b"\r\ngpt-transcribe"), 400),
        ((b"0000--\r\n", b"0000\r\n"), 400),
        ((b"\r\n\r\njson", b"\r\n\r\nverbose_json"), 400),
        ((b"gpt-transcribe", b"gpt-transcribf"), 404),
    ],
)
async def test_the_simulator_refuses_what_the_service_would(
    change: tuple[bytes, bytes], status: int
) -> None:
    async with simulator() as service:
        assert (await answer(service, request_with((b"RIFF", b"RIFF")))).status == 200
        assert (await answer(service, request_with(change))).status == status


async def test_the_simulator_refuses_more_than_25_mb() -> None:
    async with simulator() as service:
        large = HttpRequest("POST", "/audio/transcriptions", {}, bytes(26 * 1024 * 1024))
        with contextlib.suppress(ProviderError):  # it hangs up in the middle, which may be seen
            assert (await answer(service, large)).status == 413
        assert service.refusals == 1
