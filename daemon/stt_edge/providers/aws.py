"""Amazon Transcribe streaming, over its WebSocket (Amazon Transcribe docs, "Streaming").

One connection carries one utterance: the end of the audio is an empty audio event, after which the
service sends what is left and closes. There is no way to have a final sooner, and no keep-alive.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_BYTES
from stt_edge.providers import base
from stt_edge.providers.aws_event_stream import decode, encode
from stt_edge.providers.aws_failures import FailureReader, message_in
from stt_edge.providers.aws_options import Options
from stt_edge.providers.aws_signing import Credentials, SigningEndpoint
from stt_edge.providers.base import Capabilities, Event, Incoming, Pacing, Partial, WordOffset
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import close_failure
from stt_edge.providers.json_fields import Fields, MalformedError, parse_object, seconds_to_samples
from stt_edge.providers.transports.websocket import WebSocketTransport

__all__ = ["AwsProtocol", "Options", "build"]

_FOUR_HOURS_S: Final = 4 * 3600.0
_MOST_OPEN: Final = 8
_CLEAN: Final = (1000, 1005)
_OPENING: Final = "¿¡([«“"
_AUDIO_EVENT: Final = {
    ":content-type": "application/octet-stream",
    ":event-type": "AudioEvent",
    ":message-type": "event",
}
EXTRA: Final = "aws"
PACKAGES: Final = ("botocore",)
CAPABILITIES: Final = Capabilities(
    billing=base.Billing.AUDIO,
    minimum_billed_s=15.0,
    partials=True,
    part_times=base.PartTimes.WORDS,
    confidence=True,
    pacing=Pacing(1.25, burst_s=1.0),
    chunk_min_ms=50,
    chunk_max_ms=1000,
    chunk_ms=100,
    max_session_s=_FOUR_HOURS_S,
    max_utterance_s=_FOUR_HOURS_S,
)


class AwsProtocol(Conversation):
    """One stream of audio. See ``base.Protocol``."""

    def __init__(self, failures: FailureReader, *, model: str | None, language: str | None) -> None:
        """Label results with the model, and with the language where the service does not."""
        super().__init__()
        self._failures = failures
        self._model = model
        self._language = language
        self._sent = 0
        self._begun = 0
        self._parting = False
        self._open: dict[str, Partial] = {}
        """Segments without a final, by ResultId."""

    def begin(self) -> None:
        """Start an utterance; times of the service count from the start of the stream."""
        self._begun = self._sent
        self._open.clear()

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le, in an AudioEvent."""
        self._sent += len(pcm) // SAMPLE_BYTES
        self._say(encode(_AUDIO_EVENT, pcm))

    def goodbye(self) -> None:
        """Queue an AudioEvent without audio: the service sends the rest, and closes."""
        if not self._parting:
            self._parting = True
            self._say(encode(_AUDIO_EVENT, b""))

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a goodbye and a clean end, with what had no final before it."""
        if self._parting and code in _CLEAN:
            left = self._partial()
            told = (base.Final(left.text, 0, left.end, left.words),) if left.text else ()
            return (*told, base.Farewell())
        return (base.Failed(close_failure(code, reason)),)

    def _hear(self, message: Incoming) -> Iterable[Event]:
        if not isinstance(message, bytes):
            raise MalformedError("a binary message was expected")
        event = decode(message)
        match event.text(":message-type"):
            case "event" if event.text(":event-type") == "TranscriptEvent":
                results = parse_object(event.payload).section("Transcript").items("Results")
                yield from self._results(results)
            case "event":
                pass  # of a kind that has been added since
            case "exception":
                name = event.text(":exception-type")
                yield base.Failed(self._failures.exception(name, message_in(event.payload)))
            case "error":
                name, said = event.text(":error-code"), event.text(":error-message")
                yield base.Failed(self._failures.exception(name, said))
            case _:
                raise MalformedError("a message of an unknown type")

    def _results(self, results: list[Fields]) -> Iterator[Event]:
        for result in results:
            item_id = result.text("ResultId")
            said = self._said(result)
            if result.flag("IsPartial"):
                self._open[item_id] = said
                if len(self._open) > _MOST_OPEN:
                    del self._open[next(iter(self._open))]
            else:
                self._open.pop(item_id, None)
                yield self._final(result, said, item_id or None)
        if results and self._open:
            yield self._partial()

    def _said(self, result: Fields) -> Partial:
        alternative = next(iter(result.items("Alternatives")), Fields({}))
        words = tuple(self._words(alternative.items("Items")))
        return Partial(alternative.text("Transcript"), self._offset(result, "EndTime"), words)

    def _final(self, result: Fields, said: Partial, item_id: str | None) -> base.Final:
        known = [word.confidence for word in said.words if word.confidence is not None]
        return base.Final(
            said.text,
            self._offset(result, "StartTime"),
            said.end,
            said.words,
            confidence=sum(known) / len(known) if known else None,
            language=result.text("LanguageCode") or self._language,
            model=self._model,
            item_id=item_id,
        )

    def _partial(self) -> Partial:
        """Return all that has no final; mostly one segment."""
        parts = list(self._open.values())
        words = tuple(word for part in parts for word in part.words)
        text = " ".join(part.text for part in parts if part.text)
        return Partial(text, parts[-1].end if parts else None, words)

    def _words(self, items: list[Fields]) -> Iterator[WordOffset]:
        """Give words with the punctuation that belongs to them, so that they join to the text."""
        word: WordOffset | None = None
        opening = ""
        for item in items:
            content = item.text("Content")
            if item.text("Type").lower() == "punctuation":
                if content in _OPENING:
                    opening += content
                elif word is not None:
                    word = replace(word, text=word.text + content)
                continue
            if word is not None:
                yield word
            start, end = self._offset(item, "StartTime"), self._offset(item, "EndTime")
            if start is None or end is None:
                raise MalformedError("a word has no time")
            word = WordOffset(opening + content, start, max(start, end), _confidence(item))
            opening = ""
        if word is not None:
            yield word

    def _offset(self, timed: Fields, name: str) -> int | None:
        samples = seconds_to_samples(timed.number(name))
        return None if samples is None else max(0, samples - self._begun)


def build(name: str, options: Options) -> base.Provider:
    """Return the provider. Raises ProviderError of kind SETUP when botocore is not installed."""
    if importlib.util.find_spec("botocore") is None:
        raise ProviderError(
            FailureKind.SETUP,
            f"The provider {name} needs the package botocore, which is not installed.",
            remedy=f"Install it: {install_command('aws')}",
        )
    credentials = Credentials(options.profile, options.credentials_file)
    failures = FailureReader(credentials)
    endpoint = SigningEndpoint(
        credentials, options.parameters(), region=options.region, url=options.url
    )
    model, language = options.language_model_name, options.language_code
    return base.Provider(
        name=name,
        capabilities=options.apply(CAPABILITIES),
        make_protocol=partial(AwsProtocol, failures, model=model, language=language),
        make_transport=partial(
            WebSocketTransport,
            endpoint,
            ca_file=options.ca_file,
            pings=False,
            refused=failures.refusal,
        ),
        model=model,
        language=language,
        watched=credentials.watched,
        price_per_hour=options.price_per_hour,
    )


def _confidence(item: Fields) -> float | None:
    share = item.number("Confidence")
    if share is not None and not 0 <= share <= 1:
        raise MalformedError("a confidence is out of range")
    return share
