"""Deepgram live transcription (``v1/listen``).

It bills the audio sent, so a connection is kept between utterances at no cost. A final is a piece
of an utterance: whatever it has settled so far (Deepgram docs, "Endpointing and Interim Results").
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final
from typing import Final as Constant

from stt_edge.config.schema import option
from stt_edge.errors import ProviderError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    HttpReply,
    Pacing,
    PartTimes,
    Provider,
)
from stt_edge.providers.deepgram_listen import ListenProtocol
from stt_edge.providers.failures import http_failure
from stt_edge.providers.options import KeyOptions
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.providers.urls import complete_url

_ENDPOINT: Constant = "wss://api.deepgram.com/v1/listen"
_HOLD_S: Constant = 60.0
_KEEP_ALIVE_S: Constant = 4.0
"""Without audio or text the service closes after 10 s; 3 to 5 s are advised."""
_SCHEMES: Constant = {"key": "Token", "token": "Bearer"}
_SEVERAL: Constant = "multi"


@frozen
class Options(KeyOptions):
    """The keys of a provider of this kind."""

    credential: str = option(
        "key", choices=("key", "token"), doc="what is in api_key_file: an API key or a JWT"
    )
    model: str = option("nova-3", doc="model, such as nova-3, nova-3-medical or nova-2")
    language: str = option("en", doc="language code, or multi for several at once")
    interim_results: bool = option(True, doc="show what is understood while somebody speaks")
    smart_format: bool = option(
        True, doc="punctuation, dates, times and numbers as one writes them"
    )
    punctuate: bool = option(True, doc="punctuation and capitals")
    numerals: bool = option(False, doc="numbers in digits")
    dictation: bool = option(False, doc="understand spoken punctuation: comma, new line")
    profanity_filter: bool = option(False, doc="mask what is rude")
    redact: tuple[str, ...] = option((), doc="leave out pci, pii, numbers …")
    keyterms: tuple[str, ...] = option((), doc="words and names to expect (nova-3)")
    keywords: tuple[str, ...] = option((), doc="the same for older models, as word:boost")
    replace: tuple[str, ...] = option((), doc="write one word for another, as heard:written")
    endpointing_ms: int | None = option(
        None, minimum=0, maximum=10_000, doc="pause that settles results; 0: never; null: its own"
    )
    tags: tuple[str, ...] = option((), doc="labels in the usage reports")
    mip_opt_out: bool = option(False, doc="keep audio out of the model improvement programme")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        yield from KeyOptions.problems(self)
        if self.keyterms and not self.model.startswith("nova-3"):
            yield "keyterms", f"are for nova-3; {self.model} has keywords"


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    secret = SecretFile(options.api_key_file or name)
    remedy = f"Put a valid key into {secret.path}, and look at the balance of the account."

    def endpoint() -> WebSocketEndpoint:
        authorization = f"{_SCHEMES[options.credential]} {secret.read()}"
        return WebSocketEndpoint(_address(options), {"Authorization": authorization})

    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=ListenProtocol,
        make_transport=partial(
            WebSocketTransport,
            endpoint,
            ca_file=options.ca_file,
            refused=partial(_refusal, remedy),
        ),
        model=options.model,
        language=None if options.language == _SEVERAL else options.language,
        watched=secret.watched,
        price_per_hour=options.price_per_hour,
    )


def _capabilities(options: Options) -> Capabilities:
    return Capabilities(
        billing=Billing.AUDIO,
        partials=options.interim_results,
        part_times=PartTimes.WORDS,
        confidence=True,
        finalize=True,
        hold_s=_HOLD_S,
        keep_alive_s=_KEEP_ALIVE_S,
        pacing=Pacing(1.25, 1.0),
        chunk_max_ms=250,
    )


CAPABILITIES: Final = _capabilities(Options())


def _refusal(remedy: str, reply: HttpReply) -> ProviderError:
    """Return what an HTTP answer means; a body may be missing where ``dg-error`` is not."""
    denied = reply.status in (401, 402, 403)
    said = reply.body or reply.headers.get("dg-error", "").encode()
    return http_failure(reply.status, reply.headers, said, remedy=remedy if denied else "")


def _address(options: Options) -> str:
    """Return where to connect; a query in ``url`` has the last word about what it names."""
    return complete_url(options.url, _ENDPOINT, _query(options))


def _query(options: Options) -> Iterator[tuple[str, str]]:
    yield from (("encoding", "linear16"), ("sample_rate", str(SAMPLE_RATE)), ("channels", "1"))
    yield from (("model", options.model), ("language", options.language))
    names = ("interim_results", "smart_format", "punctuate")
    yield from ((name, str(getattr(options, name)).lower()) for name in names)
    for name in ("numerals", "dictation", "profanity_filter", "mip_opt_out"):
        if getattr(options, name):
            yield name, "true"
    if options.endpointing_ms is not None:
        yield "endpointing", str(options.endpointing_ms or "false")
    lists = {
        "redact": options.redact,
        "keyterm": options.keyterms,
        "keywords": options.keywords,
        "replace": options.replace,
        "tag": options.tags,
    }
    for name, values in lists.items():
        yield from ((name, value) for value in values)
