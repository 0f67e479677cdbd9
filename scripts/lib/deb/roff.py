"""Writes manual pages (man(7)): text in, lines of roff out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_MARKED: Final = re.compile(r"\*\*(.+?)\*\*|_([^_\s]+)_(?!\w)")


def escape(text: str) -> str:
    """Return the text so that roff prints it as it is, hyphens as what can be copied."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", escaped)


def marked(text: str) -> str:
    """Return the text with ``**bold**`` and ``_italic_`` as roff has them."""
    escaped = escape(text)
    return _MARKED.sub(lambda m: rf"\fB{m[1]}\fR" if m[1] else rf"\fI{m[2]}\fR", escaped)


def title(name: str, section: int, date: str, version: str) -> list[str]:
    """Return the head of a page."""
    return [f'.TH {escape(name).upper()} {section} "{date}" "{escape(version)}"', ".nh", ".ad l"]


def heading(text: str) -> list[str]:
    """Return a section's heading."""
    return [f".SH {escape(text).upper()}"]


def subheading(text: str) -> list[str]:
    """Return a subsection's heading."""
    return [f'.SS "{escape(text)}"']


def paragraphs(text: str) -> list[str]:
    """Return paragraphs (an empty line between them); indented lines stay as they are."""
    lines: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        if block.startswith(" "):
            lines += [".PP", ".nf", ".RS 4", *map(marked, _dedent(block)), ".RE", ".fi"]
        else:
            lines += [".PP", *(marked(line.strip()) for line in block.splitlines())]
    return lines


def verbatim(text: str) -> list[str]:
    """Return lines that are neither filled nor marked."""
    return [".PP", ".nf", *map(escape, text.strip("\n").splitlines()), ".fi"]


def items(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return tagged paragraphs: a tag (marked), and what is said about it."""
    lines: list[str] = []
    for tag, text in pairs:
        lines += [".TP", marked(tag), marked(text)]
    return lines


def _dedent(block: str) -> list[str]:
    lines = block.splitlines()
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[margin:] for line in lines]
