"""Records as captions: SubRip (SRT) and WebVTT.

Where word times are known a cue is at most 7 s and 84 characters, which is two lines of a screen;
a pause between words begins a new one. Without word times a record is one cue.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE, Record, Word, samples_to_ms

LONGEST_CUE_S: Final = 7.0
CUE_CHARACTERS: Final = 84
LINE_CHARACTERS: Final = 42

_PAUSE_S: Final = 1.5
_SENTENCE_ENDS: Final = (".", "!", "?", "…", "。", "！", "？")
_BESIDE_ENDS: Final = "\"'”’»)]"


@frozen
class Cue:
    """One caption; times are milliseconds since the start of the recording."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@frozen
class _Piece:
    """A word as it stands in the text, with what follows it, and its samples."""

    text: str
    start: int
    end: int


def cues_of(records: Iterable[Record]) -> list[Cue]:
    """Return the cues of the records of one recording, in order; none overlaps the next."""
    found = (
        _cue(pieces)
        for record in sorted(records, key=lambda record: record.start_sample)
        for pieces in _cut(_pieces(record))
    )
    shown: list[Cue] = []
    for cue in found:
        if cue.lines:
            _show(shown, cue)
    return shown


def srt(cues: Sequence[Cue]) -> str:
    """Return the text of a SubRip file."""
    blocks = (
        f"{number}\n{_span(cue, ',')}\n{_srt_text(cue.lines)}\n"
        for number, cue in enumerate(cues, 1)
    )
    return "\n".join(blocks)


def vtt(cues: Sequence[Cue]) -> str:
    """Return the text of a WebVTT file (W3C WebVTT 1, section 4)."""
    blocks = (f"\n{_span(cue, '.')}\n{_vtt_text(cue.lines)}\n" for cue in cues)
    return "WEBVTT\n" + "".join(blocks)


def _show(shown: list[Cue], cue: Cue) -> None:
    """Add a cue; where it overlaps the one before, that one goes, or this one waits."""
    if shown and cue.start_ms < shown[-1].end_ms:
        before = shown[-1]
        start_ms = max(cue.start_ms, before.start_ms + 1)
        shown[-1] = replace(before, end_ms=start_ms)
        cue = replace(cue, start_ms=start_ms, end_ms=max(cue.end_ms, start_ms + 1))
    shown.append(cue)


def _span(cue: Cue, point: str) -> str:
    return f"{_clock(cue.start_ms, point)} --> {_clock(cue.end_ms, point)}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _srt_text(lines: Iterable[str]) -> str:
    return "\n".join(line.replace("-->", "→") for line in lines)  # SRT knows no escapes


def _vtt_text(lines: Iterable[str]) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    return "\n".join("".join(escapes.get(char, char) for char in line) for line in lines)


def _pieces(record: Record) -> list[_Piece]:
    """Return the words of a record with their times; all of it as one where they are unknown."""
    text = _plain(record.text)
    words = [word for word in record.words if _plain(word.text)]
    if not words:
        return [_Piece(text, record.start_sample, record.end_sample)]
    texts = _as_written(text, words) or [f"{_plain(word.text)} " for word in words]
    return [
        _Piece(text, word.start, max(word.end, word.start))
        for text, word in zip(texts, words, strict=True)
    ]


def _as_written(text: str, words: Sequence[Word]) -> list[str] | None:
    """Return the stretch of the text that belongs to each word; None where they do not agree.

    The text has the punctuation, and says whether the language puts spaces between words.
    """
    searched = text.lower()
    if len(searched) != len(text):  # a letter whose small form is two letters
        searched = text
    starts: list[int] = []
    at = 0
    for word in words:
        wanted = _plain(word.text)
        found = max(searched.find(wanted.lower(), at), text.find(wanted, at))
        if found < 0 or any(char.isalnum() for char in text[at:found]):
            return None
        starts.append(found)
        at = found + len(wanted)
    if any(char.isalnum() for char in text[at:]):
        return None
    starts[0] = 0
    starts = _with_opening_marks(text, starts)
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _with_opening_marks(text: str, starts: list[int]) -> list[int]:
    """Move each start before what opens there: a quotation mark belongs to the word behind it."""
    moved = []
    for start in starts:
        while start > 0 and unicodedata.category(text[start - 1]) in ("Ps", "Pi"):
            start -= 1  # noqa: PLW2901  it is what the loop is for
        moved.append(start)
    return moved


def _cut(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Cut the words of a record into cues."""
    cue: list[_Piece] = []
    for piece in pieces:
        if cue and _begins_anew(cue, piece):
            yield cue
            cue = []
        cue.append(piece)
    yield cue


def _begins_anew(cue: list[_Piece], piece: _Piece) -> bool:
    before = "".join(each.text for each in cue)
    return (
        piece.end - cue[0].start > LONGEST_CUE_S * SAMPLE_RATE
        or piece.start - cue[-1].end > _PAUSE_S * SAMPLE_RATE
        or len((before + piece.text).rstrip()) > CUE_CHARACTERS
        or len(_wrapped([*cue, piece])) > max(2, len(_wrapped(cue)))
        or (
            len(before) > LINE_CHARACTERS
            and before.rstrip().rstrip(_BESIDE_ENDS).endswith(_SENTENCE_ENDS)
        )
    )


def _cue(pieces: list[_Piece]) -> Cue:
    start_ms = samples_to_ms(pieces[0].start)
    end_ms = samples_to_ms(max(piece.end for piece in pieces))
    return Cue(start_ms, max(end_ms, start_ms + 1), _wrapped(pieces))


def _wrapped(pieces: list[_Piece]) -> tuple[str, ...]:
    """Return the text in lines, broken between words only."""
    parts = [piece.text for piece in pieces]
    if len(parts) == 1:
        parts = [f"{part} " for part in parts[0].split(" ")]
    lines = [""]
    for part in parts:
        if lines[-1] and len((lines[-1] + part).rstrip()) > LINE_CHARACTERS:
            lines.append("")
        lines[-1] += part
    return tuple(line.strip() for line in lines if line.strip())


def _plain(text: str) -> str:
    """Return a text on one line, without control characters; an empty line would end a cue."""
    shown = (" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return " ".join("".join(shown).split())
