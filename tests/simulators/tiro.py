"""Tiro, as a grpc-gateway behind a WebSocket proxy serves it: protobuf messages as JSON.

Whatever ends the stream, the proxy hangs up without a close frame. Faults of its own:

``refuse-token``   a bad token is refused with HTTP 401, not after the upgrade with code 16
``omit-defaults``  fields with default values are left out, as gateways of version 1 do
``old-errors``     errors in the shape of version 1
``only-end``       an empty piece of audio is no end; only the word END is
``end-of-audio``   the last message is END_OF_AUDIO, and the connection stays
``no-results``     understands nothing, whatever is said
``short-lines``    breaks off at a line above 400 bytes, not above 64 KiB
``no-word-times``  does not know enableWordTimeOffsets
``grpc-N``         ends the stream at the first audio with that status
``grpc-N-inside``  the same in the field ``result.error``
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from tests.simulators.core import Dropped, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

PATH: Final = "/v2beta1/speech:streamingrecognize"
_ENDPOINT_SAMPLES: Final = ms_to_samples(500)
_INTERIM_SAMPLES: Final = ms_to_samples(350)
_LINE_BYTES: Final = 64 * 1024
_PATIENCE_S: Final = 2.0
_LANGUAGES: Final = ("is-IS", "is-IS-x-exp")
_STREAMING: Final = {"config": dict, "interimResults": bool, "singleUtterance": bool}
_CONFIG: Final = {
    "encoding": str,
    "sampleRateHertz": int,
    "languageCode": str,
    "maxAlternatives": int,
    "enableWordTimeOffsets": bool,
    "enableAutomaticPunctuation": bool,
    "metadata": dict,
    "diarizationConfig": dict,
}


class Invalid(Exception):  # noqa: N818  an answer, and no error of the simulator's
    """INVALID_ARGUMENT; the message, and the field with what is wrong about it."""

    def __init__(self, message: str, field: str = "", description: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.description = description


class Simulator(WebSocketSimulator):
    """The service."""

    path = PATH

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        if urlsplit(request.path).path != PATH:
            return 404, {}, b'{"code":5,"message":"Not Found","details":[]}'
        if "refuse-token" in self.faults and not self.knows(request):
            return 401, {}, b'{"code":16,"message":"bad token","details":[]}'
        return None

    def knows(self, request: Request) -> bool:
        """Whether the token in the query is the key."""
        return parse_qs(urlsplit(request.path).query).get("token") == [self.key]

    async def serve(self, wire: Wire) -> None:
        stream = _Stream(self, wire)
        try:
            assert wire.request is not None
            if not self.knows(wire.request):
                await stream.fail(16, "Request unauthenticated")
            await stream.run()
        except Invalid as invalid:
            await stream.fail(3, invalid.message, invalid.field, invalid.description)


class _Stream:
    """One call of StreamingRecognize."""

    def __init__(self, simulator: Simulator, wire: Wire) -> None:
        self._simulator = simulator
        self._faults = simulator.faults
        self._wire = wire
        self._config: dict[str, Any] = {}
        self._interims = False
        self._single = False
        self._samples = 0
        self._settled = 0
        """Words that finals have told of."""
        self._shown: tuple[int, int] = 0, 0
        """Words in the last interim result, and when it was sent."""

    async def run(self) -> None:
        self._configure(_message(await self._wire.receive()))
        while True:
            pcm = self._audio(_message(await self._wire.receive()))
            if pcm is None:
                continue
            if not pcm or pcm == b"END":
                await self._finish()
            await self._wire.audio(pcm)
            await self._fail_if_told()
            self._samples += len(pcm) // SAMPLE_BYTES
            await self._tell()

    async def fail(self, code: int, message: str, field: str = "", description: str = "") -> None:
        """Report a status and hang up. Raises Dropped."""
        details = []
        if field:
            violation = {"field": field, "description": description}
            kind = "types.talgreinir.is/google.rpc.BadRequest"
            details = [{"@type": kind, "fieldViolations": [violation]}]
        status: dict[str, Any] = {"code": code, "message": message, "details": details}
        if f"grpc-{code}-inside" in self._faults:
            await self._send({"result": {"error": status, "results": []}})
        elif "old-errors" in self._faults:
            http = {3: 400, 5: 404, 7: 403, 8: 429, 16: 401}.get(code, 500)
            old: dict[str, Any] = {"grpc_code": code, "http_code": http, "message": message}
            await self._send({"error": {**old, "http_status": "Sorry", "details": details}})
        else:
            await self._send({"error": status})
        await self._hang_up()

    def _configure(self, message: dict[str, Any]) -> None:
        streaming = message.get("streamingConfig")
        if not isinstance(streaming, dict) or "audioContent" in message:
            raise Invalid("The first message has to hold streaming_config and nothing else")
        _check_types(streaming, _STREAMING, "streaming_config")
        self._config = streaming.get("config", {})
        _check_types(self._config, _CONFIG, "streaming_config.config")
        self._check("encoding", self._config.get("encoding") == "LINEAR16")
        self._check("sample_rate_hertz", 8000 <= self._config.get("sampleRateHertz", 0) <= 48000)
        self._check("language_code", self._config.get("languageCode") in _LANGUAGES)
        self._check("max_alternatives", 0 <= self._config.get("maxAlternatives", 0) <= 30)
        self._interims = streaming.get("interimResults", False)
        self._single = streaming.get("singleUtterance", False)

    def _check(self, name: str, fine: bool) -> None:
        if not fine:
            place = f"streaming_config.config.{name}"
            raise Invalid("Invalid request. See details", place, "Unsupported value")

    def _audio(self, message: dict[str, Any]) -> bytes | None:
        """Return the audio of a message; None for an end that is none here."""
        if "streamingConfig" in message or not isinstance(message.get("audioContent"), str):
            raise Invalid("Messages after the first have to hold audio_content and nothing else")
        try:
            pcm = base64.b64decode(message["audioContent"], validate=True)
        except binascii.Error:
            raise Invalid("Failed to decode request") from None
        if not pcm and "only-end" in self._faults:
            return None
        if len(pcm) % SAMPLE_BYTES and pcm != b"END":
            raise Invalid("Half a sample")
        return pcm

    async def _fail_if_told(self) -> None:
        for name in self._faults.other:
            if name.startswith("grpc-"):
                await self.fail(int(name.split("-")[1]), "so it was told")

    async def _tell(self) -> None:
        """Send what there is to say after a piece of audio."""
        words = self._heard(self._wire.heard.words())
        if not words:
            return
        if self._samples - words[-1].end >= _ENDPOINT_SAMPLES:
            await self._final(words)
            if self._single:
                await self._result([], event="END_OF_SINGLE_UTTERANCE")
                await self._hang_up()
        elif self._interims:
            await self._interim(words)

    def _heard(self, words: list[SpokenWord]) -> list[SpokenWord]:
        return [] if "no-results" in self._faults else words[self._settled :]

    async def _interim(self, words: list[SpokenWord]) -> None:
        count, at = self._shown
        if len(words) != count and self._samples - at >= _INTERIM_SAMPLES:
            self._shown = len(words), self._samples
            await self._result([self._hypothesis(words, is_final=False)])

    async def _final(self, words: list[SpokenWord]) -> None:
        self._settled += len(words)
        self._shown = 0, self._samples
        for _ in range(2 if self._faults.duplicate_finals else 1):
            await self._result([self._hypothesis(words, is_final=True)])

    async def _finish(self) -> None:
        self._wire.session.ended = True
        if words := self._heard(await self._wire.goodbye()):
            await self._final(words)
        if self._faults.silent:
            await self._wait_for_close()
        if "end-of-audio" in self._faults:
            await self._result([], trailer="END_OF_AUDIO")
            await self._wait_for_close()
        await self._hang_up()

    async def _wait_for_close(self) -> None:
        while True:
            await self._wire.receive()

    def _hypothesis(self, words: list[SpokenWord], *, is_final: bool) -> dict[str, Any]:
        timed = self._config.get("enableWordTimeOffsets") and "no-word-times" not in self._faults
        best = {
            "transcript": self._simulator.text(words),
            "confidence": 0,
            "words": [_word(word) for word in words] if timed else [],
        }
        return {"alternatives": [best], "isFinal": is_final, "stability": 0}

    async def _result(
        self, results: list[Any], *, event: str = "SPEECH_EVENT_UNSPECIFIED", trailer: str = ""
    ) -> None:
        body = {"error": None, "results": results, "speechEventType": event}
        if trailer:
            body |= {"resultIndex": 0, "endpointerType": trailer}
        await self._send({"result": body})

    async def _send(self, message: dict[str, Any]) -> None:
        if "omit-defaults" in self._faults:
            message = _without_defaults(message)
        line = json.dumps(message, ensure_ascii=False)
        longest = 400 if "short-lines" in self._faults else _LINE_BYTES
        if len(line.encode()) > longest:
            await self._hang_up()
        await self._wire.send(line)

    async def _hang_up(self) -> None:
        """End the connection as the proxy does, without a close frame. Raises Dropped.

        It reads on until the client has noticed: what was sent last is not to be lost to a reset.
        """
        transport = self._wire._connection.transport
        transport.write_eof()
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(_PATIENCE_S):
                await self._wait_for_close()
        self._wire.session.closed_code = 1006
        transport.abort()
        raise Dropped


def _message(message: str | bytes) -> dict[str, Any]:
    try:
        body = json.loads(message)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Invalid("Failed to decode request")
    return body


def _check_types(values: Any, types: dict[str, type], place: str) -> None:
    """Refuse values of a wrong type, as protobuf does; unknown names are passed over."""
    for name, kind in types.items():
        if not isinstance(values.get(name, kind()), kind):
            raise Invalid("Failed to decode request", f"{place}.{name}", "wrong type")


def _word(word: SpokenWord) -> dict[str, Any]:
    return {
        "startTime": _duration(word.start),
        "endTime": _duration(word.end),
        "word": word.text,
        "confidence": 0,
        "speakerTag": 0,
    }


def _duration(samples: int) -> str:
    """Return a duration as protobuf writes it: with 0, 3, 6 or 9 digits behind the point."""
    nanos = samples * 1_000_000_000 // 16_000
    seconds, rest = divmod(nanos, 1_000_000_000)
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{seconds}.{digits}s" if digits else f"{seconds}s"


def _without_defaults(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_defaults(item) for name, item in value.items()}
        default = (None, 0, "", "SPEECH_EVENT_UNSPECIFIED")
        return {name: item for name, item in kept.items() if item != [] and item not in default}
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    return value
