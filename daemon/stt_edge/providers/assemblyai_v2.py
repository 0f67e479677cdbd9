"""AssemblyAI's realtime API (v2), for gateways that still speak it; the service itself does not.

Audio goes as base64 in JSON, in messages of 100 to 2000 ms. Errors and close codes are those of v3.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Final as Constant

from stt_edge.providers.assemblyai_common import CLEAN, Cutter, joined, session_failure
from stt_edge.providers.base import Event, Failed, Farewell, Final, Partial, Ready
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.endings import Endings
from stt_edge.providers.json_fields import Fields

ENDPOINT: Constant = "wss://api.assemblyai.com/v2/realtime/ws"
SHORTEST_MS: Constant = 100

_GOODBYE: Constant = json.dumps({"terminate_session": True})


class LegacyProtocol(JsonConversation):
    """One session of the realtime API."""

    def __init__(self, endings: Endings, *, binary: bool = False, remedy: str = "") -> None:
        """Send audio as it is where ``binary``, as later gateways take it; else as base64.

        ``endings`` are those of all sessions: what a close without ``SessionTerminated`` means.
        """
        super().__init__()
        self._endings = endings
        self._binary = binary
        self._remedy = remedy
        self._audio = Cutter(SHORTEST_MS)
        self._session = ""
        self._partial: Final | None = None
        self._parted = False

    def begin(self) -> None:
        """Start an utterance."""
        self._audio.begin()

    def send_audio(self, pcm: bytes) -> None:
        """Queue audio; the last 100 ms wait for what follows."""
        self._say_audio(self._audio.take(pcm))

    def goodbye(self) -> None:
        """Queue what waits, and ``terminate_session``."""
        self._say_audio(self._audio.rest())
        self._parted = True
        self._say(_GOODBYE)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` for a good end after the goodbye; else what went wrong."""
        if self._parted and code in CLEAN and not self._endings.is_loss():
            return self._rest()
        return (Failed(session_failure(code, reason, self._remedy)),)

    def _say_audio(self, message: bytes) -> None:
        if not message:
            return
        encoded = base64.b64encode(message).decode("ascii")
        self._say(message if self._binary else json.dumps({"audio_data": encoded}))

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        match fields.text("message_type"):
            case "SessionBegins":
                self._session = fields.text("session_id")
                return (Ready(),)
            case "PartialTranscript":
                return self._heard_partial(self._result(fields))
            case "FinalTranscript":
                self._partial = None
                final = self._result(fields)
                return (final,) if final.text else (Partial(""),)
            case "SessionTerminated":
                return self._terminated()
        if "error" in fields:
            return (Failed(session_failure(None, fields.text("error"), self._remedy)),)
        return ()

    def _heard_partial(self, result: Final) -> Iterable[Event]:
        self._partial = result if result.text else None
        return (Partial(result.text, result.end, result.words),)

    def _terminated(self) -> Iterable[Event]:
        if not self._parted:
            return (Failed(session_failure(4031, "it was terminated", self._remedy)),)
        self._endings.good()
        return self._rest()

    def _rest(self) -> tuple[Event, ...]:
        last, self._partial = self._partial, None
        return (Farewell(),) if last is None else (last, Farewell())

    def _result(self, fields: Fields) -> Final:
        words = self._audio.words(fields)
        start = fields.number("audio_start")
        end = fields.number("audio_end")
        return Final(
            fields.text("text") or joined(words),
            start=None if start is None else self._audio.offset(start),
            end=None if end is None else self._audio.offset(end),
            words=words,
            confidence=fields.number("confidence"),
            item_id=f"{self._session}:{start}" if self._session and start is not None else None,
        )
