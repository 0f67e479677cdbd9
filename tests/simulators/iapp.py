"""iApp: sentences that grow, in three dialects, told apart by the path (and by ``options``).

Faults of its own:

``dialect-b``, ``dialect-c``  ``url`` and ``options`` point at that dialect
``first-unannounced``  the first sentence comes without NewSentence
``new-sentence``       is spelled ``New sentence``, as the prose has it
``no-confirm``         says everything after the goodbye but the confirmation, and stays
``abrupt``             says everything but the confirmation, and hangs up without a close frame
``error=TEXT``         answers the first audio with an error of that text
``milliseconds``       dialect c counts in milliseconds
``only-in-session``    dialect c tells the last segment in the result of the session alone
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples
from tests.simulators.core import Dropped, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

PATHS: Final = {"a": "/asrx", "b": "/asr", "c": "/v1/audio/stt/rt"}
_SILENCE_SAMPLES: Final = ms_to_samples(500)
_PATIENCE_S: Final = 3.0
_LANGUAGES: Final = ("th", "en", "zh")


class Simulator(WebSocketSimulator):
    """The service."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.dialect = next((name for name in "bc" if f"dialect-{name}" in self.faults), "a")
        self.path = PATHS[self.dialect]
        self.pings = 0

    def options(self, directory: Path) -> dict[str, Any]:
        return {**super().options(directory), "dialect": self.dialect}

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if parts.path not in PATHS.values():
            return 404, {}, b'{"message":"no Route matched with those values"}'
        given = request.headers.get("apikey")
        if parts.path == PATHS["c"] and given is None:
            given = query.get("apikey", [""])[0]
        if given != self.key:
            return 401, {}, b'{"message":"Invalid authentication credentials"}'
        if parts.path == PATHS["c"] and query.get("transcribe_lang", ["th"])[0] not in _LANGUAGES:
            return 400, {}, b'{"message":"transcribe_lang"}'
        return None

    async def serve(self, wire: Wire) -> None:
        self._answer_no_pings(wire)
        assert wire.request is not None
        path = urlsplit(wire.request.path).path
        kind = _Segments if path == PATHS["c"] else _Sentences
        await kind(self, wire, typed=path == PATHS["b"]).run()

    def _answer_no_pings(self, wire: Wire) -> None:
        protocol = wire._connection.protocol
        take = protocol.recv_frame

        def recv_frame(frame: Frame) -> None:
            if frame.opcode is Opcode.PING:
                self.pings += 1
            else:
                take(frame)

        protocol.recv_frame = recv_frame  # type: ignore[method-assign]


class _Dialect(ABC):
    """One session."""

    def __init__(self, simulator: Simulator, wire: Wire, *, typed: bool) -> None:
        self._simulator = simulator
        self._faults = simulator.faults
        self._wire = wire
        self._typed = typed
        self._samples = 0
        self._told = 0
        """Words that were told of, in whatever state."""

    async def run(self) -> None:
        while True:
            message = await self._wire.receive()
            if isinstance(message, bytes):
                await self._take(message)
            elif self._is_goodbye(message):
                self._wire.session.ended = True
                words = await self._wire.goodbye()
                await self._tell(words)
                await self._part(words)
                return

    @abstractmethod
    def _is_goodbye(self, message: str) -> bool:
        """Return whether a text is the goodbye."""

    @abstractmethod
    async def _tell(self, words: list[SpokenWord]) -> None:
        """Send what is new of the words heard so far."""

    @abstractmethod
    async def _part(self, words: list[SpokenWord]) -> None:
        """Confirm the end, unless a fault has it otherwise."""

    async def _take(self, pcm: bytes) -> None:
        await self._wire.audio(pcm)
        for name in self._faults.other:
            if name.startswith("error=") and not self._samples:
                await self._send({"error": name.removeprefix("error=")})
        self._samples += len(pcm) // SAMPLE_BYTES
        await self._tell(self._wire.heard.words())

    async def _end_without_confirmation(self) -> None:
        """Raises Dropped, or waits until the client has enough."""
        if "abrupt" in self._faults:
            self._wire.session.closed_code = 1006
            self._wire._connection.transport.close()
            raise Dropped
        if "no-confirm" in self._faults or self._faults.silent:
            await self._wait_for_close()

    async def _wait_for_close(self) -> None:
        while True:
            await self._wire.receive()

    async def _send(self, message: dict[str, Any]) -> None:
        await self._wire.send(json.dumps(message, ensure_ascii=False))


