"""AssemblyAI Universal Streaming (v3); ``dialect: v2`` is the realtime API before it.

It bills the time a session is open, so each utterance has a session of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Final
from typing import Final as Constant

from stt_edge.config.schema import option
from stt_edge.errors import ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers import assemblyai_v2, assemblyai_v3
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    HttpReply,
    Pacing,
    PartTimes,
    Protocol,
    Provider,
)
from stt_edge.providers.endings import Endings
from stt_edge.providers.failures import http_failure
from stt_edge.providers.options import KeyOptions
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.providers.urls import complete_url

_ENDPOINTS: Constant = {
    None: "wss://streaming.assemblyai.com/v3/ws",
    "us": "wss://streaming.us.assemblyai.com/v3/ws",
    "eu": "wss://streaming.eu.assemblyai.com/v3/ws",
}
_SESSION_S: Constant = 3 * 3600.0
_SEVERAL: Constant = "multi"

Query = list[tuple[str, str]]


@frozen
class Options(KeyOptions):
    """The keys of a provider of this kind."""

    dialect: str = option("v3", choices=("v3", "v2"), doc="v2 for gateways that speak it still")
    region: str | None = option(
        None, choices=("us", "eu"), doc="where audio may be; null: anywhere"
    )
    auth: str = option("header", choices=("header", "query"), doc="where the key is put")
    language: str = option("en", doc="what is spoken; multi: the service finds out")
    model: str | None = option(None, doc="speech_model; null: the universal one for the language")
    format_turns: bool = option(True, doc="punctuation, capitals and numbers")
    keyterms: tuple[str, ...] = option((), doc="words and names to expect")
    prompt: str | None = option(None, doc="what the speech is about, for models that read it")
    profanity_filter: bool = option(False, doc="mask what is rude")
    redact_pii: bool = option(False, doc="leave out what identifies people")
    end_of_turn_confidence: float | None = option(
        None, minimum=0, maximum=1, doc="end_of_turn_confidence_threshold; null: the service's own"
    )
    min_turn_silence_ms: int | None = option(
        None, minimum=0, maximum=20_000, doc="pause that ends a turn, when it sounds complete"
    )
    max_turn_silence_ms: int | None = option(
        None, minimum=0, maximum=20_000, doc="pause that ends a turn in any case"
    )
    vad_threshold: float | None = option(
        None, minimum=0, maximum=1, doc="what the service takes for speech; null: its own"
    )
    inactivity_timeout_s: int | None = option(
        None, minimum=5, maximum=3600, doc="the service ends a session without audio after this"
    )
    binary_audio: bool = option(False, doc="dialect v2: send audio as it is, not as base64")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        yield from KeyOptions.problems(self)
        if self.dialect == "v2" and self.region is not None:
            yield "region", "the v2 dialect has none; write the gateway's address into url"
        least, most = self.min_turn_silence_ms, self.max_turn_silence_ms
        if least is not None and most is not None and least > most:
            yield "min_turn_silence_ms", "is longer than max_turn_silence_ms"


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    secret = SecretFile(options.api_key_file or name)
    legacy, endings = options.dialect == "v2", Endings()
    remedy = f"Put a valid key into {secret.path}, and look at the balance of the account."

    def endpoint() -> WebSocketEndpoint:
        return _endpoint(options, secret.read())

    def refused(reply: HttpReply) -> ProviderError:
        denied = reply.status in (401, 402, 403)
        advice = remedy if denied else ""
        return http_failure(reply.status, reply.headers, reply.body, remedy=advice)

    def protocol() -> Protocol:
        if legacy:
            return assemblyai_v2.LegacyProtocol(endings, binary=options.binary_audio, remedy=remedy)
        return assemblyai_v3.StreamingProtocol(
            endings, formatted=options.format_turns, remedy=remedy
        )

    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(legacy=legacy)),
        make_protocol=protocol,
        make_transport=partial(
            WebSocketTransport, endpoint, ca_file=options.ca_file, refused=refused
        ),
        model="v2" if legacy else _model(options),
        language=None if options.language == _SEVERAL else options.language,
        watched=secret.watched,
        price_per_hour=options.price_per_hour,
    )


def _capabilities(*, legacy: bool) -> Capabilities:
    return Capabilities(
        billing=Billing.SESSION,
        partials=True,
        part_times=PartTimes.WORDS,
        confidence=True,
        ready_message=True,
        # "Audio faster than real time" ends the session; the longest message there may be comes
        # at once too, so half of that in advance is never too fast.
        pacing=Pacing(1.0, 0.5),
        chunk_min_ms=assemblyai_v2.SHORTEST_MS if legacy else assemblyai_v3.SHORTEST_MS,
        chunk_max_ms=900,  # what is kept back of the chunk before is sent with it
        chunk_ms=100,
        max_session_s=None if legacy else _SESSION_S,
    )


CAPABILITIES: Final = _capabilities(legacy=False)


def _model(options: Options) -> str:
    language = "english" if options.language.startswith("en") else "multilingual"
    return options.model or f"universal-streaming-{language}"


def _endpoint(options: Options, key: str) -> WebSocketEndpoint:
    """Return where to connect; a query in ``url`` has the last word about what it names."""
    usual = assemblyai_v2.ENDPOINT if options.dialect == "v2" else _ENDPOINTS[options.region]
    query = _legacy_query(options) if options.dialect == "v2" else _query(options)
    headers = {"Authorization": key}
    if options.auth == "query":
        headers, query = {}, [*query, ("token", key)]
    return WebSocketEndpoint(complete_url(options.url, usual, query), headers=headers)


def _legacy_query(options: Options) -> Query:
    query = [("sample_rate", "16000"), ("encoding", "pcm_s16le")]
    if options.keyterms:
        query.append(("word_boost", json.dumps(options.keyterms)))
    return query


def _query(options: Options) -> Query:
    query = [
        ("sample_rate", "16000"),
        ("encoding", "pcm_s16le"),
        ("speech_model", _model(options)),
        ("format_turns", str(options.format_turns).lower()),
    ]
    if options.language == _SEVERAL:
        query.append(("language_detection", "true"))
    elif not options.language.startswith("en"):
        query.append(("language_codes", json.dumps([options.language])))
    if options.keyterms:
        query.append(("keyterms_prompt", json.dumps(options.keyterms)))
    if options.profanity_filter:
        query.append(("filter_profanity", "true"))
    if options.redact_pii:
        query.append(("redact_pii", "true"))
    numbers = {
        "end_of_turn_confidence_threshold": options.end_of_turn_confidence,
        "min_turn_silence": options.min_turn_silence_ms,
        "max_turn_silence": options.max_turn_silence_ms,
        "vad_threshold": options.vad_threshold,
        "inactivity_timeout": options.inactivity_timeout_s,
        "prompt": options.prompt,
    }
    return query + [(name, str(value)) for name, value in numbers.items() if value is not None]
