"""One connection of Deepgram's live transcription, without I/O.

A window of audio is settled by a result with ``is_final``; an utterance has as many of these as it
takes (Deepgram docs, "Endpointing and Interim Results"), and each becomes a final of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final as Constant

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from stt_edge.providers.base import (
    Event,
    Failed,
    Farewell,
    Final,
    Finalized,
    Partial,
    WordOffset,
)
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.failures import close_failure, excerpt
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples

_ROUNDING: Constant = ms_to_samples(20)
_CLEAN: Constant = (1000, 1005)
"""Close codes of a good end: normal closure, and a close without any code (RFC 6455, 7.4.1)."""

# Deepgram docs, "Troubleshooting WebSocket, NET, and DATA Errors"; the text carries the code.
_CODES: Constant = (
    ("DATA-0000", FailureKind.REQUEST),
    ("NET-0000", FailureKind.SERVER),
    ("NET-0001", FailureKind.LOST),
)


class ListenProtocol(JsonConversation):
    """One connection; times are counted from its first sample."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        super().__init__()
        self._sent = 0
        self._begun = 0
        self._asked = False
        """A ``Finalize`` has not been answered."""
        self._unsettled = False
        """The last result was an interim one with words in it."""
        self._parted = False

    def begin(self) -> None:
        """Start an utterance."""
        self._begun = self._sent
        self._asked = self._unsettled = False

    def send_audio(self, pcm: bytes) -> None:
        """Queue audio; an empty message would end the session."""
        if pcm:
            self._sent += len(pcm) // SAMPLE_BYTES
            self._say(pcm)

    def finalize(self) -> None:
        """Ask for what is not settled; control messages are text, as binary they were audio."""
        self._asked = True
        self._control("Finalize")

    def goodbye(self) -> None:
        """Ask for the rest and the end: results, then ``Metadata``."""
        self._parted = True
        self._control("CloseStream")

    def keep_alive(self) -> None:
        """Keep the connection; before the first audio it would be of no use (KeepAlive docs)."""
        if self._sent:
            self._control("KeepAlive")

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` for a good end after the goodbye; else what went wrong."""
        if self._parted and code in _CLEAN and not self._unsettled:
            return (Farewell(),)
        return (Failed(_failure(code, reason)),)

    def _control(self, kind: str) -> None:
        self._say(json.dumps({"type": kind}))

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        match fields.text("type"):
            case "Results":
                return self._results(fields)
            case "Metadata" if self._parted:
                return (Farewell(),)
            case "Error":
                parts = (
                    fields.text(name) for name in ("code", "variant", "message", "description")
                )
                return (Failed(_failure(None, " ".join(part for part in parts if part))),)
        return ()

    def _results(self, fields: Fields) -> Iterable[Event]:
        final = fields.flag("is_final")
        result = self._result(fields)
        if result is not None:
            self._unsettled = bool(result.text) and not final
            if final and result.text:
                yield result
            else:
                yield Partial(result.text, result.end, result.words)
        if self._asked and (fields.flag("from_finalize") or (final and self._reached(result))):
            self._asked = False
            yield Finalized()

    def _result(self, fields: Fields) -> Final | None:
        """Return a result as a final, or None when it is about an earlier utterance."""
        first, duration = fields.number("start"), fields.number("duration")
        start = self._offset(first)
        end = None if first is None or duration is None else self._offset(first + duration)
        if end is not None and end <= 0 < self._begun:
            return None
        heard = (fields.section("channel").items("alternatives") or [Fields({})])[0]
        all_words = self._words(heard)
        words = tuple(word for word in all_words if word.start + word.end >= 0)
        whole = len(words) == len(all_words)
        languages = heard.texts("languages")
        return Final(
            heard.text("transcript") if whole else " ".join(word.text for word in words),
            start=None if start is None else max(0, start),
            end=end,
            words=tuple(map(_after_begin, words)),
            confidence=heard.number("confidence"),
            language=languages[0] if len(languages) == 1 else None,
            item_id=self._item_id(fields),
        )

    def _words(self, heard: Fields) -> list[WordOffset]:
        found = []
        for word in heard.items("words"):
            start, end = self._offset(word.number("start")), self._offset(word.number("end"))
            if start is None or end is None:
                raise MalformedError("a word without times")
            text = word.text("punctuated_word") or word.text("word")
            found.append(WordOffset(text, start, max(start, end), word.number("confidence")))
        return found

    def _offset(self, seconds: float | None) -> int | None:
        """Return a time of the connection in samples since ``begin``; before it is negative."""
        sample = seconds_to_samples(seconds)
        return None if sample is None else min(sample, self._sent) - self._begun

    def _reached(self, result: Final | None) -> bool:
        """Return whether a result settles all that was sent; it may be all that comes."""
        if result is None or result.end is None:
            return False
        return result.end >= self._sent - self._begun - _ROUNDING

    def _item_id(self, fields: Fields) -> str | None:
        request, start = fields.section("metadata").text("request_id"), fields.number("start")
        return f"{request}:{start}" if request and start is not None else None


def _after_begin(word: WordOffset) -> WordOffset:
    return WordOffset(word.text, max(0, word.start), word.end, word.confidence)


def _failure(code: int | None, said: str) -> ProviderError:
    for name, kind in _CODES:
        if name in said:
            return ProviderError(kind, f"Deepgram ended the session: {excerpt(said)}.", code=name)
    if code is not None:
        return close_failure(code, said)
    return ProviderError(FailureKind.SERVER, f"Deepgram reports an error: {excerpt(said)}.")
