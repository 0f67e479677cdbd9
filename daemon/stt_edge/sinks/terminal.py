"""How records and live text look on a terminal. Nothing here writes; everything returns text."""

from __future__ import annotations

import unicodedata
from typing import Final

from stt_edge.model import Record

CLEAR_LINE: Final = "\r\x1b[K"
_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[22m"
_ELLIPSIS: Final = "…"


def record_line(record: Record, *, colour: bool) -> str:
    """Return ``16:20:31  the text  (pocketsphinx 0.93)``, in local time, without a line break."""
    remarks = [record.provider]
    if record.confidence is not None:
        remarks[0] += f" {record.confidence:.2f}"
    if record.lost_ms:
        remarks.append(f"{record.lost_ms / 1000:.1f} s lost")
    remarks += [word for word in ("delayed", "truncated", "continues") if getattr(record, word)]
    clock = f"{record.start.astimezone():%H:%M:%S}"
    tail = f"({printable(', '.join(remarks))})"
    if colour:
        clock, tail = f"{_DIM}{clock}{_PLAIN}", f"{_DIM}{tail}{_PLAIN}"
    return f"{clock}  {printable(record.text)}  {tail}"


def live_line(text: str, columns: int, *, colour: bool) -> str:
    """Return the end of ``text`` that fits in one line of a terminal ``columns`` cells wide.

    The last column stays free, because some terminals move to the next line when it is filled.
    """
    shown = last_cells(printable(text), columns - 1)
    return f"{_DIM}{shown}{_PLAIN}" if colour else shown


def last_cells(text: str, cells: int) -> str:
    """Return ``text``, or an ellipsis and as much of its end as fits in ``cells`` cells."""
    if width(text) <= cells:
        return text
    room = cells - width(_ELLIPSIS)
    if room < 0:
        return ""
    at = len(text)
    while at > 0 and (taken := _cells(text[at - 1])) <= room:
        room -= taken
        at -= 1
    while at < len(text) and _cells(text[at]) == 0:
        at += 1  # a mark whose letter was cut off
    return _ELLIPSIS + text[at:]


def width(text: str) -> int:
    """Return how many cells ``text`` takes; wide characters take two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def printable(text: str) -> str:
    """Return ``text`` on one line, with characters that steer a terminal made visible."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return (
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _STEERING else character
    )


_STEERING: Final = ("Cc", "Cs")
