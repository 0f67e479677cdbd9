"""AssemblyAI realtime, v2: what gateways that still speak it expect and send.

Faults of its own: ``unpaced``, ``401``, ``open-turn`` (terminate_session leaves a partial),
``no-termination``, ``error=CODE`` (that error at the first audio), ``open-error=CODE``.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.simulators import assemblyai
from tests.simulators.assemblyai import Refused, is_list_of_texts
from tests.simulators.core import Dropped, Wire
from tests.simulators.speech import SpokenWord

ERRORS: Final = {
    1011: "Internal server error",
    1013: "Temporary server condition forced blocking client's request",
    4000: "Sample rate must be a positive integer",
    4001: "Not Authorized",
    4002: "Insufficient Funds",
    4003: "This feature is paid-only and requires you to add a credit card.",
    4004: "Session Not Found",
    4008: "Session Expired",
    4010: "Session Previously Closed",
    4029: "Client sent audio too fast",
    4030: "Session is handled by another websocket",
    4031: "Session idle for too long",
    4032: "Audio duration is too short",
    4033: "Audio duration is too long",
    4034: "Audio too small to transcode",
    4100: "Endpoint received invalid JSON",
    4101: "Endpoint received a message with an invalid schema",
    4102: "This account has exceeded the number of allowed streams",
    4103: "The session has been reconnected. This websocket is no longer valid.",
    4104: "Could not parse word boost parameter",
}
KNOWN: Final = {
    "sample_rate",
    "word_boost",
    "encoding",
    "token",
    "disable_partial_transcripts",
    "enable_extra_session_information",
}
LONGEST_S: Final = 2.0


def refused(code: int) -> Refused:
    return Refused(code, ERRORS[code])


class Simulator(assemblyai.Simulator):
    """The service; errors have no code but that of the close."""

    path = "/v2/realtime/ws"

    def options(self, directory: Path) -> dict[str, Any]:
        return {**super().options(directory), "dialect": "v2"}

    async def serve(self, wire: Wire) -> None:
        try:
            await Realtime(self, wire).run()
        except Refused as error:
            await wire.send(json.dumps({"error": error.said}))
            await wire.close(error.code, error.said)


class Realtime:
    """One session."""

    def __init__(self, simulator: Simulator, wire: Wire) -> None:
        assert wire.request is not None
        self.simulator = simulator
        self.wire = wire
        self.faults = simulator.faults
        self.query = parse_qs(urlsplit(wire.request.path).query, keep_blank_values=True)
        self.told = 0
        self.shown = 0
        self.silence_ms = 700.0
        self.began = time.monotonic()

    async def run(self) -> None:
        self.check()
        await self.send(
            message_type="SessionBegins",
            session_id=str(uuid.uuid4()),
            expires_at="2023-11-04T16:51:38.316048",
        )
        self.began = time.monotonic()
        while not self.wire.session.ended:
            message = await self.wire.receive()
            if isinstance(message, bytes):
                await self.audio(message)
            else:
                await self.control(message)

    def check(self) -> None:
        code = self.simulator.fault("open-error")
        if code is not None:
            raise refused(code)
        assert self.wire.request is not None
        if not self.simulator.admits(self.wire.request):
            raise refused(4001)
        if not self.query.get("sample_rate", [""])[0].isdigit():
            raise refused(4000)
        if set(self.query) - KNOWN:
            raise refused(4101)
        if not is_list_of_texts(self.query.get("word_boost", ["[]"])[0]):
            raise refused(4104)

    async def control(self, message: str) -> None:
        try:
            body = json.loads(message)
        except ValueError:
            raise refused(4100) from None
        match body:
            case {"audio_data": str(audio), **rest} if not rest:
                try:
                    await self.audio(base64.b64decode(audio, validate=True))
                except binascii.Error:
                    raise refused(4101) from None
            case {"force_end_utterance": True}:
                await self.rest()
            case {"end_utterance_silence_threshold": int(ms)} if 0 <= ms <= 20_000:
                self.silence_ms = ms
            case {"terminate_session": True}:
                await self.rest()
                await self.terminate()
            case _:
                raise refused(4101)

    async def audio(self, pcm: bytes) -> None:
        duration_s = len(pcm) / 2 / int(self.query["sample_rate"][0])
        if len(pcm) % 2 or duration_s < 0.1:
            raise refused(4032)
        if duration_s > LONGEST_S:
            raise refused(4033)
        await self.wire.audio(pcm)
        elapsed_s = time.monotonic() - self.began
        if "unpaced" not in self.faults and self.wire.audio_s > elapsed_s + LONGEST_S:
            raise refused(4029)
        code = self.simulator.fault("error")
        if code is not None:
            raise refused(code)
        await self.listen()

    async def listen(self) -> None:
        words = self.wire.heard.words()[self.told :]
        if not words:
            return
        if len(self.wire.session.audio) // 2 - words[-1].end >= self.silence_ms * 16:
            await self.final(words)
        elif len(words) > self.shown:
            self.shown = len(words)
            if self.query.get("disable_partial_transcripts") != ["true"]:
                await self.result("PartialTranscript", words)

    async def rest(self) -> None:
        words = list(await self.wire.goodbye())[self.told :]
        if words and "open-turn" in self.faults:
            await self.result("PartialTranscript", words)
        elif words:
            await self.final(words)

    async def final(self, words: Sequence[SpokenWord]) -> None:
        extra = {"punctuated": True, "text_formatted": True}
        for _ in range(2 if self.faults.duplicate_finals else 1):
            await self.result("FinalTranscript", words, **extra)
        self.told += len(words)
        self.shown = 0

    async def terminate(self) -> None:
        self.wire.session.ended = True
        if "no-termination" in self.faults:
            await self.wire.close()
            raise Dropped
        if self.query.get("enable_extra_session_information") == ["true"]:
            await self.send(
                message_type="SessionInformation", audio_duration_seconds=self.wire.audio_s
            )
        await self.send(message_type="SessionTerminated")

    async def result(self, kind: str, words: Sequence[SpokenWord], **extra: Any) -> None:
        await self.send(
            message_type=kind,
            audio_start=words[0].start // 16,
            audio_end=words[-1].end // 16,
            confidence=0.9,
            text=self.simulator.text(words),
            words=[
                {
                    "start": word.start // 16,
                    "end": word.end // 16,
                    "confidence": word.confidence,
                    "text": word.text,
                }
                for word in words
            ],
            created="2023-11-04T16:51:40.316048",
            **extra,
        )

    async def send(self, **fields: Any) -> None:
        await self.wire.send(json.dumps(fields, ensure_ascii=False))
