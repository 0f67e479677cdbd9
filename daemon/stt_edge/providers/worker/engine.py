"""What an engine in a worker is, and what it hears."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from dataclasses import replace

from stt_edge.errors import FailureKind
from stt_edge.frozen import frozen


@frozen
class HeardWord:
    """One word, in samples since the utterance began."""

    text: str
    start: int
    end: int
    confidence: float | None = None


@frozen
class Heard:
    """What an engine makes of the audio so far, or in the end; never without a word."""

    words: tuple[HeardWord, ...]
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The words, one space between."""
        return " ".join(word.text for word in self.words)


class EngineError(Exception):
    """The engine cannot be loaded."""

    def __init__(self, kind: FailureKind, message: str, remedy: str = "") -> None:
        """Keep the kind, the message and what to do about it."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy


class Engine(typing.Protocol):
    """Recognises one utterance at a time. Audio is 16 kHz mono s16le, whole samples.

    What goes wrong in the middle may raise whatever it likes: the worker ends by it, with the
    traceback in the log, and a new one is started.
    """

    model: str
    """What the model is called."""

    def begin(self) -> None:
        """Start an utterance; one in hand is forgotten."""

    def feed(self, pcm: bytes) -> None:
        """Take the audio that follows."""

    def partial(self) -> Heard | None:
        """Return what has been understood so far, if anything."""

    def finish(self) -> Heard | None:
        """End the utterance; return what was said, if anything."""


def joint_confidence(words: Sequence[HeardWord]) -> float | None:
    """Return the geometric mean of the words' confidences; None where one of them has none."""
    known = [word.confidence for word in words if word.confidence is not None]
    if not known or len(known) < len(words):
        return None
    logs = [math.log(max(value, 1e-6)) for value in known]
    return math.exp(sum(logs) / len(logs))


def in_order(words: Sequence[HeardWord]) -> list[HeardWord]:
    """Return the words with no start before that of the word before, and no end before its start.

    Engines round, and estimate each word's time by itself.
    """
    ordered: list[HeardWord] = []
    for word in words:
        start = max(word.start, ordered[-1].start if ordered else 0)
        ordered.append(replace(word, start=start, end=max(word.end, start)))
    return ordered
