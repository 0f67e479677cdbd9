"""Google's streaming recognition: the protocol, its options, and the whole against a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import google
from stt_edge.providers.base import (
    Billing,
    Event,
    Failed,
    Farewell,
    Final,
    Pacing,
    Partial,
    PartTimes,
    Provider,
    TransportClosedError,
)

pytest.importorskip("grpc", reason="needs grpcio")
pytest.importorskip("google.cloud.speech_v1", reason="needs google-cloud-speech")

from tests.simulators.core import Faults
from tests.simulators.google import Simulator
from tests.simulators.speech import (
    ICELANDIC,
    THAI,
    SyntheticRecogniser,
    say,
    text_of,
)

V2 = {"api": "v2", "project": "p"}
WORDS = range(10)
PCM = say(WORDS)
BOTH = pytest.mark.parametrize("more", [{}, V2], ids=["v1", "v2"])


def failure_of(events: Any) -> ProviderError:
    (event,) = events
    assert isinstance(event, Failed)
    return event.failure


class Talk:
    """One connection in a straight line, with everything that was heard."""

    def __init__(self, provider: Provider) -> None:
        self.protocol = provider.make_protocol()
        self.transport = provider.make_transport()
        self.events: list[Event] = []
        self.failure: ProviderError | None = None

    @property
    def text(self) -> str:
        return " ".join(event.text for event in self.events if isinstance(event, Final))

    async def run(self, pcm: bytes) -> None:
        await self.transport.connect()
        self.protocol.open()
        receiver = asyncio.create_task(self._receive())
        try:
            self.protocol.begin()
            for at in range(0, len(pcm), 3200):
                self.protocol.send_audio(pcm[at : at + 3200])
                await self._flush()
            self.protocol.goodbye()
            await self._flush()
        except TransportClosedError:
            pass
        await receiver
        await self.transport.close()

    async def _flush(self) -> None:
        for message in self.protocol.to_send():
            await self.transport.send(message)

    async def _receive(self) -> None:
        while True:
            try:
                self.events += self.protocol.feed(await self.transport.receive())
            except TransportClosedError as closed:
                self.events += self.protocol.closed(closed.code, closed.reason)
                return
            except ProviderError as failure:
                self.failure = failure
                return


@asynccontextmanager
async def talked(
    directory: Path, simulator: Simulator, pcm: bytes = PCM, **more: Any
) -> AsyncIterator[Talk]:
    async with simulator:
        options = google.Options(**(simulator.options(directory) | more))
        talk = Talk(google.build("g", options))
        await talk.run(pcm)
        yield talk


# --- the whole ---


@BOTH
async def test_an_utterance_is_understood_and_confirmed(
    tmp_path: Path, more: dict[str, str]
) -> None:
    simulator = Simulator()
    async with talked(tmp_path, simulator, **more) as talk:
        assert talk.text == text_of(WORDS)
        assert talk.events[-1] == Farewell()
        assert any(isinstance(event, Partial) for event in talk.events)
        assert simulator.sessions[0].pcm == PCM
        assert simulator.sessions[0].ended


@BOTH
async def test_words_have_the_times_at_which_they_were_said(
    tmp_path: Path, more: dict[str, str]
) -> None:
    async with talked(tmp_path, Simulator(), **more) as talk:
        words = [word for event in talk.events if isinstance(event, Final) for word in event.words]
    assert [(word.start, word.end) for word in words[:2]] == [(800, 4800), (5600, 9600)]
    assert len(words) == len(WORDS)


@pytest.mark.parametrize("vocabulary", [ICELANDIC, THAI], ids=["Icelandic", "Thai"])
async def test_text_is_unicode_from_end_to_end(tmp_path: Path, vocabulary: tuple[str, ...]) -> None:
    simulator = Simulator(recogniser=lambda: SyntheticRecogniser(vocabulary))
    async with talked(tmp_path, simulator) as talk:
        assert talk.text == text_of(WORDS, vocabulary)


async def test_what_was_billed_is_known_in_the_end(tmp_path: Path) -> None:
    async with talked(tmp_path, Simulator()) as talk:
        assert isinstance(talk.protocol, google.GoogleProtocol)
        assert talk.protocol.billed_s == 4


async def test_an_utterance_without_speech_is_confirmed_all_the_same(tmp_path: Path) -> None:
    async with talked(tmp_path, Simulator(), bytes(32000)) as talk:
        assert talk.events == [Farewell()]


@BOTH
async def test_a_wrong_key_is_denied_and_the_remedy_names_the_file(
    tmp_path: Path, more: dict[str, str]
) -> None:
    (tmp_path / "other").write_text("wrong")
    key = str(tmp_path / "other")
    async with talked(tmp_path, Simulator(), api_key_file=key, **more) as talk:
        failure = failure_of(talk.events)
    assert failure.kind is FailureKind.DENIED
    assert key in failure.remedy


async def test_a_dropped_connection_is_lost(tmp_path: Path) -> None:
    async with talked(tmp_path, Simulator(Faults(drop_s=(1.0,)))) as talk:
        assert isinstance(talk.events[-1], Failed)
        assert talk.events[-1].failure.kind in (FailureKind.LOST, FailureKind.SERVER)


async def test_a_connection_dropped_after_the_goodbye_is_no_farewell(tmp_path: Path) -> None:
    async with talked(tmp_path, Simulator(Faults(drop_at_goodbye=True))) as talk:
        assert Farewell() not in talk.events
        assert isinstance(talk.events[-1], Failed)


@pytest.mark.parametrize("faults", [Faults(garbage=True), Faults(invalid_utf8=True)])
async def test_nonsense_is_a_protocol_error(tmp_path: Path, faults: Faults) -> None:
    async with talked(tmp_path, Simulator(faults)) as talk:
        failures = [event.failure for event in talk.events if isinstance(event, Failed)]
    assert [failure.kind for failure in failures] == [FailureKind.PROTOCOL]


async def test_a_message_of_ten_megabytes_is_a_protocol_error(tmp_path: Path) -> None:
    async with talked(tmp_path, Simulator(Faults(huge=True))) as talk:
        assert talk.failure is not None
        assert talk.failure.kind is FailureKind.PROTOCOL


async def test_too_many_requests_say_when_to_come_back(tmp_path: Path) -> None:
    faults = Faults(http_status=429, retry_after="7")
    async with talked(tmp_path, Simulator(faults)) as talk:
        assert talk.failure is not None
        assert talk.failure.kind is FailureKind.OVERLOADED
        assert talk.failure.retry_after_s == 7


async def test_what_the_options_ask_for_is_asked_for_in_v1(tmp_path: Path) -> None:
    simulator = Simulator()
    more: dict[str, Any] = {
        "language": "is-IS",
        "alternative_languages": ("en-US",),
        "model": "latest_long",
        "phrases": ("Hallgrímskirkja",),
        "phrase_boost": 5.0,
        "punctuation": False,
        "profanity_filter": True,
        "interim_results": False,
        "word_confidence": True,
        "enhanced": True,
    }
    async with talked(tmp_path, simulator, **more) as talk:
        assert not any(isinstance(event, Partial) for event in talk.events)
    streaming = simulator.configurations[0].streaming_config
    config = streaming.config
    assert (config.language_code, list(config.alternative_language_codes)) == ("is-IS", ["en-US"])
    assert config.model == "latest_long"
    assert config.speech_contexts[0].phrases == ["Hallgrímskirkja"]
    assert config.speech_contexts[0].boost == 5
    assert not config.enable_automatic_punctuation
    assert config.profanity_filter
    assert config.enable_word_time_offsets
    assert config.enable_word_confidence
    assert config.use_enhanced


async def test_what_the_options_ask_for_is_asked_for_in_v2(tmp_path: Path) -> None:
    simulator = Simulator()
    more: dict[str, Any] = V2 | {
        "location": "eu",
        "language": "th-TH",
        "alternative_languages": ("en-US",),
        "phrases": ("สวัสดี",),
        "phrase_boost": 5.0,
        "word_times": False,
    }
    async with talked(tmp_path, simulator, **more):
        request = simulator.configurations[0]
    config = request.streaming_config.config
    assert request.recognizer == "projects/p/locations/eu/recognizers/_"
    assert config.model == "long"
    assert list(config.language_codes) == ["th-TH", "en-US"]
    inline = config.adaptation.phrase_sets[0].inline_phrase_set
    assert [(phrase.value, phrase.boost) for phrase in inline.phrases] == [("สวัสดี", 5.0)]
    assert config.features.enable_automatic_punctuation
    assert not config.features.enable_word_time_offsets
    assert request.streaming_config.streaming_features.interim_results


async def test_a_stored_recognizer_keeps_its_own_language_and_model(tmp_path: Path) -> None:
    simulator = Simulator()
    name = "projects/q/locations/eu/recognizers/mine"
    async with talked(tmp_path, simulator, api="v2", recognizer=name):
        request = simulator.configurations[0]
    assert request.recognizer == name
    assert not request.streaming_config.config.language_codes
    assert not request.streaming_config.config.model


async def test_finals_without_times_acknowledge_what_their_end_says(tmp_path: Path) -> None:
    simulator = Simulator(Faults(other=frozenset({"no_times"})))
    async with talked(tmp_path, simulator) as talk:
        finals = [event for event in talk.events if isinstance(event, Final)]
    assert [final.words for final in finals] == [()] * 3
    assert [(final.start, final.end) for final in finals] == [
        (0, 19200),
        (19200, 38400),
        (38400, 48000),
    ]


# --- options and capabilities ---


def problems(**values: Any) -> list[str]:
    return [key for key, _ in google.Options(**values).problems()]


def test_options_that_go_together() -> None:
    assert problems() == []
    assert problems(api_key_file="/k", url="http://127.0.0.1:9") == []
    assert problems(**V2, recognizer="mine") == []
    assert problems(api="v2", recognizer="projects/p/locations/eu/recognizers/mine") == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"api_key_file": "/k", "credentials_file": "/c"}, "credentials_file"),
        ({"url": "http://speech.example.com"}, "url"),
        ({"url": "speech.example.com"}, "url"),
        ({"recognizer": "mine"}, "recognizer"),
        ({"api": "v2"}, "project"),
        (V2 | {"recognizer": "mine", "alternative_languages": ("en-US",)}, "language"),
    ],
)
def test_options_that_do_not_go_together(values: dict[str, Any], key: str) -> None:
    assert problems(**values) == [key]


def test_a_location_has_an_endpoint_of_its_own() -> None:
    assert google.Options().endpoint == "https://speech.googleapis.com"
    assert google.Options(location="eu").endpoint == "https://eu-speech.googleapis.com"
    assert google.Options(location="eu", url="https://x").endpoint == "https://x"


def test_the_capabilities_are_those_of_a_stream_an_utterance() -> None:
    provider = google.build("g", google.Options(api_key_file="/k/key", price_per_hour=1.44))
    found = provider.capabilities
    assert found.billing is Billing.AUDIO
    assert found.partials
    assert found.confidence
    assert found.part_times is PartTimes.WORDS
    assert not found.finalize
    assert found.hold_s == 0
    assert found.max_session_s == 290
    assert provider.watched == ("/k/key",)
    assert provider.price_per_hour == 1.44


def test_the_configuration_may_know_better() -> None:
    options = google.Options(
        api_key_file="/k", rate=1.0, max_connections=8, interim_results=False, word_times=False
    )
    found = google.build("g", options).capabilities
    assert found.pacing == Pacing(1.0, 2.0)
    assert found.max_connections == 8
    assert not found.partials
    assert found.part_times is PartTimes.PARTS


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(google, "installed", lambda module: module != "google.cloud.speech")
    with pytest.raises(ProviderError) as failed:
        google.build("g", google.Options(api_key_file="/k"))
    assert failed.value.kind is FailureKind.SETUP
    assert 'pip install "stt-edge[google]"' in failed.value.remedy
