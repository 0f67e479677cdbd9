"""Amazon Transcribe streaming over WebSocket, as AWS documents it.

Faults of its own, in ``Faults.other``: ``exception=NAME`` answers the first audio with that
exception, ``error=NAME`` with a message of type error, ``refusal=NAME`` refuses the handshake,
``auth_in_stream`` reports a refusal after the upgrade, ``bad_checksum`` spoils every message sent.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from websockets.http11 import Request

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from tests.simulators.aws_wire import (
    ACCESS_KEY,
    REGION,
    Authority,
    Refused,
    check_parameters,
    decode_message,
    encode_message,
)
from tests.simulators.core import Faults, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

_PREFIX: Final = "x-amzn-transcribe-"
_SEGMENT_WORDS: Final = 5
_EMPTY_EVERY: Final = 4
_NO_FAULTS: Final = Faults()
STATUS: Final = {
    "BadRequestException": 400,
    "SerializationException": 400,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "SignatureDoesNotMatch": 403,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "MissingAuthenticationToken": 403,
    "LimitExceededException": 429,
    "ThrottlingException": 429,
    "ConflictException": 409,
    "InternalFailureException": 500,
    "ServiceUnavailableException": 503,
}


@dataclass(slots=True)
class Stream:
    """What a request asked for, and the last signature its envelopes build upon."""

    parameters: Mapping[str, str]
    authority: Authority
    prior: bytes


class Simulator(WebSocketSimulator):
    """The service: recomputes every signature and checks every frame."""

    path = "/stream-transcription-websocket"

    def __init__(
        self,
        faults: Faults = _NO_FAULTS,
        *,
        token: str | None = None,
        time_scale: float = 1.0,
        ahead_s: float = 0.0,
        punctuate: bool = False,
        **common: Any,
    ) -> None:
        """Wait 15 s times ``time_scale`` for audio; have a clock that is ``ahead_s`` of ours.

        ``token`` is the session token that credentials must have; ``punctuate`` ends every final
        with a full stop.
        """
        super().__init__(faults, **common)
        self.token = token
        self.idle_s = 15 * time_scale
        self.ahead_s = ahead_s
        self.punctuate = punctuate
        self.parameters: list[dict[str, str]] = []
        """What each connection asked for."""

    def options(self, directory: Path) -> dict[str, Any]:
        """Return the options a provider needs to reach it; writes the file of credentials."""
        file = directory / "key"
        lines = [
            "[default]",
            f"aws_access_key_id = {ACCESS_KEY}",
            f"aws_secret_access_key = {self.key}",
            *([] if self.token is None else [f"aws_session_token = {self.token}"]),
        ]
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o600)
        return {"url": self.url, "region": REGION, "credentials_file": str(file)}

    def authority(self) -> Authority:
        """Return what checks signatures at this moment."""
        now = datetime.now(UTC) + timedelta(seconds=self.ahead_s)
        return Authority(self.key, now, self.token)

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        """Refuse a wrong path and a wrong signature, as an HTTP answer."""
        if request.path.partition("?")[0] != self.path:
            return 404, {"x-amzn-errortype": "UnknownOperationException"}, b"{}"
        try:
            self._switched("refusal")
            if "auth_in_stream" not in self.faults:
                self.stream(request)
        except Refused as refused:
            return answer(refused)
        return None

    def stream(self, request: Any) -> Stream:
        """Return what a request asks for. Raises Refused for a signature that is wrong."""
        path, _, query = request.path.partition("?")
        authority = self.authority()
        if path == self.path:
            given, signature = authority.check_query(query, request.headers["Host"], path)
            return Stream(given, authority, signature)
        signature = authority.check_headers(request.headers, path)
        given = {
            name.removeprefix(_PREFIX): value
            for name, value in request.headers.items()
            if name.startswith(_PREFIX)
        }
        return Stream(given, authority, signature)

    async def serve(self, wire: Wire) -> None:
        """Transcribe one stream; whatever is wrong with it is told in it, before the end."""
        try:
            await self._transcribe(wire)
        except Refused as refused:
            kind = ":exception-type"
            await wire.send(self._exception(kind, refused.name, refused.message))
            await wire.close()

    async def _transcribe(self, wire: Wire) -> None:
        stream = self.stream(wire.request)
        self.parameters.append(dict(stream.parameters))
        check_parameters(stream.parameters)
        transcript = Transcript(stream.parameters, self.text, punctuate=self.punctuate)
        chunks = 0
        while pcm := self._audio_in(await self._next(wire), stream):
            await wire.audio(pcm)
            chunks += 1
            await self._fail_on_purpose(wire)
            results = transcript.so_far(wire.heard.words())
            if results or chunks % _EMPTY_EVERY == 1:
                await self._tell(wire, results)
        wire.session.ended = True
        await self._tell(wire, transcript.rest(await wire.goodbye()))
        await wire.close()

    async def _next(self, wire: Wire) -> bytes:
        waits = self.faults.stop_reading_s is None and not self.faults.silent
        try:
            async with asyncio.timeout(self.idle_s if waits else None):
                message = await wire.receive()
        except TimeoutError:
            raise Refused(
                "BadRequestException",
                "Your request timed out because no new audio was received for 15 seconds.",
            ) from None
        if isinstance(message, str):
            raise Refused("SerializationException", "text frames are not understood")
        return message

    def _audio_in(self, message: bytes, stream: Stream) -> bytes:
        """Return the audio of a message, out of its envelope; empty is the end."""
        headers, payload = decode_message(message)
        if ":chunk-signature" in headers:
            payload = _opened(headers, payload, stream)
            if not payload:
                return b""
            headers, payload = decode_message(payload)
        if headers.get(":message-type") != "event" or headers.get(":event-type") != "AudioEvent":
            raise Refused("SerializationException", "an AudioEvent was expected")
        rate = int(stream.parameters["sample-rate"])
        if len(payload) > rate * SAMPLE_BYTES:
            raise Refused("BadRequestException", "An audio event holds more than 1 s of audio.")
        if len(payload) % SAMPLE_BYTES:
            raise Refused("BadRequestException", "An audio event holds half a sample.")
        return payload

    async def _fail_on_purpose(self, wire: Wire) -> None:
        self._switched("exception")
        for fault in self.faults.other:
            if fault.startswith("error="):
                name = fault.partition("=")[2]
                await wire.send(self._exception(":error-code", name, "simulated"))
                await wire.close()

    def _switched(self, kind: str) -> None:
        for fault in self.faults.other:
            switch, _, name = fault.partition("=")
            if switch == kind:
                raise Refused(name, "simulated", STATUS.get(name, 400))

    async def _tell(self, wire: Wire, results: list[dict[str, Any]]) -> None:
        body = {"Transcript": {"Results": results}}
        event = [
            (":message-type", "event"),
            (":event-type", "TranscriptEvent"),
            (":content-type", "application/json"),
        ]
        message = self._encoded(event, json.dumps(body, ensure_ascii=False).encode())
        finals = any(not result["IsPartial"] for result in results)
        for _ in range(2 if finals and self.faults.duplicate_finals else 1):
            await wire.send(message)

    def _exception(self, kind: str, name: str, message: str) -> bytes:
        if kind == ":error-code":
            error = [(":message-type", "error"), (kind, name), (":error-message", message)]
            return self._encoded(error, b"")
        headers = [
            (":message-type", "exception"),
            (kind, name),
            (":content-type", "application/json"),
        ]
        return self._encoded(headers, json.dumps({"Message": message}).encode())

    def _encoded(self, headers: list[tuple[str, str]], payload: bytes) -> bytes:
        message = encode_message(headers, payload)
        if "bad_checksum" in self.faults:
            return message[:-1] + bytes((message[-1] ^ 1,))
        return message


class Transcript:
    """Words become segments of five; each is told again and again until it is final."""

    def __init__(self, parameters: Mapping[str, str], join: Any, *, punctuate: bool) -> None:
        self._join = join
        self._punctuate = punctuate
        self._stable = "partial-results-stability" in parameters
        options = parameters.get("language-options", "")
        self._language = options.partition(",")[0] or None
        self._done = 0
        self._shown = 0
        self._id = str(uuid.uuid4())

    def so_far(self, words: list[SpokenWord]) -> list[dict[str, Any]]:
        """Return what is new: segments that are complete, or a longer beginning of the next."""
        results = []
        while len(words) - self._done > _SEGMENT_WORDS:
            results.append(self._final(words[self._done : self._done + _SEGMENT_WORDS]))
        if len(words) > max(self._done, self._shown):
            self._shown = len(words)
            results.append(self._result(words[self._done :], partial=True))
        return results

    def rest(self, words: list[SpokenWord]) -> list[dict[str, Any]]:
        """Return the last segment."""
        return [self._final(words[self._done :])] if len(words) > self._done else []

    def _final(self, words: list[SpokenWord]) -> dict[str, Any]:
        result = self._result(words, partial=False)
        self._done += len(words)
        self._id = str(uuid.uuid4())
        return result

    def _result(self, words: list[SpokenWord], *, partial: bool) -> dict[str, Any]:
        text, items = self._join(words), list(self._items(words, partial=partial))
        if self._punctuate and not partial:
            text += "."
            items.append(_item(".", "punctuation", words[-1].end, words[-1].end) | _sure(0.0))
        result = {
            "Alternatives": [{"Items": items, "Transcript": text}],
            "EndTime": _seconds(words[-1].end),
            "IsPartial": partial,
            "ResultId": self._id,
            "StartTime": _seconds(words[0].start),
        }
        if self._language is not None:
            score = {"LanguageCode": self._language, "Score": 0.97}
            result |= {"LanguageCode": self._language, "LanguageIdentification": [score]}
        return result

    def _items(self, words: list[SpokenWord], *, partial: bool) -> Iterable[dict[str, Any]]:
        for word in words:
            item = _item(word.text, "pronunciation", word.start, word.end)
            if self._stable:
                item["Stable"] = not partial or word is not words[-1]
            yield item if partial else item | _sure(word.confidence)


def answer(refused: Refused) -> tuple[int, dict[str, str], bytes]:
    """Return a refusal as status, headers and body of HTTP."""
    headers = {
        "x-amzn-errortype": f"{refused.name}:http://internal.amazon.com/coral/",
        "content-type": "application/x-amz-json-1.1",
    }
    return refused.status, headers, json.dumps({"Message": refused.message}).encode()


def _opened(headers: Mapping[str, Any], payload: bytes, stream: Stream) -> bytes:
    """Return what is in a signed envelope; each signature covers the one before."""
    expected = stream.authority.sign_chunk(stream.prior, headers[":date"], payload)
    if headers[":chunk-signature"] != expected:
        raise Refused("InvalidSignatureException", "The chunk signature does not match.", 403)
    stream.prior = expected
    return payload


def _item(content: str, kind: str, start: int, end: int) -> dict[str, Any]:
    return {
        "Content": content,
        "EndTime": _seconds(end),
        "StartTime": _seconds(start),
        "Type": kind,
        "VocabularyFilterMatch": False,
    }


def _sure(confidence: float) -> dict[str, float]:
    return {"Confidence": confidence}


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
