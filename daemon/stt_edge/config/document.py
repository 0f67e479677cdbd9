"""From a file to a tree of YAML nodes, each with its place; whatever the file holds.

Only the syntax is read here, with PyYAML's safe loader: no tag ever makes an object. Size and depth
are bounded, and aliases stay references, so that no file takes long or much.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Final

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from stt_edge.errors import ConfigError, ConfigProblem, PermissionDeniedError
from stt_edge.frozen import frozen

MAX_FILE_BYTES: Final = 128 * 1024
"""A list of some five thousand phrases fits."""

MAX_DEPTH: Final = 24

_LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as PyYAML counts lines
_UNPRINTABLE: Final = yaml.reader.Reader.NON_PRINTABLE
_HINTS: Final = (
    ("'\\t'", "a tab, and YAML is indented with spaces"),
    ("cannot start any token", "put the value in quotes"),
    ("mapping values are not allowed", "put a value with ': ' in quotes, or mend the indentation"),
    ("could not find expected ':'", "a key is followed by a colon and a space"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("<document start>", "the indentation does not fit the lines above"),
    ("expected ',' or", "a bracket is not closed"),
    ("<stream end>", "the file ends too early: a bracket or a value is missing"),
    ("unexpected end of stream", "a quote is not closed"),
    ("another document", "a configuration is one document: remove the line ---"),
)


@frozen
class Place:
    """Where something stands in the file; both count from 1."""

    line: int
    column: int


def place_of(node: Node) -> Place:
    """Return where a node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def read_file(path: Path) -> bytes:
    """Return the content of a configuration file, at most one byte more than may be in it.

    Raises ConfigError when there is none, PermissionDeniedError when it may not be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{path}: permission denied.",
            "Run the command with sudo, or as a member of the group the file belongs to.",
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([ConfigProblem(str(path), 0, 0, reason)]) from error


def parse(data: bytes, name: str) -> Node | None:
    """Return the root node of a file's content, or None where it holds nothing.

    Raises ConfigError, with the place, for what is no YAML.
    """
    if len(data) > MAX_FILE_BYTES:
        size = f"larger than {MAX_FILE_BYTES // 1024} KiB, which no configuration is"
        raise ConfigError([ConfigProblem(name, 0, 0, size)])
    text = _decode(data, name)
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        raise _bad_yaml(name, Place(mark.line + 1, mark.column + 1), _explain(error)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets the errors of chr() and int() through, for "\UFFFFFFFF" and the like.
        mark = loader.get_mark()
        reason = "an escape or a number far out of range"
        raise _bad_yaml(name, Place(mark.line + 1, mark.column + 1), reason) from error


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes, and refuses to go deeper than any configuration does."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        if parent is not None and self._depth > MAX_DEPTH:
            reason = f"nested deeper than {MAX_DEPTH} levels"
            raise ComposerError(None, None, reason, parent.start_mark)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _decode(data: bytes, name: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _bad_yaml(name, Place(1, 1), "this is UTF-16; save the file as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        message = f"byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        raise _bad_yaml(name, _place_after(before), message) from error
    if bad := _UNPRINTABLE.search(text):
        message = f"a character that may not stand in YAML (U+{ord(bad[0]):04X})"
        raise _bad_yaml(name, _place_after(text[: bad.start()]), message)
    return text


def _place_after(before: str) -> Place:
    lines = _LINE_BREAK.split(before)
    return Place(len(lines), len(lines[-1]) + 1)


def _bad_yaml(name: str, place: Place, reason: str) -> ConfigError:
    return ConfigError([ConfigProblem(name, place.line, place.column, f"not YAML: {reason}")])


def _explain(error: yaml.MarkedYAMLError) -> str:
    reason = (error.problem or "it cannot be understood").removeprefix("but ")
    hint = next((hint for symptom, hint in _HINTS if symptom in reason), None)
    mark = error.context_mark
    if error.context and mark and error.problem_mark and mark.line != error.problem_mark.line:
        reason += f", {error.context} that begins in line {mark.line + 1}"
    return f"{hint} ({reason})" if hint else reason


__all__ = [
    "MAX_DEPTH",
    "MAX_FILE_BYTES",
    "MappingNode",
    "Node",
    "Place",
    "ScalarNode",
    "SequenceNode",
    "parse",
    "place_of",
    "read_file",
]
