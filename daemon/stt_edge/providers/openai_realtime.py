"""OpenAI's realtime transcription over WebSocket, and servers that are compatible with it.

Audio goes out as 24 kHz in base64. A commit makes what was sent an *item*; its text comes in deltas
that append to each other, and then as a whole (OpenAI, Realtime transcription). There is no
goodbye: after the last item's text nothing is missing.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from stt_edge.errors import FailureKind
from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from stt_edge.providers import base
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Event,
    Failed,
    Farewell,
    Finalized,
    Partial,
    Provider,
    Ready,
)
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.failures import close_failure
from stt_edge.providers.json_fields import Fields
from stt_edge.providers.openai_api import (
    detected_language,
    event_error,
    http_error,
    named_kind,
)
from stt_edge.providers.openai_items import Items
from stt_edge.providers.openai_session import SessionOptions, describe, endpoint
from stt_edge.providers.transports.websocket import WebSocketTransport
from stt_edge.providers.upsample import Upsampler

_SHORTEST_SAMPLES: Final = ms_to_samples(100)
"""A commit of less is refused; silence is added."""
_BUFFER: Final = "input_audio_buffer."
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
_NOTHING_TO_COMMIT: Final = "input_audio_buffer_commit_empty"


Options = SessionOptions


def _capabilities(options: Options) -> Capabilities:
    return Capabilities(
        billing=Billing.AUDIO,
        partials=True,
        confidence=options.gives_logprobs,
        ready_message=True,
        finalize=True,
        hold_s=600.0,
        drain_timeout_s=30.0,
        finalize_timeout_s=10.0,
        max_session_s=3300.0,  # an hour, less what an utterance may take
        on_drain_timeout="resend",
    )


CAPABILITIES: Final = _capabilities(Options())


def build(name: str, options: Options) -> Provider:
    """Return the provider."""
    transport = partial(
        WebSocketTransport,
        partial(endpoint, options),
        ca_file=options.ca_file,
        refused=partial(http_error, key_file=options.api_key_file),
    )
    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=partial(RealtimeProtocol, options),
        make_transport=transport,
        model=options.model,
        language=options.language,
        watched=options.watched(),
        price_per_hour=options.price_per_hour,
    )


class RealtimeProtocol(JsonConversation):
    """One session. See ``base.Protocol``."""

    def __init__(self, options: Options) -> None:
        """Ask for what ``options`` say."""
        super().__init__()
        self._options = options
        self._upsampler = Upsampler()
        self._items = Items()
        self._samples = 0
        """Of the utterance in hand, not yet committed."""
        self._owing = False
        """Text of audio that was sent is still to come."""
        self._finishing = False
        self._awaited = ""
        """What answers the last request; before it came, there may be items not heard of yet."""
        self._parting = False

    def open(self) -> None:
        """Describe the session; ``session.updated`` answers it."""
        self._tell("session.update", session=describe(self._options))

    def begin(self) -> None:
        """Say nothing: the commit before has left nothing behind."""

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk, at 24 kHz."""
        self._owing = True
        self._samples += len(pcm) // SAMPLE_BYTES
        self._append(self._upsampler.feed(pcm))

    def finalize(self) -> None:
        """Commit what was sent; without any, the server says that there is nothing to commit."""
        if self._samples:
            missing = max(_SHORTEST_SAMPLES - self._samples, 0)
            self._append(self._upsampler.feed(bytes(missing * SAMPLE_BYTES)))
            self._append(self._upsampler.flush())
        self._samples = 0
        self._finishing = True
        self._ask("commit", "committed")
        if self._options.turn_detection is not None:
            # The server commits too, and does not say whose commit it answers.
            self._ask("clear", "cleared")

    def goodbye(self) -> None:
        """Finish, then ``Farewell``; with nothing to finish, ask for any answer."""
        self._parting = True
        if self._finishing:
            return
        if self._owing:
            self.finalize()
        else:
            self._finishing = True
            self._ask("clear", "cleared")

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a goodbye that left nothing open; else what was lost."""
        if self._parting and not self._owing:
            return (Farewell(),)
        error = Fields({"code": reason.rpartition(".")[2], "message": reason})
        if named_kind(error) is not None:
            return (Failed(event_error(error, FailureKind.LOST)),)
        return (Failed(close_failure(code, reason)),)

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        kind = fields.text("type")
        heard = list(self._on(kind, fields))
        if kind == self._awaited:
            self._awaited = ""
        if self._finishing and not self._awaited and not self._items.pending:
            self._finishing = self._owing = False
            heard.append(Farewell() if self._parting else Finalized())
        return heard

    def _on(self, kind: str, fields: Fields) -> Iterable[Event]:
        match kind:
            case "session.updated" | "transcription_session.updated":
                return (Ready(),)
            case "input_audio_buffer.committed":
                self._items.commit(fields.text("item_id"), fields.text("previous_item_id"))
            case "error":
                return self._on_error(fields.section("error"))
            case _ if kind.startswith(_TRANSCRIPTION):
                return self._on_transcription(kind.removeprefix(_TRANSCRIPTION), fields)
        return ()

    def _on_transcription(self, kind: str, fields: Fields) -> Iterable[Event]:
        item_id = fields.text("item_id")
        match kind:
            case "delta":
                self._items.append(item_id, fields.text("delta"))
                text = self._items.text
                return (Partial(text),) if text else ()
            case "completed":
                self._items.complete(item_id, _final(fields))
                return self._items.take()
            case "failed":
                error = event_error(fields.section("error"), FailureKind.UTTERANCE)
                return (Failed(error),)
        return ()

    def _on_error(self, error: Fields) -> Iterable[Event]:
        if error.text("code") != _NOTHING_TO_COMMIT:
            return (Failed(event_error(error, FailureKind.REQUEST)),)
        if self._awaited == _BUFFER + "committed":
            self._awaited = ""
        return ()

    def _append(self, pcm: bytes) -> None:
        if pcm:
            audio = b64encode(pcm).decode("ascii")
            self._say(f'{{"type":"{_BUFFER}append","audio":"{audio}"}}')

    def _ask(self, verb: str, answer: str) -> None:
        self._tell(_BUFFER + verb)
        self._awaited = _BUFFER + answer

    def _tell(self, kind: str, **fields: Any) -> None:
        self._say(json.dumps({"type": kind, **fields}))


def _final(fields: Fields) -> base.Final:
    logs = [log for item in fields.items("logprobs") if (log := item.number("logprob")) is not None]
    confidence = math.exp(min(sum(logs) / len(logs), 0.0)) if logs else None
    text = fields.text("transcript").strip()
    return base.Final(text, confidence=confidence, language=detected_language(fields))
