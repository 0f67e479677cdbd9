"""Pronunciation dictionaries in the form of CMUdict: a word and its phones, one a line.

``word(2)`` is another way to say ``word``. A dictionary has more than a hundred thousand lines and
is never kept: it is read through, for the few words somebody asks about.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stt_edge.frozen import frozen

_COMMENTS: Final = ("#", ";;")
_MAX_FILE_BYTES: Final = 1 << 20
_MAX_LINE: Final = 300


class LexiconError(Exception):
    """A file of words that cannot be used; the message names the line."""


@frozen
class Pronunciation:
    """One way to say a word."""

    word: str
    """In lower case, with the mark of an alternative: ``a(2)``."""
    phones: str


def read_words(path: Path) -> tuple[Pronunciation, ...]:
    """Read a small file of words whole. Raises LexiconError, OSError."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise LexiconError(f"more than {_MAX_FILE_BYTES >> 20} MB; this is for a few words only")
    found: list[Pronunciation] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise LexiconError(f"line {number}: this is no UTF-8 text") from error
        if not text or text.startswith(_COMMENTS):
            continue
        word, *phones = text.split()
        if not phones or len(text) > _MAX_LINE:
            raise LexiconError(f"line {number}: expected a word and its phones")
        found.append(Pronunciation(word.lower(), " ".join(phones)))
    return tuple(found)


def look_up(
    path: Path, words: Iterable[str], more: Iterable[Pronunciation] = ()
) -> dict[str, list[Pronunciation]]:
    """Return how each word that is in the dictionary, or in ``more``, is said.

    The keys are spelled as in ``words``; case does not matter. Raises OSError.
    """
    wanted: dict[str, list[Pronunciation]] = {word.lower(): [] for word in words}
    for known in more:
        if (ways := wanted.get(plain(known.word))) is not None:
            ways.append(known)
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            entry, _, phones = line.partition(" ")
            if (ways := wanted.get(plain(entry.lower()))) is not None:
                ways.append(Pronunciation(entry.lower(), phones.strip()))
    return {word: ways for word in words if (ways := wanted[word.lower()])}


def plain(entry: str) -> str:
    """Return a word without the mark of an alternative pronunciation."""
    head, mark, tail = entry.rpartition("(")
    return head if mark and head and tail[:-1].isdecimal() and tail.endswith(")") else entry
