"""What the results of a vosk-server say (vosk-api, recognizer.cc)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.base import WordOffset
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples

UNKNOWN: Final = "[unk]"
"""What is understood where phrases are asked for and none of them was said."""


def read_result(fields: Fields, language: str | None) -> FinalResult:
    """Return a result, its times in samples of the connection. Raises MalformedError."""
    best = fields
    if "alternatives" in fields:
        best = next(iter(fields.items("alternatives")), Fields({}))
    words = tuple(word for item in best.items("result") if (word := _word(item)).text != UNKNOWN)
    sure = [word.confidence for word in words if word.confidence is not None]
    return FinalResult(
        known_words(best.text("text")),
        start=words[0].start if words else None,
        end=words[-1].end if words else None,
        words=words,
        confidence=sum(sure) / len(sure) if sure else None,
        language=language,
    )


def counted_from(begun: int, final: FinalResult) -> FinalResult:
    """Return a result with its times counted from a sample of the connection."""
    if not final.words:
        return final
    words = tuple(
        replace(word, start=max(0, word.start - begun), end=max(0, word.end - begun))
        for word in final.words
    )
    return replace(final, start=words[0].start, end=words[-1].end, words=words)


def known_words(text: str) -> str:
    """Return a text without what was not understood, one space between the words."""
    return " ".join(word for word in text.split() if word != UNKNOWN)


def _word(item: Fields) -> WordOffset:
    start, end = seconds_to_samples(item.number("start")), seconds_to_samples(item.number("end"))
    if start is None or end is None or end < start:
        raise MalformedError("a word without times")
    sure = item.number("conf")
    confidence = None if sure is None else min(1.0, max(0.0, sure))
    return WordOffset(item.text("word"), start, end, confidence)
