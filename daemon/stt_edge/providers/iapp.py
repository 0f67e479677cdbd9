"""iApp: Thai, over WebSocket, in the three dialects its documentation knows.

In ``a`` and ``b`` the service repeats the sentence in hand as it grows and never says that it is
final: the next sentence makes it so, or the confirmed end. In ``c`` it says so, and when it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Pacing,
    PartTimes,
    Protocol,
    Provider,
)
from stt_edge.providers.endings import Endings
from stt_edge.providers.iapp_dialects import SegmentProtocol, SentenceProtocol, refusal
from stt_edge.providers.options import KeyOptions
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.providers.urls import complete_url

_URLS: Final = {
    "a": "wss://api.iapp.co.th/asrx",
    "b": "wss://api-uat.iapp.co.th/asr",
    "c": "wss://api.iapp.co.th/v1/audio/stt/rt",
}
_SECONDS: Final = {"seconds": 1.0, "milliseconds": 0.001, "none": None}


@frozen
class Options(KeyOptions):
    """The keys of a provider of this kind."""

    dialect: str = option(
        "a", choices=("a", "b", "c"), doc="generation of the interface: asrx, asr, stt/rt"
    )
    language: str = option("th", doc="what is spoken; en and zh are for dialect c")
    model: str | None = option(None, doc="label of the results; the service has no choice of it")
    key_in: str = option(
        "header", choices=("header", "query"), doc="where the key goes: header apikey, or the query"
    )
    segment_times: str = option(
        "seconds",
        choices=("seconds", "milliseconds", "none"),
        doc="unit of times in dialect c; none: do not rely on them",
    )
    billing: str = option(
        "audio", choices=("audio", "session"), doc="what is paid for: audio sent, or time connected"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        yield from KeyOptions.problems(self)
        if self.dialect != "c" and self.language != "th":
            yield "language", "dialects a and b understand Thai only; remove it, or use dialect: c"


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    if options.api_key_file is None:
        raise ProviderError(FailureKind.SETUP, f"{name}: api_key_file is missing.")
    key = SecretFile(options.api_key_file)
    remedy = f"Put a valid key into {key.path}."
    endings = Endings()
    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=lambda: _protocol(options, endings, remedy),
        make_transport=lambda: WebSocketTransport(
            lambda: _endpoint(options, key.read()),
            ca_file=options.ca_file,
            pings=False,  # the documented clients do not rely on an answer either
            refused=lambda reply: refusal(reply, remedy),
        ),
        model=options.model,
        language=options.language,
        watched=key.watched,
        price_per_hour=options.price_per_hour,
    )


def _protocol(options: Options, endings: Endings, key_remedy: str) -> Protocol:
    if options.dialect == "c":
        unit_s = _SECONDS[options.segment_times]
        return SegmentProtocol(endings, key_remedy=key_remedy, unit_s=unit_s)
    return SentenceProtocol(endings, key_remedy=key_remedy)


def _capabilities(options: Options) -> Capabilities:
    timed = options.dialect == "c" and options.segment_times != "none"
    return Capabilities(
        billing=Billing(options.billing),
        partials=True,
        part_times=PartTimes.PARTS if timed else PartTimes.NONE,
        pacing=Pacing(rate=1.6, burst_s=0.2),  # as the documented client sends a file
        chunk_ms=64,
        drain_timeout_s=10.0,
    )


CAPABILITIES: Final = _capabilities(Options())


def _endpoint(options: Options, key: str) -> WebSocketEndpoint:
    asked = [("transcribe_lang", options.language)] if options.dialect == "c" else []
    if options.key_in == "query":
        asked.append(("apikey", key))
    url = complete_url(options.url, _URLS[options.dialect], asked)
    return WebSocketEndpoint(url, {"apikey": key} if options.key_in == "header" else {})
