"""Deepgram live transcription, v1/listen.

Faults of its own: ``unmarked-finalize`` (the answer to Finalize lacks from_finalize),
``silent-finalize`` (Finalize is not answered when nothing is left), ``no-metadata`` (closes after
CloseStream without it), ``error`` (an Error message at the first audio), ``close=CODE`` with the
reason the documentation gives, at the first audio, ``idle=MILLISECONDS`` in place of 10 s.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from websockets.http11 import Request

from tests.simulators.core import Dropped, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

IDLE_S: Final = 10.0
SEGMENT_WORDS: Final = 5
"""A result is settled after so many words, whether there is a pause or not."""
LEAST_PAUSE_MS: Final = 400
"""A word under way is not told from a pause before that."""
REASONS: Final = {
    1008: "DATA-0000: The payload cannot be decoded as audio.",
    1011: "NET-0000: Deepgram has not transmitted a text frame within the timeout window.",
}
MODELS: Final = ("nova-3", "nova-3-medical", "nova-2", "enhanced", "base")
ENCODINGS: Final = ("linear16", "linear32", "flac", "alaw", "mulaw", "opus")
BOOLEANS: Final = frozenset(
    [
        "multichannel",
        "interim_results",
        "vad_events",
        "punctuate",
        "smart_format",
        "numerals",
        "profanity_filter",
        "diarize",
        "dictation",
        "detect_entities",
        "mip_opt_out",
    ]
)
NUMBERS: Final = frozenset(("sample_rate", "channels", "utterance_end_ms"))
REPEATABLE: Final = frozenset(
    ("keyterm", "keywords", "redact", "replace", "search", "tag", "extra")
)
TEXTS: Final = frozenset(
    ("language", "endpointing", "version", "callback", "callback_method", "diarize_model")
)

Query = dict[str, list[str]]


def complaint(query: Query) -> str | None:
    """Return what is wrong with the parameters, if anything."""
    for name, values in query.items():
        if len(values) > 1 and name not in REPEATABLE:
            return f"{name} is given twice"
        if not all(acceptable(name, value) for value in values):
            return f"invalid query parameter: {name}"
    if query.get("encoding", [""])[0] not in ENCODINGS or "sample_rate" not in query:
        return "raw audio needs encoding and sample_rate"
    model = query.get("model", ["base"])[0]
    if not model.startswith(MODELS):
        return "No such model/language/tier combination found."
    if "keyterm" in query and not model.startswith("nova-3"):
        return "keyterm is supported by nova-3 only"
    if "utterance_end_ms" in query and query.get("interim_results") != ["true"]:
        return "utterance_end_ms needs interim_results"
    return None


def acceptable(name: str, value: str) -> bool:
    if name in BOOLEANS:
        return value in ("true", "false")
    if name in NUMBERS:
        return value.isdigit() and int(value) > 0
    if name == "endpointing":
        return value == "false" or value.isdigit()
    return name in REPEATABLE | TEXTS | {"model", "encoding"} and bool(value)


class Simulator(WebSocketSimulator):
    """The service."""

    path = "/v1/listen"

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        parts = urlsplit(request.path)
        if parts.path != self.path:
            return refusal(404, "NOT_FOUND", "no such path")
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer") or key != self.key:
            return refusal(401, "INVALID_AUTH", "Invalid credentials.")
        wrong = complaint(query_of(request))
        return None if wrong is None else refusal(400, "Bad Request", wrong)

    def welcome_headers(self) -> dict[str, str]:
        return {"dg-request-id": str(uuid.uuid4())}

    async def serve(self, wire: Wire) -> None:
        await Listening(self, wire).run()


def query_of(request: Request) -> Query:
    query: Query = {}
    for name, value in parse_qsl(urlsplit(request.path).query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    return query


def refusal(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    request_id = str(uuid.uuid4())
    body = {"err_code": code, "err_msg": message, "request_id": request_id}
    headers = {"dg-error": message, "dg-request-id": request_id}
    return status, headers, json.dumps(body).encode()


class Listening:
    """One connection."""

    def __init__(self, simulator: Simulator, wire: Wire) -> None:
        assert wire.request is not None
        self.wire = wire
        self.faults = simulator.faults
        self.text = simulator.text
        self.query = query_of(wire.request)
        self.id = str(uuid.uuid4())
        self.told = 0
        """Words in settled results."""
        self.shown = 0
        self.settled = 0
        """Samples in settled results."""
        self.deadline = time.monotonic() + self.idle_s

    @property
    def idle_s(self) -> float:
        given = self.value("idle")
        return IDLE_S if given is None else given / 1000

    @property
    def samples(self) -> int:
        return len(self.wire.session.audio) // 2

    def value(self, name: str) -> int | None:
        """Return the value of a fault of its own."""
        for fault in self.faults.other:
            found, _, value = fault.partition("=")
            if found == name and value:
                return int(value)
        return None

    async def run(self) -> None:
        while not self.wire.session.ended:
            try:
                async with asyncio.timeout(self.deadline - time.monotonic()):
                    message = await self.wire.receive()
            except TimeoutError:
                said = "NET-0001: Deepgram did not receive audio data or a text message"
                await self.wire.close(1011, f"{said} within the timeout window.")
                return
            if isinstance(message, bytes):
                await self.audio(message)
            else:
                await self.control(message)

    async def audio(self, pcm: bytes) -> None:
        if not pcm:
            await self.wire.close(1000)
            raise Dropped
        self.deadline = time.monotonic() + self.idle_s
        await self.wire.audio(pcm)
        code = self.value("close")
        if code is not None:
            await self.wire.close(code, REASONS[code])
            raise Dropped
        if "error" in self.faults:
            await self.error("Internal error while processing audio")
        await self.listen()

    async def listen(self) -> None:
        words = self.wire.heard.words()[self.told :]
        if not words:
            return
        pause = self.samples - words[-1].end
        endpointing = self.query.get("endpointing", ["10"])[0]
        paused = endpointing != "false" and pause >= max(int(endpointing), LEAST_PAUSE_MS) * 16
        if paused or len(words) >= SEGMENT_WORDS:
            await self.settle(words, words[-1].end, speech_final=paused)
        elif len(words) > self.shown:
            self.shown = len(words)
            if self.query.get("interim_results") == ["true"]:
                await self.results(words, self.samples)

    async def control(self, message: str) -> None:
        try:
            body = json.loads(message)
        except ValueError:
            await self.error("Could not deserialize last text message")
            return
        if self.samples:  # before the first audio a KeepAlive does not help
            self.deadline = time.monotonic() + self.idle_s
        match body.get("type") if isinstance(body, dict) else None:
            case "Finalize":
                await self.rest(finalize=True)
            case "CloseStream":
                await self.rest(finalize=False)
                await self.farewell()
            case "KeepAlive" | "Configure":
                pass
            case unknown:
                await self.error(f"unknown message type {unknown}")

    async def rest(self, *, finalize: bool) -> None:
        words = list(await self.wire.goodbye())[self.told :]
        nothing = not words and self.settled >= self.samples
        if (not words and not finalize) or (nothing and "silent-finalize" in self.faults):
            return
        marked = finalize and "unmarked-finalize" not in self.faults
        await self.settle(words, self.samples, speech_final=True, from_finalize=marked)

    async def farewell(self) -> None:
        self.wire.session.ended = True
        if "no-metadata" in self.faults:
            return
        await self.send(
            type="Metadata",
            transaction_key="deprecated",
            request_id=self.id,
            sha256=hashlib.sha256(self.wire.session.pcm).hexdigest(),
            created="2024-08-29T22:37:55.202Z",
            duration=self.wire.audio_s,
            channels=1,
        )

    async def settle(
        self,
        words: Sequence[SpokenWord],
        end: int,
        *,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        flags = {"is_final": True, "speech_final": speech_final, "from_finalize": from_finalize}
        for _ in range(2 if self.faults.duplicate_finals else 1):
            await self.results(words, end, **flags)
        self.told += len(words)
        self.settled = end
        self.shown = 0

    async def results(self, words: Sequence[SpokenWord], end: int, **flags: bool) -> None:
        alternative = {
            "transcript": self.text(words),
            "confidence": 0.9 if words else 0.0,
            "words": [
                {
                    "word": word.text,
                    "start": word.start / 16_000,
                    "end": word.end / 16_000,
                    "confidence": word.confidence,
                    "punctuated_word": word.text,
                }
                for word in words
            ],
        }
        await self.send(
            type="Results",
            channel_index=[0, 1],
            start=self.settled / 16_000,
            duration=(end - self.settled) / 16_000,
            **{"is_final": False, "speech_final": False, "from_finalize": False, **flags},
            channel={"alternatives": [alternative]},
            metadata={
                "request_id": self.id,
                "model_info": {"name": "general-nova-3", "version": "1", "arch": "nova-3"},
                "model_uuid": self.id,
            },
        )

    async def error(self, message: str) -> None:
        await self.send(
            type="Error",
            variant="UnparsableClientMessage",
            description=message,
            message=message,
            code="UNPARSABLE_CLIENT_MESSAGE",
        )

    async def send(self, **fields: Any) -> None:
        await self.wire.send(json.dumps(fields, ensure_ascii=False))
