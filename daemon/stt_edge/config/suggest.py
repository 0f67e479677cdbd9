"""Finds what somebody meant who wrote something else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_LONGEST_NAME: Final = 64
_LONGEST_SHOWN: Final = 40


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like ``name``, or None when none is like it."""
    if len(name) > _LONGEST_NAME:
        return None
    import difflib

    by_folded = {_folded(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(_folded(name), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?``, or the list of what there is when nothing is like it."""
    names = list(known)
    if best := closest(name, names):
        return f"; did you mean {best}?"
    if not names:
        return ""
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def shown(text: str) -> str:
    """Return a text from the file in quotes, cut when long, with nothing a terminal obeys."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
