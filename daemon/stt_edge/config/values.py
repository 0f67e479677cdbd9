"""From a YAML scalar or list to the value of a key, minding what YAML 1.1 makes of bare words."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

from stt_edge.config.document import MappingNode, Node, ScalarNode, SequenceNode
from stt_edge.config.problems import Problems
from stt_edge.config.schema import Key
from stt_edge.config.suggest import closest, shown

_TAG: Final = "tag:yaml.org,2002:"
_COLLECTION_TAGS: Final = (_TAG + "map", _TAG + "seq")
# A timestamp, "=" and "<<" have tags of their own in YAML 1.1; to us they are texts.
_TEXT_TAGS: Final = frozenset(_TAG + name for name in ("str", "timestamp", "value", "merge"))
_BOOLS: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OCTAL: Final = re.compile(r"[-+]?0[0-9_]+")
_BASED: Final = re.compile(r"[-+]?0(?:x[0-9a-fA-F_]+|b[01_]+)")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_REAL: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER: Final = 40
# What YAML can spell with an escape, but neither a file name nor UTF-8 can hold.
_UNUSABLE: Final = re.compile("[\0\ud800-\udfff]")

INVALID: Final = object()
"""In place of a value that was reported as a problem."""


class Converter:
    """Turns nodes into values of the types their keys declare; what does not fit is reported."""

    def __init__(self, problems: Problems, directory: Path) -> None:
        """Report to ``problems``; relative file names count from ``directory``."""
        self._problems = problems
        self._directory = directory

    def convert(self, node: Node, key: Key, name: str) -> Any:
        """Return the value of a node for a key, or INVALID; ``name`` is the key's dotted name."""
        if not self.tag_understood(node, name):
            return INVALID
        if isinstance(node, ScalarNode):
            return self._scalar(node, key, name)
        if isinstance(node, SequenceNode) and tuple in key.types:
            return self._texts(node, name)
        return self._mismatch(node, key.expected, name)

    def tag_understood(self, node: Node, name: str) -> bool:
        """Report a tag such as ``!secret`` or ``!!python/object``; none of them is obeyed."""
        if isinstance(node, ScalarNode):
            good = node.tag in _TEXT_TAGS or kind_of(node) != "str"
        else:
            good = node.tag in _COLLECTION_TAGS
        if not good:
            tag = shown(node.tag.replace(_TAG, "!!"))
            self._problems.add(node, f"{name}: tags such as {tag} are not obeyed; write the value")
        return good

    def text(self, node: Node, name: str, *, echo: bool = True) -> str | None:
        """Return the text of a node that has to be one, or None."""
        if not self.tag_understood(node, name):
            return None
        if not isinstance(node, ScalarNode) or kind_of(node) != "str":
            self._mismatch(node, "str", name, echo=echo)
            return None
        if not node.value.strip():
            self._problems.add(node, f"{name}: must not be empty")
            return None
        if bad := _UNUSABLE.search(node.value):
            code = ord(bad[0])
            self._problems.add(node, f"{name}: must not hold the character U+{code:04X}")
            return None
        return str(node.value)

    def _scalar(self, node: ScalarNode, key: Key, name: str) -> Any:
        kind = kind_of(node)
        if kind == "null":
            return None if key.optional else self._mismatch(node, key.expected, name)
        if bool in key.types and kind == "bool" and node.value.lower() in _BOOLS:
            return _BOOLS[node.value.lower()]
        if kind in ("int", "float") or (kind == "str" and str not in key.types):
            value = _number(node, key.types)
            if value is not None:
                return self._within_bounds(node, key, name, value)
        if kind == "str" and str in key.types:
            return self._text_of_choice(node, key, name)
        echo = not (key.option.secret or key.name.endswith("_file"))
        return self._mismatch(node, key.expected, name, echo=echo)

    def _texts(self, node: SequenceNode, name: str) -> Any:
        items = [self.text(item, f"{name}[{at}]") for at, item in enumerate(node.value)]
        return INVALID if None in items else tuple(items)

    def _text_of_choice(self, node: ScalarNode, key: Key, name: str) -> Any:
        value = self.text(node, name)
        choices = key.option.choices
        if value is None:
            return INVALID
        if choices and value not in choices:
            best = closest(value, choices)
            hint = f"; did you mean {best}?" if best else ""
            numbers = "a number or " if key.types & {int, float} else ""
            wanted = f"must be {numbers}{_listed(choices)}"
            self._problems.add(node, f"{name}: {wanted}, got {shown(value)}{hint}")
            return INVALID
        return self._resolved(value) if key.option.path else value

    def _resolved(self, value: str) -> str:
        try:
            path = Path(value).expanduser()
        except RuntimeError:  # ~ of a user there is not: a file name after all
            path = Path(value)
        return str(self._directory / path)

    def _within_bounds(self, node: Node, key: Key, name: str, value: float) -> Any:
        low, high = key.option.minimum, key.option.maximum
        if low is not None and value < low:
            self._problems.add(node, f"{name}: must be at least {low}, got {value}")
        elif high is not None and value > high:
            self._problems.add(node, f"{name}: must be at most {high}, got {value}")
        else:
            return value
        return INVALID

    def _mismatch(self, node: Node, expected: str, name: str, *, echo: bool = True) -> Any:
        got = _described(node, echo=echo)
        hint = _hint(node, expected) if echo else ""
        self._problems.add(node, f"{name}: expected {expected}, got {got}{hint}")
        return INVALID


