"""What is said to a worker and what it says, without I/O: the wire protocol of local engines.

``worker/main.py`` lists the messages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import (
    Event,
    Failed,
    Farewell,
    Finalized,
    HttpReply,
    Incoming,
    Outgoing,
    Partial,
    Ready,
    WordOffset,
)
from stt_edge.providers.base import Final as FinalResult

_MAX_MESSAGE: Final = 1 << 20
_MAX_WORDS: Final = 20_000
_MAX_SAMPLES: Final = 1 << 48
_KINDS_IT_MAY_NAME: Final = frozenset((FailureKind.SETUP, FailureKind.SERVER))


class WorkerProtocol:
    """One use of a worker. See ``base.Protocol``."""

    def __init__(self, *, language: str | None = None) -> None:
        """Label results with a language; the worker tells the model."""
        self._language = language
        self._model: str | None = None
        self._queue: list[Outgoing] = []
        self._in_hand = False
        """An utterance whose end has not been confirmed."""
        self._parting = False

    def open(self) -> None:
        """Nothing: the worker says that it is ready as soon as it is."""

    def begin(self) -> None:
        """Start an utterance."""
        self._in_hand = True
        self._tell("begin")

    def resume(self, token: str) -> None:
        """Never asked: a worker forgets what it was given."""
        raise TypeError(token)

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le."""
        self._queue.append(pcm)

    def finalize(self) -> None:
        """Ask for the result of the utterance in hand."""
        self._tell("finish")

    def goodbye(self) -> None:
        """Ask for the result of an utterance in hand, if any, and for the end of the use."""
        self._parting = True
        self._tell("goodbye")

    def keep_alive(self) -> None:
        """Nothing: a worker waits."""

    def feed(self, message: Incoming) -> Sequence[Event]:
        """Return what a message of the worker means."""
        try:
            event = self._read(_body(message))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            failure = ProviderError(
                FailureKind.PROTOCOL, f"the worker says what it should not: {_short(error)}"
            )
            return (Failed(failure),)
        return () if event is None else (event,)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a goodbye that left nothing open; else what was lost.

        A worker that ends by itself before it is ready cannot be loaded, now or the next time.
        """
        if self._parting and not self._in_hand:
            return (Farewell(),)
        unusable = self._model is None and code is not None and code > 0
        kind = FailureKind.SETUP if unusable else FailureKind.LOST
        message = reason or "the worker gave the utterance up"
        return (Failed(ProviderError(kind, message, code=_text(code))),)

    def to_send(self) -> Sequence[Outgoing]:
        """Return and forget the queued messages, in order."""
        queue, self._queue = self._queue, []
        return queue

    def _tell(self, verb: str) -> None:
        self._queue.append(json.dumps({"do": verb}))

    def _read(self, body: dict[str, Any]) -> Event | None:
        match body["type"]:
            case "ready":
                self._model = _string(body["model"])
                return Ready()
            case "heard":
                return None
            case "partial":
                words = _words(body["words"])
                return Partial(_joined(words), _samples(body["end"]), words)
            case "final":
                return self._final(_words(body["words"]), _share(body["confidence"]))
            case "finished":
                self._in_hand = False
                return Finalized()
            case "error":
                return Failed(_error(body))
            case _:
                raise ValueError("an unknown type")

    def _final(self, words: tuple[WordOffset, ...], confidence: float | None) -> FinalResult:
        if not words:
            raise ValueError("a final without words")
        return FinalResult(
            _joined(words),
            start=words[0].start,
            end=words[-1].end,
            words=words,
            confidence=confidence,
            language=self._language,
            model=self._model,
        )


def _body(message: Incoming) -> dict[str, Any]:
    assert not isinstance(message, HttpReply)
    if len(message) > _MAX_MESSAGE:
        raise ValueError(f"a message of {len(message)} characters")
    body = json.loads(message)
    if not isinstance(body, dict):
        raise TypeError("a message that is no object")
    return body


def _words(values: Any) -> tuple[WordOffset, ...]:
    if not isinstance(values, list) or len(values) > _MAX_WORDS:
        raise ValueError("words that are none")
    words: list[WordOffset] = []
    for text, start, end, confidence in values:
        word = WordOffset(_string(text), _samples(start), _samples(end), _share(confidence))
        if not word.text or word.end < word.start or (words and word.start < words[-1].start):
            raise ValueError("words out of order")
        words.append(word)
    return tuple(words)


def _joined(words: tuple[WordOffset, ...]) -> str:
    return " ".join(word.text for word in words)


def _error(body: dict[str, Any]) -> ProviderError:
    kind = FailureKind(_string(body["kind"]))
    if kind not in _KINDS_IT_MAY_NAME:
        raise ValueError("an error that a worker cannot have")
    return ProviderError(kind, _string(body["message"]), remedy=_string(body["remedy"]))


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def _samples(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_SAMPLES:
        raise ValueError("a number of samples that is none")
    return value


def _share(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError("a confidence that is none")
    return float(value)


def _text(code: int | None) -> str | None:
    return None if code is None else str(code)


def _short(error: Exception) -> str:
    """Name what is wrong, never the text itself: it may have been said by somebody."""
    if isinstance(error, json.JSONDecodeError):
        return "no JSON"
    if isinstance(error, KeyError):
        return "a field is missing"
    return str(error)[:100]
