"""The provider google_rest against its simulator, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import google_rest
from stt_edge.providers.base import Event, Failed, Farewell, Final, Provider, Submitted
from tests.simulators.core import Faults
from tests.simulators.google_rest import Simulator
from tests.simulators.google_storage import Simulator as StorageSimulator
from tests.simulators.speech import THAI, SyntheticRecogniser, say, text_of

CHUNK_BYTES = 3200


def provider(simulator: Simulator, directory: Path, **options: Any) -> Provider:
    known = simulator.options(directory) | options
    return google_rest.build("google_rest", google_rest.Options(**known))


async def utterance(provider: Provider, pcm: bytes) -> list[Event]:
    """Send an utterance; returns all events up to the farewell or the failure."""
    protocol = provider.make_protocol()
    protocol.open()
    protocol.begin()
    for at in range(0, len(pcm), CHUNK_BYTES):
        protocol.send_audio(pcm[at : at + CHUNK_BYTES])
    protocol.goodbye()
    return await _answers(provider, protocol)


async def resumed(provider: Provider, token: str) -> list[Event]:
    protocol = provider.make_protocol()
    protocol.open()
    protocol.begin()
    protocol.resume(token)
    return await _answers(provider, protocol)


async def _answers(provider: Provider, protocol: Any) -> list[Event]:
    transport = provider.make_transport()
    await transport.connect()
    events: list[Event] = []
    try:
        while not any(isinstance(event, Farewell | Failed) for event in events):
            for message in protocol.to_send():
                await transport.send(message)
            events += protocol.feed(await transport.receive())
    except ProviderError as failure:
        events.append(Failed(failure))
    finally:
        await transport.close()
    return events


def finals(events: Sequence[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def failure(events: Sequence[Event]) -> ProviderError:
    (failed,) = [event.failure for event in events if isinstance(event, Failed)]
    return failed


async def test_an_utterance_becomes_a_job_that_is_asked_for_until_it_is_done(
    tmp_path: Path,
) -> None:
    async with Simulator() as simulator:
        pcm = say([0, 1, 2])
        events = await utterance(provider(simulator, tmp_path), pcm)
        assert [type(event) for event in events] == [Submitted, Final, Farewell]
        (final,) = finals(events)
        assert final.text == text_of([0, 1, 2])
        assert [(word.text, word.start, word.end) for word in final.words] == [
            ("the", 800, 4800),
            ("kitchen", 5600, 9600),
            ("light", 10_400, 14_400),
        ]
        assert (final.start, final.end, final.language) == (800, 14_400, "en-US")
        assert final.confidence == pytest.approx(0.9)
        assert simulator.sessions[0].pcm == pcm
        assert simulator.requests.count("POST /v1/speech:longrunningrecognize") == 1
        assert sum(request.startswith("GET") for request in simulator.requests) == 3


async def test_a_short_utterance_is_recognised_at_once_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    async with Simulator() as simulator:
        for method in ("recognize", "auto"):
            events = await utterance(provider(simulator, tmp_path, method=method), say([4]))
            assert [type(event) for event in events] == [Final, Farewell]
            assert finals(events)[0].text == text_of([4])
        long = say([4], word_ms=15_500)
        events = await utterance(provider(simulator, tmp_path, method="auto"), long)
        assert [type(event) for event in events] == [Submitted, Final, Farewell]
        assert simulator.submissions == 1


async def test_silence_gives_no_result_and_a_farewell(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        events = await utterance(provider(simulator, tmp_path), bytes(16_000))
        assert [type(event) for event in events] == [Submitted, Farewell]


async def test_several_results_are_put_together_as_they_came(tmp_path: Path) -> None:
    words = list(range(30))
    async with Simulator(recogniser=lambda: SyntheticRecogniser(THAI)) as simulator:
        thai = provider(simulator, tmp_path, language="th-TH")
        (final,) = finals(await utterance(thai, say(words)))
        assert final.text == text_of(words, THAI)
        assert len(final.words) == 30
        assert final.language == "th-TH"


async def test_every_option_reaches_the_service(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        chosen = provider(
            simulator,
            tmp_path,
            language="is-IS",
            alternative_languages=("en-US",),
            model="latest_long",
            punctuation=False,
            spoken_punctuation=True,
            profanity_filter=True,
            enhanced=True,
            phrases=("Hellisheiði", "stt-edge"),
            phrases_boost=7.5,
        )
        await utterance(chosen, say([0]))
        assert simulator.configs == [
            {
                "encoding": "LINEAR16",
                "sampleRateHertz": 16_000,
                "languageCode": "is-IS",
                "alternativeLanguageCodes": ["en-US"],
                "maxAlternatives": 1,
                "enableWordTimeOffsets": True,
                "enableWordConfidence": True,
                "enableAutomaticPunctuation": False,
                "enableSpokenPunctuation": True,
                "profanityFilter": True,
                "useEnhanced": True,
                "model": "latest_long",
                "speechContexts": [{"phrases": ["Hellisheiði", "stt-edge"], "boost": 7.5}],
            }
        ]


async def test_the_answer_survives_a_lost_connection_by_the_name_of_the_job(
    tmp_path: Path,
) -> None:
    async with Simulator(Faults(other=frozenset(("poll_lost",)))) as simulator:
        google = provider(simulator, tmp_path)
        events = await utterance(google, say([3, 4]))
        assert failure(events).kind is FailureKind.LOST
        (token,) = [event.token for event in events if isinstance(event, Submitted)]
        events = await resumed(google, token)
        assert finals(events)[0].text == text_of([3, 4])
        assert isinstance(events[-1], Farewell)
        assert simulator.submissions == 1


async def test_a_busy_service_is_asked_again_by_the_name_of_the_job(tmp_path: Path) -> None:
    async with Simulator(Faults(other=frozenset(("poll_503",)))) as simulator:
        google = provider(simulator, tmp_path)
        events = await utterance(google, say([3]))
        assert failure(events).kind is FailureKind.SERVER
        (token,) = [event.token for event in events if isinstance(event, Submitted)]
        assert finals(await resumed(google, token))[0].text == text_of([3])


async def test_a_job_the_service_has_forgotten_is_sent_again(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        events = await resumed(provider(simulator, tmp_path), "7000000000000000099")
        assert [type(event) for event in events] == [Failed]
        assert failure(events).kind is FailureKind.REQUEST


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (3, FailureKind.UTTERANCE),
        (7, FailureKind.REQUEST),
        (8, FailureKind.REQUEST),
        (13, FailureKind.REQUEST),
    ],
)
async def test_a_job_that_ended_in_an_error_is_not_asked_for_again(
    tmp_path: Path, code: int, kind: FailureKind
) -> None:
    async with Simulator(Faults(other=frozenset((f"operation_error={code}",)))) as simulator:
        events = await utterance(provider(simulator, tmp_path), say([0]))
        assert [type(event) for event in events] == [Submitted, Failed]
        assert failure(events).kind is kind
        assert "It went wrong." in str(failure(events))


async def test_a_wrong_key_is_denied_although_the_status_is_400(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        google = provider(simulator, tmp_path)
        (tmp_path / "key").write_text("wrong-key-0815\n")
        failed = failure(await utterance(google, say([0])))
        assert failed.kind is FailureKind.DENIED
        assert "API key not valid" in str(failed)
        assert "wrong-key-0815" not in str(failed)
        assert google.watched == (str(tmp_path / "key"),)
        (tmp_path / "key").write_text(simulator.key)
        assert finals(await utterance(google, say([0])))


async def test_a_service_account_gets_a_token_and_is_let_in(tmp_path: Path) -> None:
    pytest.importorskip("google.auth", reason="needs google-auth")
    async with StorageSimulator() as storage, Simulator(storage=storage) as simulator:
        file = storage.options(tmp_path)["credentials_file"]
        google = provider(simulator, tmp_path, api_key_file=None, credentials_file=file)
        assert finals(await utterance(google, say([1])))[0].text == text_of([1])
        storage.tokens.clear()
        failed = failure(await utterance(google, say([1])))
        assert failed.kind is FailureKind.DENIED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FailureKind.DENIED),
        (403, FailureKind.DENIED),
        (413, FailureKind.UTTERANCE),
        (429, FailureKind.OVERLOADED),
        (500, FailureKind.SERVER),
        (503, FailureKind.OVERLOADED),
    ],
)
async def test_a_refusal_is_classified_by_its_status(
    tmp_path: Path, status: int, kind: FailureKind
) -> None:
    async with Simulator(Faults(http_status=status, retry_after="7")) as simulator:
        failed = failure(await utterance(provider(simulator, tmp_path), say([0])))
        assert failed.kind is kind
        assert failed.retry_after_s == 7


async def test_a_language_the_service_refuses_is_a_bad_request(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        google = provider(simulator, tmp_path, alternative_languages=("a", "b", "c", "d"))
        failed = failure(await utterance(google, say([0])))
        assert failed.kind is FailureKind.REQUEST
        assert "too many languages" in str(failed)


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(garbage=True), FailureKind.PROTOCOL),
        (Faults(huge=True), FailureKind.PROTOCOL),
        (Faults(invalid_utf8=True), FailureKind.PROTOCOL),
        (Faults(drop_s=(0.1,)), FailureKind.LOST),
        (Faults(drop_at_goodbye=True), FailureKind.LOST),
        (Faults(close_code=1011), FailureKind.LOST),
    ],
)
async def test_what_a_network_does_becomes_a_failure(
    tmp_path: Path, faults: Faults, kind: FailureKind
) -> None:
    async with Simulator(faults) as simulator:
        failed = failure(await utterance(provider(simulator, tmp_path), say([0, 1])))
        assert failed.kind is kind


@pytest.mark.parametrize("faults", [Faults(silent=True), Faults(stop_reading_s=0.2)])
async def test_a_service_that_says_nothing_can_be_left(tmp_path: Path, faults: Faults) -> None:
    async with Simulator(faults) as simulator:
        work = asyncio.create_task(utterance(provider(simulator, tmp_path), say([0, 1])))
        done, _ = await asyncio.wait([work], timeout=0.3)
        assert not done
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_a_job_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    async with Simulator(Faults(late_final_s=0.3)) as simulator:
        events = await utterance(provider(simulator, tmp_path), say([5]))
        assert finals(events)[0].text == text_of([5])


async def test_the_simulator_refuses_more_than_a_minute_of_inline_audio(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        google = provider(simulator, tmp_path)
        protocol: Any = google.make_protocol()
        protocol._pcm += bytes(61 * 32_000)
        protocol.goodbye()
        failed = failure(await _answers(google, protocol))
        assert failed.kind is FailureKind.UTTERANCE
        assert google.capabilities.max_utterance_s == 60
