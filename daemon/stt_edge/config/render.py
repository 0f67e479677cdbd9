"""The effective configuration for people and for programs, with secrets masked.

What is masked: keys declared secret, and passwords within URLs wherever they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from stt_edge.config.schema import keys_of
from stt_edge.config.settings import Config, SinkEntry

MASK: Final = "********"

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/?#\s:@]*):[^/?#\s]*(?=@)")
_URL_TOKEN: Final = re.compile(
    r"(?i)([?&][\w-]*(?:key|token|password|secret|auth|signature)=)[^&#\s]+"
)
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_NOT_TEXT: Final = frozenset(("y", "yes", "true", "on", "n", "no", "false", "off", "null"))


def as_mapping(config: Config) -> dict[str, Any]:
    """Return the configuration as what JSON can hold, in the shape of the file."""
    body = _section(config)
    rendered: dict[str, Any] = {}
    for name, value in body.items():
        rendered[name] = value
        if name == "session":  # where the file has them
            rendered["providers"] = [
                {"name": entry.name, "kind": entry.kind, **_section(entry.options)}
                for entry in config.providers
            ]
    return {**rendered, "sinks": _sinks(config.sinks)}


def as_text(config: Config) -> str:
    """Return the configuration as YAML that could be loaded again, but for what is masked."""
    head = f"# {config.path}" if config.path else "# no configuration file: defaults"
    return "\n".join([head, *_lines(as_mapping(config), "")])


def _section(section: Any) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    for key in keys_of(type(section)):
        value = getattr(section, key.name)
        if value is not None and key.nested is not None:
            rendered[key.name] = _section(value)
        elif value is not None and key.option.secret:
            rendered[key.name] = MASK
        else:
            rendered[key.name] = _unmasked(value)
    return rendered


def _unmasked(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_unmasked(item) for item in value]
    if isinstance(value, str):
        return _URL_TOKEN.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1:{MASK}", value))
    return value


def _sinks(entries: tuple[SinkEntry, ...] | None) -> dict[str, Any] | None:
    return None if entries is None else {entry.name: _section(entry.options) for entry in entries}


def _lines(value: dict[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{key}:"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield f"{indent}{key}:"
            for entry in item:
                first, *rest = _lines(entry, indent + "    ")
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            yield f"{indent}{key}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(char) for char in quoted)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
