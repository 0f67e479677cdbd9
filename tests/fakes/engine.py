"""An engine for workers under test: understands one word for every 100 ms, ``w0 w1 w2 …``."""

from __future__ import annotations

from typing import Any

from stt_edge.errors import FailureKind
from stt_edge.providers.worker.engine import EngineError, Heard, HeardWord

WORD_SAMPLES = 1600


class CountingEngine:
    """Implements ``stt_edge.providers.worker.engine.Engine``."""

    def __init__(self, settings: dict[str, Any]) -> None:
        if "refuse" in settings:
            raise EngineError(FailureKind.SETUP, settings["refuse"], "Do something.")
        if "print" in settings:
            print(settings["print"], flush=True)
        self.model = "counting"
        self._samples = 0

    def begin(self) -> None:
        self._samples = 0

    def feed(self, pcm: bytes) -> None:
        self._samples += len(pcm) // 2

    def partial(self) -> Heard | None:
        words = tuple(
            HeardWord(f"w{at}", at * WORD_SAMPLES, (at + 1) * WORD_SAMPLES)
            for at in range(self._samples // WORD_SAMPLES)
        )
        return Heard(words) if words else None

    def finish(self) -> Heard | None:
        return self.partial()
