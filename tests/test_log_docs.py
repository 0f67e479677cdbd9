"""The table of log lines in docs/operations.md has every one from INFO on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
TOLD: Final = frozenset(("info", "warning", "error", "exception", "critical"))
DIRECTIVE: Final = re.compile(r"%[-+ #0]*[\d.]*[a-zA-Z]")


def rows() -> list[str]:
    """The second column of the table, with what changes between the quotes as ``…``."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## What the log says\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (?:info|warning|error) \| (.+?) \| .+ \| .+ \|$", section, re.MULTILINE)


def lines() -> Iterator[tuple[str, str]]:
    """Every literal that is logged, with its place."""
    package = ROOT / "daemon" / "stt_edge"
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value) == "_log"
                and node.func.attr in TOLD
            ):
                assert isinstance(node.args[0], ast.Constant), f"{name}:{node.lineno}"
                yield f"{name}:{node.lineno}", node.args[0].value


def notices() -> Iterator[str]:
    """The fixed pieces of everything that the keeper of the ear announces."""
    source = (ROOT / "daemon" / "stt_edge" / "service" / "keeper.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Announce":
            message = node.args[1]
            if isinstance(message, ast.JoinedStr):
                yield max(
                    (each.value for each in message.values if isinstance(each, ast.Constant)),
                    key=len,
                )
            elif isinstance(message, ast.Constant):
                yield message.value


@pytest.mark.parametrize(("place", "line"), list(lines()))
def test_every_line_of_the_log_is_explained(place: str, line: str) -> None:
    pieces = [piece.strip() for piece in DIRECTIVE.split(line) if len(piece.strip(" :;,.")) > 2]
    assert any(all(piece in row for piece in pieces) for row in map(plain, rows())), (
        f"{place}: {line!r} has no row under 'What the log says' in docs/operations.md"
    )


@pytest.mark.parametrize("piece", list(notices()))
def test_every_announcement_of_the_ears_keeper_is_explained(piece: str) -> None:
    assert any(piece.strip() in row for row in map(plain, rows())), piece


def plain(row: str) -> str:
    """A row with its abbreviated ends counted as any text would be."""
    return row.replace("until midnight …", f"until midnight {BUDGET}")


BUDGET: Final = "only providers that charge nothing are used; where there is none, speech is kept"
