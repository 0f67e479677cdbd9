"""vosk-server: a Vosk recogniser of one's own behind a WebSocket.

Every message but the configuration is answered by exactly one; nothing else is ever said. A crash
of the server is all that tells of a mistake (alphacep/vosk-server, websocket/asr_server.py).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from stt_edge.providers.base import (
    Capabilities,
    Event,
    Failed,
    Farewell,
    Finalized,
    Outgoing,
    Partial,
    PartTimes,
    Provider,
)
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.failures import close_failure
from stt_edge.providers.json_fields import Fields, MalformedError
from stt_edge.providers.options import NetworkOptions
from stt_edge.providers.transports.lock_step import LockStepTransport
from stt_edge.providers.transports.websocket import WebSocketEndpoint
from stt_edge.providers.vosk_results import UNKNOWN, counted_from, known_words, read_result

_URL: Final = "ws://127.0.0.1:2700"
_EOF: Final = '{"eof" : 1}'
_RESET: Final = '{"reset" : 1}'
"""Compared as texts by the server, so every space counts."""
_CRASHED: Final = 1011
_ANSWER_S: Final = 15.0
_LOADING_S: Final = 90.0
"""With a model that the server loads for this connection, and answers nobody meanwhile."""

CAPABILITIES: Final = Capabilities(
    partials=True,
    part_times=PartTimes.WORDS,
    confidence=True,
    finalize=True,
    hold_s=3600.0,
    chunk_min_ms=125,
    chunk_max_ms=250,
    chunk_ms=125,
    drain_timeout_s=30.0,
    finalize_timeout_s=5.0,
)


@frozen
class Options(NetworkOptions):
    """The keys of a provider of this kind."""

    url: str | None = option(_URL, doc="ws://HOST:PORT, or wss:// behind a proxy with TLS")
    model: str | None = option(None, doc="directory of a model on the server, if not its own")
    phrases: tuple[str, ...] = option((), doc="understand these phrases and nothing else")
    words: bool = option(True, doc="ask for the times of words")
    alternatives: int = option(
        0, minimum=0, maximum=20, doc="results to choose the best of; then none has a confidence"
    )
    language: str | None = option(
        None, doc="label of the results; the server's model decides what is understood"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if urlsplit(self.url or _URL).scheme not in ("ws", "wss"):
            yield "url", "begins with ws:// or wss://"


@dataclass(slots=True)
class Crashes:
    """How often in a row the server has crashed before its first answer."""

    count: int = 0


class VoskServerProtocol(JsonConversation):
    """One connection. See ``base.Protocol``."""

    def __init__(self, configuration: str, crashes: Crashes, language: str | None) -> None:
        """Take the first message, and what is common to all connections of the provider."""
        super().__init__()
        self._configuration = configuration
        self._crashes = crashes
        self._language = language
        self._unanswered: deque[int | str] = deque()
        """What an answer is due to, in order: so many samples, or one of the two literals."""
        self._sent = self._answered = self._begun = 0
        """Samples of this connection; the last is where the utterance in hand begins."""
        self._last: FinalResult | None = None
        self._heard = self._over = False

    def open(self) -> None:
        """Queue the configuration; it is not answered."""
        self._say(self._configuration)

    def begin(self) -> None:
        """Start an utterance; the server's clock goes on."""
        self._begun = self._sent

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le."""
        samples = len(pcm) // SAMPLE_BYTES
        self._sent += samples
        self._unanswered.append(samples)
        self._say(pcm)

    def finalize(self) -> None:
        """Ask for the rest of the utterance and keep the connection."""
        self._ask(_RESET)

    def goodbye(self) -> None:
        """Ask for the rest of the utterance; the server then closes."""
        self._ask(_EOF)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after the answer to a goodbye; else what was lost."""
        if self._over:
            return (Farewell(),)
        failure = close_failure(code, reason)
        if code == _CRASHED and not self._heard:
            self._crashes.count += 1
            if self._crashes.count > 1:
                failure = ProviderError(
                    FailureKind.REQUEST,
                    "the server crashes whenever it is given our configuration.",
                    code=str(code),
                    remedy="Check model and phrases, and read the server's log.",
                )
        return (Failed(failure),)

    def _ask(self, literal: str) -> None:
        self._unanswered.append(literal)
        self._say(literal)

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        self._heard = True
        self._crashes.count = 0
        if "partial" in fields:
            return self._partial(fields.text("partial"))
        if "text" not in fields and "alternatives" not in fields:
            raise MalformedError("neither a partial nor a result")
        final = read_result(fields, self._language)
        if final.words and final == self._last:
            return ()  # said twice; the same words cannot have been heard twice at the same time
        self._last = final
        answered = self._take_answered()
        events: list[Event] = [counted_from(self._begun, final)] if final.text else []
        if answered == _RESET:
            events.append(Finalized())
        elif answered == _EOF:
            self._over = True
            events.append(Farewell())
        return events

    def _partial(self, text: str) -> Iterable[Event]:
        if self._unanswered and isinstance(self._unanswered[0], int):
            self._take_answered()
        text = known_words(text)
        return (Partial(text, max(0, self._answered - self._begun)),) if text else ()

    def _take_answered(self) -> int | str | None:
        """Return what a message is the answer to, and have it answered."""
        first = self._unanswered.popleft() if self._unanswered else None
        if isinstance(first, int):
            self._answered += first
        return first


def build(name: str, options: Options) -> Provider:
    """Return the provider."""
    own_model = options.model is not None
    return Provider(
        name=name,
        capabilities=options.apply(
            replace(
                CAPABILITIES,
                part_times=PartTimes.WORDS if options.words else PartTimes.NONE,
                confidence=options.words and not options.alternatives,
                drain_timeout_s=_LOADING_S if own_model else CAPABILITIES.drain_timeout_s,
            )
        ),
        make_protocol=partial(
            VoskServerProtocol, _configuration(options), Crashes(), options.language
        ),
        make_transport=partial(
            LockStepTransport,
            partial(WebSocketEndpoint, options.url or _URL),
            ca_file=options.ca_file,
            pings=not own_model,
            answered=_is_answered,
            answer_s=_LOADING_S if own_model else _ANSWER_S,
        ),
        model=options.model,
        language=options.language,
        price_per_hour=options.price_per_hour,
    )


def _configuration(options: Options) -> str:
    wanted: dict[str, Any] = {
        "sample_rate": SAMPLE_RATE,
        "words": options.words,
        "max_alternatives": options.alternatives,
    }
    if options.phrases:
        # Without the unknown word all that is said would be forced into one of the phrases.
        wanted["phrase_list"] = [*options.phrases, UNKNOWN]
    if options.model is not None:
        wanted["model"] = options.model
    return json.dumps({"config": wanted}, ensure_ascii=False)


def _is_answered(message: Outgoing) -> bool:
    return isinstance(message, bytes) or message in (_RESET, _EOF)
