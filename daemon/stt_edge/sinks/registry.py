"""The sinks there are. A sink's module is imported when the sink is used, not before."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import typing
from typing import Any, Final

from stt_edge.errors import UnavailableError
from stt_edge.extras import install_command
from stt_edge.sinks.base import Examine, Sink, SinkContext, SinkModule

_MODULES: Final = {
    "journal": "stt_edge.sinks.journal",
    "jsonl": "stt_edge.sinks.jsonl",
    "mqtt": "stt_edge.sinks.mqtt",
    "stdout": "stt_edge.sinks.stdout",
}


def names() -> list[str]:
    """Return the names a configuration may use, in alphabetical order."""
    return sorted(_MODULES)


def options(name: str) -> type[Any] | None:
    """Return the dataclass of a sink's options, or None when there is no such sink."""
    return _module(name).Options if name in _MODULES else None


def missing(name: str) -> str:
    """Return which packages a sink lacks and how to get them; empty where it lacks none."""
    module = _module(name)
    packages: tuple[str, ...] = getattr(module, "PACKAGES", ())
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if not absent:
        return ""
    extra = getattr(module, "EXTRA", name)
    return f"{', '.join(absent)} not installed: {install_command(extra)}"


def build(name: str, options: Any, context: SinkContext) -> Sink:
    """Return a sink, not open yet.

    ``options`` is an instance of ``options(name)``, or None for its defaults. Raises
    UnavailableError when there is no such sink, or when a package it needs is not installed.
    """
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, n=1)
        guess = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names())}."
        raise UnavailableError(f"There is no sink named {name!r}.", guess)
    module = _module(name)
    return module.build(module.Options() if options is None else options, context)


def examiner(name: str) -> Examine | None:
    """Return what looks whether a sink's other side can be reached; None where it has nothing."""
    return getattr(_module(name), "examine", None) if name in _MODULES else None


def _module(name: str) -> SinkModule:
    return typing.cast("SinkModule", importlib.import_module(_MODULES[name]))