class _Sentences(_Dialect):
    """Dialects a and b: the sentence in hand, again and again; nothing while it is silent."""

    def _is_goodbye(self, message: str) -> bool:
        try:
            return bool(json.loads(message)["data"]["status"] == "CloseConnection")
        except (ValueError, KeyError, TypeError):
            return False

    async def _tell(self, words: list[SpokenWord]) -> None:
        for sentence in sentences_of(words):
            at = words.index(sentence[0])
            if at + len(sentence) <= self._told:
                continue
            is_new = at >= self._told and not (
                self._told == 0 and "first-unannounced" in self._faults
            )
            self._told = at + len(sentence)
            announced = "New sentence" if "new-sentence" in self._faults else "NewSentence"
            text = self._simulator.text(sentence)
            await self._say(announced if is_new else "Sentence", text)
            if self._faults.duplicate_finals:
                await self._say("Sentence", text)

    async def _part(self, words: list[SpokenWord]) -> None:
        await self._end_without_confirmation()
        await self._say("Sentence", "Confirm Close Connection")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._wait_for_close()

    async def _say(self, state: str, text: str) -> None:
        kind = {"type": "realtime"} if self._typed else {}
        await self._send({**kind, "state": state, "text": text})


class _Segments(_Dialect):
    """Dialect c: segments that become final at a pause."""

    def __init__(self, simulator: Simulator, wire: Wire, *, typed: bool) -> None:
        super().__init__(simulator, wire, typed=typed)
        self._final = 0
        """Segments that are."""

    def _is_goodbye(self, message: str) -> bool:
        try:
            return bool(json.loads(message)["action"] == "stop")
        except (ValueError, KeyError, TypeError):
            return False

    async def _tell(self, words: list[SpokenWord]) -> None:
        segments = sentences_of(words)
        for at in range(self._final, len(segments)):
            segment = segments[at]
            is_last = at == len(segments) - 1
            pause = self._samples - segment[-1].end >= _SILENCE_SAMPLES
            over = not is_last or pause or self._wire.session.ended
            if not over and len(words) == self._told:
                continue
            if over and self._wire.session.ended and "only-in-session" in self._faults:
                continue
            self._final += over
            for _ in range(2 if over and self._faults.duplicate_finals else 1):
                await self._send(
                    {"type": "SegmentResult", "is_final": over, **self._segment(at, segment)}
                )
        self._told = len(words)

    async def _part(self, words: list[SpokenWord]) -> None:
        await self._end_without_confirmation()
        segments = enumerate(sentences_of(words))
        told = [self._segment(at, segment) for at, segment in segments]
        await self._send({"type": "SessionResult", "segments": told})
        await self._wire.close(1000)
        raise Dropped

    def _segment(self, at: int, words: list[SpokenWord]) -> dict[str, Any]:
        unit = SAMPLE_RATE / 1000 if "milliseconds" in self._faults else SAMPLE_RATE
        return {
            "segment_id": at,
            "start_time": words[0].start / unit,
            "end_time": words[-1].end / unit,
            "text": self._simulator.text(words),
            "speaker_no": 0,
        }


def sentences_of(words: list[SpokenWord]) -> list[list[SpokenWord]]:
    """Return the words by sentences: half a second of silence parts two."""
    sentences: list[list[SpokenWord]] = []
    for word in words:
        if not sentences or word.start - sentences[-1][-1].end >= _SILENCE_SAMPLES:
            sentences.append([])
        sentences[-1].append(word)
    return sentences
