"""Google Cloud Speech-to-Text, streaming: v1, and v2 by ``api: v2``.

An utterance is a stream: there is no way to finish one and keep the connection. The half-close
brings what is missing, and the status OK says that it was all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Event,
    Failed,
    Farewell,
    Incoming,
    Pacing,
    Partial,
    PartTimes,
    Provider,
)
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import grpc_failure
from stt_edge.providers.google_auth import INSTALL, GoogleAccount, GoogleOptions, installed
from stt_edge.providers.google_messages import Heard, Result, Wanted, Wire
from stt_edge.providers.json_fields import MalformedError
from stt_edge.providers.transports.grpc import HALF_CLOSE, GrpcEndpoint, GrpcTransport, url_problem

EXTRA: Final = "google"
PACKAGES: Final = ("grpc", "google.cloud.speech")
CAPABILITIES: Final = Capabilities(
    billing=Billing.AUDIO,
    minimum_billed_s=1.0,
    partials=True,
    part_times=PartTimes.WORDS,
    confidence=True,
    # "Audio should be sent close to real time" is what a stream that waits is told.
    pacing=Pacing(rate=2.0, burst_s=2.0),
    chunk_max_ms=460,  # of the 15 000 bytes a message may have, some are not audio
    max_session_s=290.0,  # of 305 (Google's quotas)
    max_utterance_s=290.0,
)

_OK: Final = 0
_INVALID_ARGUMENT: Final = 3
_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16
_NOT_STORED: Final = "_"
"""The recognizer that has no settings of its own (v2 cloud_speech.proto)."""


@frozen
class Options(GoogleOptions):
    """The keys of a provider of this kind."""

    api: str = option("v1", choices=("v1", "v2"), doc="version of the interface")
    language: str | None = option(
        None, doc="language spoken, such as is-IS or th-TH; en-US if neither this nor recognizer"
    )
    alternative_languages: tuple[str, ...] = option((), doc="languages that may be spoken instead")
    model: str | None = option(
        None, doc="such as latest_long (v1) or chirp_2 (v2); what Google chooses, and long for v2"
    )
    phrases: tuple[str, ...] = option((), doc="words and phrases to expect, such as names")
    phrase_boost: float | None = option(
        None, minimum=0, maximum=20, doc="how much more likely the phrases are than others"
    )
    punctuation: bool = option(True, doc="full stops, commas and capitals")
    profanity_filter: bool = option(False, doc="all but the first letter of a bad word as *")
    interim_results: bool = option(True, doc="say what is understood so far while somebody speaks")
    word_times: bool = option(True, doc="times of words; false for a model that refuses them")
    word_confidence: bool = option(False, doc="how sure of each word; not every model can say")
    enhanced: bool = option(False, doc="the enhanced variant of the model (v1)")
    project: str | None = option(None, doc="the Google Cloud project (v2)")
    location: str = option("global", doc="where it is done, such as eu, us or europe-west4")
    recognizer: str = option(_NOT_STORED, doc="a stored recognizer's id or full name (v2)")
    minimum_billed_s: float = option(
        1.0, minimum=0, maximum=60, doc="the least audio an utterance is billed as"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        yield from GoogleOptions.problems(self)
        if self.url is not None and (problem := url_problem(self.url)):
            yield "url", problem
        if self.api == "v1" and self.recognizer != _NOT_STORED:
            yield "recognizer", "is for api: v2"
        if self.api == "v2" and self.project is None and "/" not in self.recognizer:
            yield "project", "is needed for api: v2"
        if self.alternative_languages and self.spoken is None:
            yield "language", "is needed beside alternative_languages"

    @property
    def spoken(self) -> str | None:
        """The language asked for; None leaves it to a stored recognizer."""
        return self.language or ("en-US" if self.recognizer == _NOT_STORED else None)

    @property
    def endpoint(self) -> str:
        """The URL of the service; a location has one of its own."""
        place = "" if self.location == "global" else f"{self.location}-"
        return self.url or f"https://{place}speech.googleapis.com"


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    wire = Wire(options.api, _wanted(options))
    account = GoogleAccount(name, options)
    if not all(map(installed, PACKAGES)):
        raise ProviderError(
            FailureKind.SETUP,
            f"The provider {name} needs the package google-cloud-speech, which is not installed.",
            remedy=INSTALL,
        )
    account.check()

    def endpoint() -> GrpcEndpoint:
        wire.load()
        return GrpcEndpoint(options.endpoint, wire.method, account.headers())

    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=partial(GoogleProtocol, wire, remedy=account.remedy),
        make_transport=partial(GrpcTransport, endpoint, ca_file=options.ca_file),
        model=options.model,
        language=options.spoken,
        watched=account.watched,
        price_per_hour=options.price_per_hour,
    )


def _wanted(options: Options) -> Wanted:
    stored = options.recognizer != _NOT_STORED
    languages = (*((options.spoken,) if options.spoken else ()), *options.alternative_languages)
    recognizer = options.recognizer
    if "/" not in recognizer:
        place = f"projects/{options.project}/locations/{options.location}"
        recognizer = f"{place}/recognizers/{recognizer}"
    return Wanted(
        languages=languages,
        recognizer=recognizer,
        model=options.model or ("long" if options.api == "v2" and not stored else None),
        phrases=options.phrases,
        phrase_boost=options.phrase_boost,
        punctuation=options.punctuation,
        profanity_filter=options.profanity_filter,
        interim_results=options.interim_results,
        word_times=options.word_times,
        word_confidence=options.word_confidence,
        enhanced=options.enhanced,
    )


def _capabilities(options: Options) -> Capabilities:
    return replace(
        CAPABILITIES,
        minimum_billed_s=options.minimum_billed_s,
        partials=options.interim_results,
        part_times=PartTimes.WORDS if options.word_times else PartTimes.PARTS,
    )


class GoogleProtocol(Conversation):
    """One stream. See ``base.Protocol``."""

    def __init__(self, wire: Wire, *, remedy: str = "") -> None:
        """Speak by ``wire``; ``remedy`` says what to do when we are not let in."""
        super().__init__()
        self.billed_s: float | None = None
        """What Google says that it bills, in seconds of audio; known in the end."""
        self._wire = wire
        self._remedy = remedy
        self._parting = False
        self._settled = 0
        """All up to this sample is final."""

    def open(self) -> None:
        """Queue the configuration, which has to come before any audio."""
        self._say(self._wire.configuration())

    def begin(self) -> None:
        """Nothing to say: the stream is the utterance."""

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le."""
        self._say(self._wire.audio(pcm))

    def goodbye(self) -> None:
        """Half-close: what is missing follows, then the status."""
        self._parting = True
        self._say(HALF_CLOSE)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return what the status means; OK after the half-close is the farewell."""
        if code == _OK and self._parting:
            return (Farewell(),)
        if code is None or code == _OK:
            lost = "the provider ended the stream in the middle of the utterance."
            return (Failed(ProviderError(FailureKind.LOST, lost)),)
        return (Failed(self._failure(code, reason)),)

    def _hear(self, message: Incoming) -> Iterable[Event]:
        if not isinstance(message, bytes):
            raise MalformedError("bytes were expected")
        heard = self._wire.hear(message)
        if heard.billed_s is not None:
            self.billed_s = heard.billed_s
        if heard.error is not None:
            return (Failed(self._failure(*heard.error)),)
        return self._events(heard)

    def _events(self, heard: Heard) -> Iterator[Event]:
        """One final at most, then interims of falling stability, which belong together."""
        for result in heard.results:
            if result.final and result.text.strip():
                yield self._final(result)
        interim = [result for result in heard.results if not result.final]
        if text := "".join(result.text for result in interim).strip():
            yield Partial(text, interim[-1].end)

    def _final(self, result: Result) -> FinalResult:
        end = result.words[-1].end if result.words else result.end
        # A final of unknown place must not acknowledge audio that a later one is about.
        start, self._settled = self._settled, max(self._settled, end or 0)
        return FinalResult(
            result.text.strip(),
            start=result.words[0].start if result.words else start,
            end=self._settled,
            words=result.words,
            confidence=result.confidence,
            language=result.language,
        )

    def _failure(self, code: int, message: str) -> ProviderError:
        failure = grpc_failure(code, message)
        bad_key = code == _INVALID_ARGUMENT and "api key" in message.lower()
        if bad_key or code == _UNAUTHENTICATED:
            failure.kind, failure.remedy = FailureKind.DENIED, self._remedy
        elif code == _PERMISSION_DENIED:
            failure.remedy = "Enable the Speech-to-Text API and billing, and see what the key may."
        return failure
