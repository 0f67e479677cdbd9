"""AssemblyAI Universal Streaming, v3.

Faults of its own: ``unpaced`` (audio may come faster than it was spoken), ``401`` (a bad key is
refused at the handshake, not by 1008), ``formats`` (formatted turns look formatted),
``plain-only`` (turns are never formatted), ``no-termination`` (closes after Terminate without it),
``open-turn`` (Terminate does not end the turn under way), ``untyped-error`` (errors of the old
kind), ``error=CODE`` (that error at the first audio), ``open-error=CODE`` (in place of Begin).
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request

from tests.simulators.core import Dropped, Faults, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

MODELS: Final = (
    "universal-streaming-english",
    "universal-streaming-multilingual",
    "u3-rt-pro",
    "whisper-rt",
    "universal-3-5-pro",
    "universal-3-6",
    "universal-3-6-pro",
)
ERRORS: Final = {
    1008: "Unauthorized connection: Missing Authorization header",
    1011: "Internal server error",
    1012: "Service restart",
    1013: "Temporary server condition forced blocking client's request",
    3005: "Server error",
    3006: "Invalid Message",
    3007: "Audio chunk duration violation",
    3008: "Session Expired: Maximum session duration exceeded",
    3009: "Too many concurrent sessions",
    4001: "Not Authorized",
    4002: "Insufficient Funds",
    4003: "This feature is paid-only and requires you to add a credit card.",
}
BOOLEANS: Final = frozenset(
    [
        "format_turns",
        "language_detection",
        "speaker_labels",
        "filter_profanity",
        "redact_pii",
        "continuous_partials",
        "include_partial_turns",
        "session_heartbeat",
        "acknowledge_silence",
    ]
)
NUMBERS: Final = {
    "sample_rate": (8000, 48_000),
    "min_turn_silence": (0, 60_000),
    "min_end_of_turn_silence_when_confident": (0, 60_000),
    "max_turn_silence": (0, 60_000),
    "end_of_turn_confidence_threshold": (0, 1),
    "vad_threshold": (0, 1),
    "inactivity_timeout": (5, 3600),
    "max_speakers": (1, 100),
    "interruption_delay": (0, 60_000),
}
LISTS: Final = frozenset(("keyterms_prompt", "language_codes"))
TEXTS: Final = {
    "encoding": ("pcm_s16le", "pcm_mulaw"),
    "speech_model": MODELS,
    "language": ("en", "multi"),
    "mode": ("max_accuracy", "min_latency", "balanced"),
    "prompt": None,
    "token": None,
}
LONGEST_S: Final = 1.0


class Refused(Exception):  # noqa: N818  it ends a session and is no error of ours
    """The session ends with an error of the service."""

    def __init__(self, code: int, said: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.said = ERRORS[code] if said is None else said


def bad_parameter(name: str, value: str) -> bool:
    """Return whether a parameter of the query is none the service knows, or has a bad value."""
    if name in BOOLEANS:
        return value.lower() not in ("true", "false")
    if name in NUMBERS:
        least, most = NUMBERS[name]
        try:
            return not least <= float(value) <= most
        except ValueError:
            return True
    if name in LISTS:
        return not is_list_of_texts(value)
    allowed = TEXTS.get(name, ())
    return allowed is not None and value not in allowed


def is_list_of_texts(value: str) -> bool:
    try:
        found = json.loads(value)
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


class Simulator(WebSocketSimulator):
    """The service."""

    path = "/v3/ws"

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        if urlsplit(request.path).path != self.path:
            return 404, {}, b'{"detail":"Not Found"}'
        if "401" in self.faults and not self.admits(request):
            return 401, {}, b'{"error":"Unauthorized"}'
        return None

    def admits(self, request: Request) -> bool:
        """Return whether the key is there: raw in a header, or as a token in the query."""
        token = parse_qs(urlsplit(request.path).query).get("token", [None])[0]
        return self.key in (request.headers.get("Authorization"), token)

    async def serve(self, wire: Wire) -> None:
        try:
            await Streaming(self, wire).run()
        except Refused as refused:
            error: dict[str, Any] = {"error": refused.said}
            if "untyped-error" not in self.faults:
                error |= {"type": "Error", "error_code": refused.code}
            await wire.send(json.dumps(error))
            await wire.close(refused.code, refused.said)

    def fault(self, name: str) -> int | None:
        """Return the value of a fault of its own, such as the code in ``error=3008``."""
        for fault in self.faults.other:
            found, _, value = fault.partition("=")
            if found == name:
                return int(value)
        return None


class Streaming:
    """One session."""

    def __init__(self, simulator: Simulator, wire: Wire) -> None:
        assert wire.request is not None
        self.simulator = simulator
        self.wire = wire
        self.faults: Faults = simulator.faults
        self.query = parse_qs(urlsplit(wire.request.path).query, keep_blank_values=True)
        self.id = str(uuid.uuid4())
        self.turn = 0
        self.told = 0
        """Words of earlier turns."""
        self.shown = 0
        self.began = time.monotonic()

    async def run(self) -> None:
        self.check()
        expires = int(time.time()) + 3 * 3600
        await self.send(type="Begin", id=self.id, expires_at=expires)
        self.began = time.monotonic()
        try:
            while not self.wire.session.ended:
                async with asyncio.timeout(self.patience_s):
                    message = await self.wire.receive()
                if isinstance(message, bytes):
                    await self.audio(message)
                else:
                    await self.control(message)
        except TimeoutError:
            await self.terminate()

    @property
    def patience_s(self) -> float | None:
        given = self.query.get("inactivity_timeout")
        return float(given[0]) if given else None

    def check(self) -> None:
        code = self.simulator.fault("open-error")
        if code is not None:
            raise Refused(code)
        assert self.wire.request is not None
        if not self.simulator.admits(self.wire.request):
            raise Refused(1008)
        for name, values in self.query.items():
            if len(values) > 1 or bad_parameter(name, values[0]):
                raise Refused(3006, f"Invalid parameter: {name}")
        if "sample_rate" not in self.query:
            raise Refused(3006, "Missing parameter: sample_rate")

    async def audio(self, pcm: bytes) -> None:
        duration_s = len(pcm) / 2 / int(self.query["sample_rate"][0])
        if len(pcm) % 2 or not 0.05 <= duration_s <= LONGEST_S:
            said = f"Input Duration Violation: {duration_s * 1000:.0f} ms. "
            raise Refused(3007, said + "Expected between 50 and 1000 ms")
        await self.wire.audio(pcm)
        elapsed_s = time.monotonic() - self.began
        if "unpaced" not in self.faults and self.wire.audio_s > elapsed_s + LONGEST_S:
            raise Refused(3007, "Audio Transmission Rate Exceeded: faster than real time")
        code = self.simulator.fault("error")
        if code is not None:
            raise Refused(code)
        await self.listen()

    async def listen(self) -> None:
        words = self.wire.heard.words()[self.told :]
        pause_ms = float(self.query.get("min_turn_silence", ["400"])[0])
        if not words:
            return
        heard = len(self.wire.session.audio) // 2
        if heard - words[-1].end >= pause_ms * 16:
            await self.end_turn(words)
        elif len(words) > self.shown:
            self.shown = len(words)
            await self.send_turn(words)

    async def control(self, message: str) -> None:
        try:
            body = json.loads(message)
        except ValueError:
            raise Refused(3006, "Invalid JSON") from None
        match body.get("type") if isinstance(body, dict) else None:
            case "ForceEndpoint":
                await self.rest()
            case "Terminate":
                await self.rest()
                await self.terminate()
            case "KeepAlive" | "UpdateConfiguration":
                pass
            case unknown:
                raise Refused(3006, f"Invalid Message Type: {unknown}")

    async def rest(self) -> None:
        words = list(await self.wire.goodbye())[self.told :]
        if not words:
            return
        if "open-turn" in self.faults:
            await self.send_turn(words)
        else:
            await self.end_turn(words)

    async def terminate(self) -> None:
        self.wire.session.ended = True
        if "no-termination" in self.faults:
            await self.wire.close()
            raise Dropped
        await self.send(
            type="Termination",
            audio_duration_seconds=round(self.wire.audio_s),
            session_duration_seconds=round(time.monotonic() - self.began),
        )

    async def end_turn(self, words: Sequence[SpokenWord]) -> None:
        universal = self.query.get("speech_model", MODELS)[0].startswith("universal-streaming")
        asked = self.query.get("format_turns", ["false"])[0].lower() == "true"
        if universal:
            await self.send_end(words, formatted=False)
        if (asked or not universal) and "plain-only" not in self.faults:
            await self.send_end(words, formatted=True)
        self.told += len(words)
        self.turn += 1
        self.shown = 0

    async def send_end(self, words: Sequence[SpokenWord], *, formatted: bool) -> None:
        for _ in range(2 if self.faults.duplicate_finals else 1):
            await self.send_turn(words, ended=True, formatted=formatted)

    async def send_turn(
        self, words: Sequence[SpokenWord], *, ended: bool = False, formatted: bool = False
    ) -> None:
        settled = words if ended else words[:-1]
        text = self.simulator.text(settled)
        if formatted and "formats" in self.faults:
            text = f"{text[:1].upper()}{text[1:]}."
        await self.send(
            type="Turn",
            turn_order=self.turn,
            turn_is_formatted=formatted,
            end_of_turn=ended,
            transcript=text,
            end_of_turn_confidence=0.9 if ended else 0.01,
            words=[
                {
                    "start": word.start // 16,
                    "end": word.end // 16,
                    "text": word.text,
                    "confidence": word.confidence,
                    "word_is_final": ended or word is not words[-1],
                }
                for word in words
            ],
            utterance=text if ended else "",
        )

    async def send(self, **fields: Any) -> None:
        await self.wire.send(json.dumps(fields, ensure_ascii=False))
