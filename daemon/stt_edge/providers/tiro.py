"""Tiro: Icelandic, over WebSocket: Google-like speech messages of protobuf as JSON.

A session is one utterance. The service confirms its end by hanging up, without a close frame.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
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
    HttpReply,
    Partial,
    PartTimes,
    Provider,
)
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.endings import ORDINARY_CODES, Endings
from stt_edge.providers.failures import close_failure, http_failure
from stt_edge.providers.json_fields import Fields, MalformedError
from stt_edge.providers.options import KeyOptions
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.tiro_results import read_failure, read_result
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.providers.urls import complete_url

_URL: Final = "wss://speech.talgreinir.is/v2beta1/speech:streamingrecognize"
_END: Final = base64.b64encode(b"END").decode()
"""What older servers take for the end of the audio."""
_MOST_KEPT: Final = 1 << 20
_LONGEST_S: Final = 120.0
"""The gateway breaks off at a line above 64 KiB; with the times of all its words, speech without a
pause reaches that after some three minutes."""


@frozen
class Options(KeyOptions):
    """The keys of a provider of this kind."""

    language: str = option("is-IS", doc="what is spoken, such as is-IS or is-IS-x-exp")
    model: str | None = option(
        None, doc="model to ask for; the published interface has none and may ignore it"
    )
    punctuation: bool = option(True, doc="have punctuation and capital letters set")
    interim_results: bool = option(True, doc="show what is understood while somebody speaks")
    word_times: bool = option(
        True, doc="ask when each word was said; without, a lost connection costs the utterance anew"
    )
    single_utterance: bool = option(
        False, doc="let the service end the session at the first pause it hears"
    )
    billing: str = option(
        "audio", choices=("audio", "session"), doc="what is paid for: audio sent, or time connected"
    )


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    if options.api_key_file is None:
        raise ProviderError(FailureKind.SETUP, f"{name}: api_key_file is missing.")
    key = SecretFile(options.api_key_file)
    remedy = f"Put a valid key into {key.path}."
    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=partial(TiroProtocol, options, Endings(), key_remedy=remedy),
        make_transport=lambda: WebSocketTransport(
            lambda: _endpoint(options.url, key.read()),
            ca_file=options.ca_file,
            refused=lambda reply: _refusal(reply, remedy),
        ),
        model=options.model,
        language=options.language,
        watched=key.watched,
        price_per_hour=options.price_per_hour,
    )


def _capabilities(options: Options) -> Capabilities:
    return Capabilities(
        billing=Billing(options.billing),
        partials=options.interim_results,
        part_times=PartTimes.WORDS if options.word_times else PartTimes.NONE,
        drain_timeout_s=7.0,
        goodbye_again_s=2.0,
        max_utterance_s=_LONGEST_S,
    )


CAPABILITIES: Final = _capabilities(Options())


def _endpoint(url: str | None, key: str) -> WebSocketEndpoint:
    """Return where to connect; the key goes into the query (Tiro's streaming example)."""
    return WebSocketEndpoint(complete_url(url, _URL, [("token", key)]))


def _refusal(reply: HttpReply, key_remedy: str) -> ProviderError:
    failure = http_failure(reply.status, reply.headers, reply.body)
    if reply.status == 501:  # the path names a version that is not served
        failure = ProviderError(FailureKind.REQUEST, failure.message, code="501")
    return _about_key(failure, key_remedy)


class TiroProtocol(JsonConversation):
    """One session. See ``base.Protocol``."""

    def __init__(self, options: Options, endings: Endings, *, key_remedy: str = "") -> None:
        """Talk as ``options`` say; ``endings`` is shared by all sessions of a provider."""
        super().__init__()
        self._options = options
        self._endings = endings
        self._key_remedy = key_remedy
        self._parting = False
        self._open_partial = False
        """The last thing heard is a partial that no final has replaced."""
        self._partial_text = ""
        self._kept: list[str] = []
        """Finals from the first one on that did not say which audio it covers."""
        self._end = 0

    def open(self) -> None:
        """Queue the configuration (StreamingRecognitionConfig of tiro.speech.v1alpha)."""
        config = {
            "encoding": "LINEAR16",
            "sampleRateHertz": 16000,
            "languageCode": self._options.language,
            "maxAlternatives": 1,
            "enableWordTimeOffsets": self._options.word_times,
            "enableAutomaticPunctuation": self._options.punctuation,
        }
        if self._options.model is not None:
            config["model"] = self._options.model
        streaming = {
            "config": config,
            "interimResults": self._options.interim_results,
            "singleUtterance": self._options.single_utterance,
        }
        self._say(json.dumps({"streamingConfig": streaming}))

    def begin(self) -> None:
        """Start the utterance: the session's audio is its audio."""

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le, in base64."""
        self._say(f'{{"audioContent":"{base64.b64encode(pcm).decode()}"}}')

    def goodbye(self) -> None:
        """Say that no more audio will come: an empty piece, then the word of older servers."""
        self._say(f'{{"audioContent":"{_END if self._parting else ""}"}}')
        self._parting = True

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a goodbye, whether or not there was a close frame.

        A partial whose final is missing is a loss, unless that is the service's way.
        """
        if not self._parting or code not in ORDINARY_CODES:
            return (Failed(close_failure(code, reason)),)
        if self._open_partial and self._endings.is_loss():
            lost = "the connection ended before the last result"
            return (Failed(ProviderError(FailureKind.LOST, lost, code=str(code))),)
        return tuple(self._farewell(confirmed=False))

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        if (failure := read_failure(fields)) is not None:
            return (Failed(_about_key(failure, self._key_remedy)),)
        result = fields.section("result")
        heard = self._results(result.items("results"))
        if self._parting and result.text("endpointerType") == "END_OF_AUDIO":
            heard.extend(self._farewell(confirmed=True))
        return heard

    def _results(self, results: list[Fields]) -> list[Event]:
        heard: list[Event] = []
        unsettled: list[FinalResult] = []
        for result in results:
            said = read_result(result, self._end)
            if not result.flag("isFinal"):
                unsettled.append(said)
                continue
            self._set_partial("")
            heard.append(self._settled(said) if said.text else Partial(" ".join(self._kept)))
        if unsettled:
            heard.append(self._partial(unsettled))
        return heard

    def _settled(self, final: FinalResult) -> Event:
        """Return the event for a final; one without times stays a partial until the end."""
        if final.end is not None and not self._kept:
            self._end = final.end
            return final
        if not self._options.word_times:
            return final
        self._kept.append(final.text)
        if sum(map(len, self._kept)) > _MOST_KEPT:
            raise MalformedError("far too many results without times")
        return Partial(" ".join(self._kept))

    def _partial(self, unsettled: list[FinalResult]) -> Partial:
        text = " ".join(said.text for said in unsettled if said.text)
        self._set_partial(text)
        if self._kept:
            return Partial(" ".join([*self._kept, text]).strip())
        words = tuple(word for said in unsettled for word in said.words)
        return Partial(text, unsettled[-1].end, words)

    def _set_partial(self, text: str) -> None:
        self._partial_text = text
        self._open_partial = bool(text)

    def _farewell(self, *, confirmed: bool) -> Iterable[Event]:
        """Return what has not been returned as final, and the farewell."""
        if not self._open_partial:
            self._endings.good()
        text = " ".join([*self._kept, self._partial_text]).strip()
        self._kept.clear()
        self._set_partial("")
        farewell = Farewell(confirmed)
        return [FinalResult(text), farewell] if text else [farewell]


def _about_key(failure: ProviderError, remedy: str) -> ProviderError:
    if failure.kind is FailureKind.DENIED and remedy:
        failure.remedy = remedy
    return failure
