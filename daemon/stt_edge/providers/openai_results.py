"""Reading answers of transcription over HTTP: plain, and with times (verbose_json)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from stt_edge.providers import base
from stt_edge.providers.base import WordOffset
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples
from stt_edge.providers.openai_api import detected_language


def read_result(reply: Fields) -> base.Final:
    """Return the result in an answer of json or verbose_json."""
    if "text" not in reply:
        raise MalformedError("text is missing")
    segments = reply.items("segments")
    words = _words(reply.items("words")) or _pieces(segments)
    start, end = _span(words, segments)
    return base.Final(
        reply.text("text").strip(),
        start,
        end,
        words,
        confidence=_confidence(segments),
        language=detected_language(reply),
    )


def _words(items: Iterable[Fields]) -> tuple[WordOffset, ...]:
    found = []
    for item in items:
        start, end = _times(item)
        if start is None or end is None:
            return ()
        found.append(WordOffset(item.text("word").strip(), start, end))
    return tuple(found)


def _pieces(segments: Iterable[Fields]) -> tuple[WordOffset, ...]:
    """Return the words in segments: pieces at whisper.cpp, of which the first has a space."""
    pieces = [item for segment in segments for item in segment.items("words")]
    words: list[list[WordOffset]] = []
    for piece, timed in zip(pieces, _words(pieces), strict=False):
        if not words or piece.text("word").startswith(" "):
            words.append([])
        words[-1].append(timed)
    return tuple(map(_joined, words))


def _joined(pieces: Sequence[WordOffset]) -> WordOffset:
    text = "".join(piece.text for piece in pieces)
    return WordOffset(text, pieces[0].start, max(piece.end for piece in pieces))


def _span(words: Sequence[WordOffset], segments: Sequence[Fields]) -> tuple[int | None, int | None]:
    if words:
        return words[0].start, max(word.end for word in words)
    if segments:
        return _times(segments[0])[0], _times(segments[-1])[1]
    return None, None


def _times(item: Fields) -> tuple[int | None, int | None]:
    start, end = (seconds_to_samples(item.number(name)) for name in ("start", "end"))
    return start, end if start is None or end is None else max(start, end)


def _confidence(segments: Iterable[Fields]) -> float | None:
    """Return the mean of what the segments' tokens were given on average."""
    logs = [log for item in segments if (log := item.number("avg_logprob")) is not None]
    return sum(math.exp(min(log, 0.0)) for log in logs) / len(logs) if logs else None
