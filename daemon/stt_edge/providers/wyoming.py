"""Wyoming: any speech-to-text server of the Home Assistant world, over TCP or a socket file.

One connection carries one utterance; its result comes when the server has heard the end
(rhasspy/wyoming, asr.py, audio.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, samples_to_ms
from stt_edge.providers.base import (
    Capabilities,
    Event,
    Failed,
    Farewell,
    Incoming,
    Partial,
    Provider,
)
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import excerpt
from stt_edge.providers.json_fields import Fields, MalformedError
from stt_edge.providers.options import NetworkOptions
from stt_edge.providers.transports.tcp import TcpEndpoint, TcpTransport, UnixEndpoint
from stt_edge.providers.wyoming_frames import EventDecoder, WyomingEvent, encode

_URL: Final = "tcp://127.0.0.1:10300"
_FORMAT: Final = {"rate": SAMPLE_RATE, "width": SAMPLE_BYTES, "channels": 1}
_LONGEST_TEXT: Final = 1 << 20

CAPABILITIES: Final = Capabilities(
    connect_timeout_s=10.0,
    # A server may load its model first, and begins to compute only when it has heard the end.
    drain_timeout_s=120.0,
    on_drain_timeout="resend",
)


@frozen
class Options(NetworkOptions):
    """The keys of a provider of this kind."""

    url: str | None = option(_URL, doc="tcp://HOST:PORT, or unix:///FILE")
    model: str | None = option(None, doc="name of the model, of those the server has")
    language: str | None = option(None, doc="language spoken, such as en; default: the server's")
    names: tuple[str, ...] = option((), doc="names to expect, if the server takes them")
    terms: tuple[str, ...] = option((), doc="words to expect, if the server takes them")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if _endpoint(self.url) is None:
            yield "url", "is none that can be used; it is tcp://HOST:PORT or unix:///FILE"
        if self.ca_file is not None:
            yield "ca_file", "is of no use, Wyoming has no TLS; remove it"


class WyomingProtocol(Conversation):
    """One connection, which is one utterance. See ``base.Protocol``."""

    def __init__(self, request: dict[str, Any]) -> None:
        """``request`` is the data of the event ``transcribe``."""
        super().__init__()
        self._request = request
        self._decoder = EventDecoder()
        self._sent_samples = 0
        self._transcripts: list[str] = []
        self._streamed = ""
        """What came in pieces, since the last transcript."""
        self._language: str | None = None
        self._parting = False
        self._stopped = False
        """The server has said that the pieces are all."""
        self._over = False

    def begin(self) -> None:
        """Ask for a transcript of the audio that follows."""
        self._sent_samples = 0
        self._say(encode("transcribe", self._request))
        self._say(encode("audio-start", {**_FORMAT, "timestamp": 0}))

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le; of any length (audio.py, AudioChunk)."""
        self._say(encode("audio-chunk", {**_FORMAT, "timestamp": self._time_ms()}, pcm))
        self._sent_samples += len(pcm) // SAMPLE_BYTES

    def goodbye(self) -> None:
        """Say that the audio ends: the server then transcribes it."""
        self._parting = True
        self._say(encode("audio-stop", {"timestamp": self._time_ms()}))

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a transcript; else what was lost.

        Where the pieces were all and no transcript followed, or where the server found the end by
        itself, what it has said is the result.
        """
        if self._over:
            return (Farewell(),)
        if self._parting and (self._stopped or self._transcripts):
            return self._end()
        said = excerpt(reason)
        message = f"the server hung up before the transcript{f': {said}' if said else ''}."
        number = None if code is None else str(code)
        return (Failed(ProviderError(FailureKind.LOST, message, code=number)),)

    def _hear(self, message: Incoming) -> Iterable[Event]:
        if not isinstance(message, bytes):
            raise MalformedError("bytes were expected")
        for event in self._decoder.feed(message):
            yield from self._hear_event(event)

    def _hear_event(self, event: WyomingEvent) -> Iterable[Event]:
        if self._over:
            return ()
        match event.kind:
            case "transcript":
                return self._transcript(event.data)
            case "transcript-chunk":
                return self._chunk(event.data.text("text"))
            case "transcript-stop":
                self._stopped = True
            case "error":
                return (Failed(_failure(event.data)),)
            case "ping":
                self._say(encode("pong", {"text": event.data.text("text")}))
        return ()  # a newer server says more than is known here

    def _transcript(self, data: Fields) -> Iterable[Event]:
        """Take a result; one that comes before the audio has ended is a part of the whole."""
        self._language = data.text("language") or self._language
        self._transcripts.append(data.text("text").strip())
        self._streamed = ""
        return self._end() if self._parting else self._so_far()

    def _chunk(self, text: str) -> Iterable[Event]:
        self._streamed += text
        return self._so_far()

    def _so_far(self) -> Iterable[Event]:
        text = self._text()
        if len(text) > _LONGEST_TEXT:
            raise MalformedError("more text than can be said")
        return (Partial(text),) if text else ()

    def _end(self) -> Sequence[Event]:
        self._over = True
        text = self._text()
        if not text:
            return (Farewell(),)
        model = self._request.get("name")
        return (FinalResult(text, language=self._language, model=model), Farewell())

    def _text(self) -> str:
        return " ".join(filter(None, [*self._transcripts, self._streamed.strip()]))

    def _time_ms(self) -> int:
        return samples_to_ms(self._sent_samples)


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    endpoint = _endpoint(options.url)
    if endpoint is None:
        raise ProviderError(
            FailureKind.SETUP,
            f"{name}: url is none that can be used.",
            remedy="It is tcp://HOST:PORT or unix:///FILE.",
        )
    return Provider(
        name=name,
        capabilities=options.apply(CAPABILITIES),
        make_protocol=partial(WyomingProtocol, _request(options)),
        make_transport=partial(TcpTransport, endpoint),
        model=options.model,
        language=options.language,
        price_per_hour=options.price_per_hour,
    )


def _request(options: Options) -> dict[str, Any]:
    """Return the data of ``transcribe`` (asr.py, Transcribe)."""
    wanted = {
        "name": options.model,
        "language": options.language,
        "transcript_names": list(options.names),
        "transcript_terms": list(options.terms),
    }
    return {key: value for key, value in wanted.items() if value}


def _endpoint(url: str | None) -> TcpEndpoint | UnixEndpoint | None:
    """Return where a URL points to, or None when it is none of Wyoming's."""
    try:
        parts = urlsplit(url or _URL)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return UnixEndpoint(parts.path)
    if parts.scheme == "tcp" and host and port:
        return TcpEndpoint(host, port)
    return None


def _failure(data: Fields) -> ProviderError:
    code = data.text("code") or None
    said = excerpt(data.text("text")) or "without saying which"
    return ProviderError(FailureKind.SERVER, f"the server reports an error: {said}.", code=code)
