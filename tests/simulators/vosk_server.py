"""vosk-server: one message for each that it gets, the configuration apart, and no errors at all.

Whatever goes wrong is a crash of the handler, which closes with 1011. Faults of its own:
``endpoint=N`` (a result after so many words; 6), ``8k`` (ignores the configured rate and keeps
its default), ``bad-model`` (cannot load a configured model), ``crash`` (at the first audio).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.simulators.core import Dropped, WebSocketSimulator, Wire
from tests.simulators.speech import SpokenWord

ENDPOINT_WORDS: Final = 6
DEFAULT_RATE: Final = 8000.0
UNKNOWN: Final = "[unk]"


class Simulator(WebSocketSimulator):
    """The service; it knows no keys."""

    def options(self, directory: Path) -> dict[str, Any]:
        return {"url": self.url}

    async def serve(self, wire: Wire) -> None:
        await Recognition(self, wire).run()


class Recognition:
    """One connection: the loop of asr_server.py."""

    def __init__(self, simulator: Simulator, wire: Wire) -> None:
        self.wire = wire
        self.faults = simulator.faults
        self.rate = DEFAULT_RATE
        self.show_words = False
        self.alternatives = 0
        self.phrase_list: list[str] = []
        self.told = 0
        """Words that results have told."""

    @property
    def endpoint(self) -> int:
        for fault in self.faults.other:
            name, _, value = fault.partition("=")
            if name == "endpoint":
                return int(value)
        return ENDPOINT_WORDS

    async def run(self) -> None:
        stop = False
        while not stop:
            message = await self.wire.receive()
            if isinstance(message, str) and "config" in message:
                await self.configure(message)
                continue
            if isinstance(message, bytes):
                await self.audio(message)
            elif message in ('{"reset" : 1}', '{"eof" : 1}'):
                stop = message == '{"eof" : 1}'
                await self.end(stop=stop)
            else:
                await self.crash("a text handed to AcceptWaveform")

    async def configure(self, message: str) -> None:
        try:
            config = json.loads(message)["config"]
            if "8k" not in self.faults:
                self.rate = float(config.get("sample_rate", self.rate))
            self.phrase_list = list(config.get("phrase_list", self.phrase_list))
            self.show_words = bool(config.get("words", self.show_words))
            self.alternatives = int(config.get("max_alternatives", self.alternatives))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            await self.crash(str(error))
        if "model" in config and "bad-model" in self.faults:
            await self.crash("Failed to create a model")

    async def audio(self, pcm: bytes) -> None:
        await self.wire.audio(pcm)
        if "crash" in self.faults:
            await self.crash("Failed to process waveform")
        words = self.wire.heard.words()[self.told :]
        if len(words) >= self.endpoint:
            await self.result(words)
        else:
            await self.wire.send(json.dumps({"partial": self.text(words)}, indent=2))

    async def end(self, *, stop: bool) -> None:
        words = list(await self.wire.goodbye())[self.told :]
        self.wire.session.ended = stop
        await self.result(words)

    async def result(self, words: Sequence[SpokenWord]) -> None:
        self.told += len(words)
        items = [self.item(word) for word in words]
        body: dict[str, Any] = {"result": items} if items and self.show_words else {}
        body["text"] = self.text(words)
        if self.alternatives:
            for item in items:
                del item["conf"]
            likely = {"confidence": 230.1, **body}
            body = {"alternatives": [likely, {"confidence": 200.7, "text": "something else"}]}
        for _ in range(2 if self.faults.duplicate_finals else 1):
            await self.wire.send(json.dumps(body, indent=2, ensure_ascii=False))

    def item(self, word: SpokenWord) -> dict[str, Any]:
        return {
            "conf": word.confidence,
            "end": word.end / self.rate,
            "start": word.start / self.rate,
            "word": self.known(word.text),
        }

    def text(self, words: Sequence[SpokenWord]) -> str:
        return " ".join(self.known(word.text) for word in words)

    def known(self, word: str) -> str:
        """Return a word as the recogniser understands it, at its rate and with its phrases."""
        listed = {part for phrase in self.phrase_list for part in phrase.split()}
        return word if self.rate == 16_000 and (not listed or word in listed) else UNKNOWN

    async def crash(self, _why: str) -> None:
        await self.wire.close(1011)
        raise Dropped