def kind_of(node: ScalarNode) -> str:
    """Return ``null``, ``bool``, ``int``, ``float`` or ``str``, as YAML 1.1 reads a scalar."""
    kind = node.tag.removeprefix(_TAG)
    return kind if kind in ("null", "bool", "int", "float") else "str"


def _number(node: ScalarNode, wanted: frozenset[type]) -> int | float | None:
    """Return the number a bare scalar spells in decimal, if it has one of the types wanted."""
    text = node.value
    quoted = node.style is not None and kind_of(node) == "str"
    if quoted or len(text) > _LONGEST_NUMBER:
        return None
    if _DECIMAL.fullmatch(text) or _BASED.fullmatch(text):
        try:
            whole = int(text.replace("_", ""), 0)
        except ValueError:  # "0x_"
            return None
        if int in wanted:
            return whole
        return float(whole) if float in wanted else None
    if float in wanted and _REAL.fullmatch(text) and not _OCTAL.fullmatch(text):
        real = float(text.replace("_", ""))
        return real if math.isfinite(real) else None
    return None


def _described(node: Node, *, echo: bool) -> str:
    if isinstance(node, MappingNode):
        return "mapping"
    if not isinstance(node, ScalarNode):
        return "list"
    kind = kind_of(node)
    if kind == "null":
        return "nothing"
    if not echo:
        return kind
    return f"{kind} {shown(node.value) if kind == 'str' else _literal(node.value)}"


def _literal(text: str) -> str:
    """Return a bare word as it stands in the file, unless it is long or strange."""
    short = text.isascii() and text.isprintable() and len(text) <= _LONGEST_NUMBER
    return text if short else shown(text)


def _hint(node: Node, expected: str) -> str:
    """Return what to write instead, for the mistakes YAML invites."""
    if not isinstance(node, ScalarNode):
        return ""
    kind, text = kind_of(node), node.value
    wanted = expected.split(" or ")
    if kind == "null":
        return "; give a value, or remove the line for the default"
    if "list of str" in wanted:
        return "; write it as a list: [one, two]"
    if "str" in wanted:
        word = text.lower()
        trap = f"YAML reads it as {str(_BOOLS[word]).lower()}: " if word in _BOOLS else ""
        return f"; {trap}write '{_literal(text)}' if the text is meant"
    return "; write true or false" if "bool" in wanted else _number_hint(node)


def _number_hint(node: ScalarNode) -> str:
    text = node.value
    if _SEXAGESIMAL.fullmatch(text):
        return "; YAML reads colons as base 60: write one plain number"
    if _OCTAL.fullmatch(text):
        return f"; YAML reads a leading zero as octal: write {text.lstrip('+-0_') or '0'}"
    if node.style is not None and _looks_numeric(text):
        return "; write it without quotes"
    return ""


def _looks_numeric(text: str) -> bool:
    return len(text) <= _LONGEST_NUMBER and _REAL.fullmatch(text) is not None


def _listed(choices: tuple[str, ...]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
