"""Word error rate, the usual way."""

from __future__ import annotations

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """The words of a transcript, without case and punctuation; mister is mr."""
    words = re.sub(r"[^\w' ]", " ", text.lower()).split()
    return ["mr" if word == "mister" else word for word in words]


def edits(reference: Sequence[str], heard: Sequence[str]) -> int:
    """How many words have to be replaced, left out or added: the Levenshtein distance."""
    before = list(range(len(heard) + 1))
    for row, expected in enumerate(reference, 1):
        now = [row]
        for column, word in enumerate(heard, 1):
            now.append(
                min(before[column] + 1, now[-1] + 1, before[column - 1] + (expected != word))
            )
        before = now
    return before[-1]


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """The edits of all pairs of reference and transcript, for each word of the references."""
    cut = [(words_of(reference), words_of(heard)) for reference, heard in pairs]
    return sum(edits(*pair) for pair in cut) / sum(len(reference) for reference, _ in cut)
