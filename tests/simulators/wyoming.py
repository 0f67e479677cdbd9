"""A Wyoming server that transcribes: strict about the order of events and the lengths they name.

It ends a connection that breaks the rules, as servers do. A refusal (``http_status``) is a hang-up
before anything is said. Faults of its own: ``streaming`` (the transcript in pieces first),
``stop-first`` (and transcript-stop before the transcript), ``no-transcript`` (pieces and
transcript-stop only), ``early`` (a transcript of the first two words before the audio has ended),
``inline`` (data within the line), ``unknown`` (events and fields nobody knows), ``ping`` (asks
whether the client is there), ``error`` (in place of the transcript), ``stay`` (does not hang up).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.simulators.core import HUGE_BYTES, Dropped, Session, accepted
from tests.simulators.core import Simulator as Base
from tests.simulators.speech import Recogniser

FORMAT: Final = {"rate": 16_000, "width": 2, "channels": 1}


class RuleBroken(Exception):  # noqa: N818  the other side's error, not ours
    """The client did what the protocol does not allow."""


class Simulator(Base):
    """The service; it knows no keys."""

    scheme = "tcp"
    path = ""
    socket_file: Path | None = None
    """Where to listen in place of a port."""

    @property
    def url(self) -> str:
        return f"unix://{self.socket_file}" if self.socket_file is not None else super().url

    def options(self, directory: Path) -> dict[str, Any]:
        return {"url": self.url}

    async def start(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        if self.socket_file is not None:
            self._server = await asyncio.start_unix_server(self._accept, self.socket_file)
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await accepted()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handle(Exchange(self, reader, writer))
        except asyncio.CancelledError:
            pass  # the server is stopped
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def _handle(self, exchange: Exchange) -> None:
        if self.faults.connect_s:
            await asyncio.sleep(self.faults.connect_s)
        if self.faults.http_status is not None:
            self.refusals += 1
            return
        self.sessions.append(exchange.session)
        with contextlib.suppress(Dropped, RuleBroken, ValueError, OSError, EOFError):
            await exchange.run()
            exchange.session.closed_code = 1000
        if exchange.session.closed_code is None:
            exchange.session.closed_code = 1006


class Exchange:
    """One connection."""

    def __init__(
        self, simulator: Simulator, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.faults = simulator.faults
        self.drop_s = simulator.next_drop_s() if self.faults.http_status is None else None
        self.reader = reader
        self.writer = writer
        self.session = Session()
        self.heard: Recogniser = simulator.recogniser()
        self.request: dict[str, Any] | None = None
        self.started = False

    async def run(self) -> None:
        while (line := await self.reader.readline()).endswith(b"\n"):
            kind, data, payload = await self.event(line)
            if kind != "audio-chunk":
                self.session.texts.append(json.dumps({"type": kind, **data}))
            if await self.handle(kind, data, payload):
                return

    async def event(self, line: bytes) -> tuple[str, dict[str, Any], bytes]:
        head = json.loads(line)
        data: dict[str, Any] = head.get("data", {})
        if head.get("data_length"):
            data |= json.loads(await self.reader.readexactly(head["data_length"]))
        payload = b""
        if head.get("payload_length"):
            payload = await self.reader.readexactly(head["payload_length"])
        return head["type"], data, payload

    async def handle(self, kind: str, data: dict[str, Any], payload: bytes) -> bool:
        """Answer an event; return whether the connection is over."""
        match kind:
            case "describe":
                await self.send("info", info())
            case "ping":
                await self.send("pong", data)
            case "transcribe":
                self.expect(self.request is None)
                self.request = data
            case "audio-start":
                self.expect(self.request is not None and FORMAT.items() <= data.items())
                self.started = True
            case "audio-chunk":
                self.expect(self.started and FORMAT.items() <= data.items())
                self.expect(len(payload) > 0 and len(payload) % 2 == 0)
                await self.audio(payload)
            case "audio-stop":
                self.expect(self.started)
                await self.transcribe()
                return "stay" not in self.faults
        return False

    async def audio(self, pcm: bytes) -> None:
        first = not self.session.chunks
        self.session.heard(pcm)
        self.heard.feed(pcm)
        seconds = len(self.session.audio) / 32_000
        if self.drop_s is not None and seconds >= self.drop_s:
            self.drop()
        if first:
            await self.first_answer()
        stop_s = self.faults.stop_reading_s
        if stop_s is not None and seconds >= stop_s:
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        if "early" in self.faults and "early" not in self.session.texts:
            words = self.heard.words()
            if len(words) >= 2:
                self.session.texts.append("early")
                await self.send("transcript", {"text": self.text(words[:2])})

    async def first_answer(self) -> None:
        if self.faults.close_code is not None:
            self.drop()
        if "ping" in self.faults:
            await self.send("ping", {"text": "there?"})
        if "unknown" in self.faults:
            await self.send("voice-started", {"timestamp": 0, "mood": ["?"]}, b"\0\1\n{")
        if self.faults.garbage:
            await self.write(b'{"type": [\n')
        if self.faults.huge:
            await self.write(b'{"type": "transcript", "text": "' + b"x" * HUGE_BYTES)
        if self.faults.invalid_utf8:
            await self.write(b'{"type": "transcript", "data": {"text": "\xff\xfe"}}\n')

    async def transcribe(self) -> None:
        self.session.ended = True
        self.session.cut()
        if self.faults.drop_at_goodbye:
            self.drop()
        if self.faults.never_confirm:
            await asyncio.Event().wait()
        if self.faults.late_final_s:
            await asyncio.sleep(self.faults.late_final_s)
        if "error" in self.faults:
            await self.send("error", {"text": "out of memory", "code": "oom"})
            return
        words = self.heard.finish()
        text = self.text(words[2:] if "early" in self.faults else words)
        if self.faults.other & {"streaming", "stop-first", "no-transcript"}:
            await self.pieces(text)
        if "no-transcript" in self.faults:
            return
        assert self.request is not None
        language = self.request.get("language")
        for _ in range(2 if self.faults.duplicate_finals else 1):
            await self.send("transcript", {"text": text, "language": language, "context": None})
        if "streaming" in self.faults:
            await self.send("transcript-stop")

    async def pieces(self, text: str) -> None:
        await self.send("transcript-start", {"language": None})
        for at in range(0, len(text), 5):
            await self.send("transcript-chunk", {"text": text[at : at + 5]})
        if "streaming" not in self.faults:
            await self.send("transcript-stop")

    async def send(
        self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b""
    ) -> None:
        if self.faults.silent:
            return
        head: dict[str, Any] = {"type": kind, "version": "1.10.2"}
        body = b""
        if "unknown" in self.faults:
            head["priority"] = "high"
        if data and "inline" in self.faults:
            head["data"] = data
        elif data:
            body = json.dumps(data, ensure_ascii=False).encode()
            head["data_length"] = len(body)
        if payload:
            head["payload_length"] = len(payload)
        await self.write(json.dumps(head, ensure_ascii=False).encode() + b"\n" + body + payload)

    async def write(self, data: bytes) -> None:
        if not self.faults.slow:
            self.writer.write(data)
            await self.writer.drain()
            return
        for byte in data:
            self.writer.write(bytes([byte]))
            await asyncio.sleep(1)

    def text(self, words: Sequence[Any]) -> str:
        return " ".join(word.text for word in words)

    def expect(self, kept: bool) -> None:
        if not kept:
            raise RuleBroken

    def drop(self) -> None:
        self.writer.transport.abort()
        raise Dropped


def info() -> dict[str, Any]:
    """Return what ``describe`` is answered with."""
    maker = {"attribution": {"name": "nobody", "url": ""}, "installed": True, "version": "1"}
    model = {"name": "base", "description": "a model", "languages": ["en", "is", "th"], **maker}
    program = {
        "name": "simulator",
        "description": "a simulator",
        "models": [model],
        "supports_transcript_streaming": True,
        **maker,
    }
    return {"asr": [program], "tts": [], "handle": [], "intent": [], "wake": [], "mic": []}
