"""The schema of the configuration file *is* its dataclasses; this module reads it out of them.

A field declared with ``option`` carries its bounds and the phrase that explains it. Types that may
be used: bool, int, float, str, ``X | None``, ``tuple[str, ...]``, ``int | str``, ``float | str``
and another such dataclass. Imports nothing of ours, so that every module may declare options.

A dataclass may define ``problems(self) -> Iterable[tuple[str, str]]``, pairs of a key and what is
wrong with it, for what the bounds of one field cannot say; and ``missing_files`` of the same type,
for files it names that are not there: no mistake in the file, and nothing that prevents a start.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from dataclasses import field, fields, is_dataclass
from functools import cache
from typing import Any, Final

from stt_edge.frozen import frozen

_METADATA_KEY: Final = "stt_edge.option"
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    tuple: "list of str",
}


@frozen
class Option:
    """What is known of a key beyond its type and its default."""

    doc: str
    """One phrase, beginning in lower case."""
    minimum: float | None = None
    """For the numbers the type allows; inclusive."""
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    """For the texts the type allows."""
    secret: bool = False
    """Neither shown nor repeated in a message."""
    path: bool = False
    """A file name: ``~`` is expanded, and a relative one counts from the file's own directory."""


def option(
    default: Any,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    secret: bool = False,
    path: bool = False,
) -> Any:
    """Declare a key of the configuration file, as the field of a dataclass."""
    known = Option(doc, minimum, maximum, choices, secret, path)
    return field(default=default, metadata={_METADATA_KEY: known})


def described(doc: str) -> dict[str, Option]:
    """Return the metadata that makes a key of a ``dataclasses.field`` with a default factory.

    For a section within a section, and for a default that is found out at run time.
    """
    return {_METADATA_KEY: Option(doc)}


@frozen
class Key:
    """One key of a section, as the loader and the renderer see it."""

    name: str
    types: frozenset[type]
    """Of bool, int, float and str; and tuple for a list of texts."""
    nested: type | None
    """The dataclass of a section within; then ``types`` is empty."""
    optional: bool
    """``null`` is a value."""
    option: Option

    @property
    def expected(self) -> str:
        """Return what the type is called in messages: ``int``, ``int or str``, ``list of str``."""
        if self.nested is not None:
            return "mapping"
        return " or ".join(name for kind, name in _TYPE_NAMES.items() if kind in self.types)


class SchemaLookup(typing.Protocol):
    """What the loader asks of a registry of providers or sinks; a module can be one."""

    def names(self) -> list[str]:
        """Return the names there are, in alphabetical order."""

    def options(self, name: str) -> type | None:
        """Return the dataclass of options that goes with a name, or None."""

    def missing(self, name: str) -> str:
        """Return what must be installed before it can be used, and how; empty where nothing."""


def keys_of(section: type) -> tuple[Key, ...]:
    """Return the keys of a section's dataclass, in the order of their declaration.

    Fields without ``option`` are none of the file's business. Raises TypeError for a type that a
    configuration file cannot hold.
    """
    return _keys_of(section)


def problems_of(section: object) -> Iterable[tuple[str, str]]:
    """Return what a section says of its own values: pairs of a key and what is wrong with it."""
    check = getattr(section, "problems", None)
    return () if check is None else check()


def missing_files_of(section: object) -> Iterable[tuple[str, str]]:
    """Return which files a section names that cannot be used: pairs of a key and what is wrong."""
    look = getattr(section, "missing_files", None)
    return () if look is None else look()


@cache
def _keys_of(section: type) -> tuple[Key, ...]:
    hints = typing.get_type_hints(section)
    return tuple(
        _key(item.name, hints[item.name], item.metadata[_METADATA_KEY])
        for item in fields(section)
        if _METADATA_KEY in item.metadata
    )


def _key(name: str, hint: Any, declared: Option) -> Key:
    members = typing.get_args(hint) if _is_union(hint) else (hint,)
    wanted = [member for member in members if member is not types.NoneType]
    optional = len(wanted) < len(members)
    if len(wanted) == 1 and is_dataclass(wanted[0]):
        return Key(name, frozenset(), typing.cast("type", wanted[0]), optional, declared)
    return Key(name, frozenset(_plain(name, member) for member in wanted), None, optional, declared)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _plain(name: str, hint: Any) -> type:
    if hint in (bool, int, float, str):
        return typing.cast("type", hint)
    if typing.get_origin(hint) is tuple and typing.get_args(hint) == (str, Ellipsis):
        return tuple
    raise TypeError(f"option {name}: a configuration file cannot hold {hint!r}")
