"""Taking a protection out of the program: in memory, as its modules are imported.

A sabotage is a few replacements in the source of modules. The text replaced has to stand there
exactly once, so that a sabotage cannot outlive what it is about without being noticed. Nothing is
written, neither source nor bytecode.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Final

from scripts.lib.sabotage import tables

VARIABLE: Final = "STT_EDGE_SABOTAGE"
"""Names the sabotage that a process is to suffer."""


class StaleSabotageError(Exception):
    """The text that a sabotage replaces is not there, or not once; the sabotage must be renewed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the source of a module."""

    module: str
    """Below ``stt_edge``, such as ``store.schema``."""
    old: str
    """Occurs exactly once."""
    new: str


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A protection, how to take it out, and the tests that are said to notice."""

    name: str
    edits: tuple[Edit, ...]
    guards: tuple[str, ...]
    """Files or node ids below ``tests``."""

    def edited(self, module: str, source: str) -> str:
        """Return the source of a module without the protection. Raises StaleSabotageError."""
        for edit in self.edits:
            if f"stt_edge.{edit.module}" != module:
                continue
            if (count := source.count(edit.old)) != 1:
                raise StaleSabotageError(
                    f"{self.name}: {module} has this {count} times: {edit.old!r}"
                )
            source = source.replace(edit.old, edit.new)
        return source

    @property
    def modules(self) -> frozenset[str]:
        """The full names of the modules it changes."""
        return frozenset(f"stt_edge.{edit.module}" for edit in self.edits)


def all_sabotages() -> list[Sabotage]:
    """Return those of every module in ``tables``, in the order of the modules' names."""
    names = sorted(found.name for found in pkgutil.iter_modules(tables.__path__))
    modules = [importlib.import_module(f"{tables.__name__}.{name}") for name in names]
    return [sabotage for module in modules for sabotage in module.TABLE]


def suffer(environ: Any = os.environ) -> Sabotage | None:
    """Have this process suffer the sabotage that its environment names; return it."""
    if not (name := environ.get(VARIABLE)):
        return None
    (sabotage,) = [each for each in all_sabotages() if each.name == name]
    if early := sabotage.modules & set(sys.modules):
        raise StaleSabotageError(f"{name}: {', '.join(sorted(early))} has been imported already")
    sys.meta_path.insert(0, _Finder(sabotage))
    return sabotage


class _Finder(MetaPathFinder):
    """Finds the modules that are changed, where they always are."""

    def __init__(self, sabotage: Sabotage) -> None:
        self._sabotage = sabotage

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._sabotage.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._sabotage)
        return spec


class _Loader(SourceFileLoader):
    """Compiles changed source, and never looks for bytecode."""

    def __init__(self, fullname: str, path: str, sabotage: Sabotage) -> None:
        super().__init__(fullname, path)
        self._sabotage = sabotage

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        changed = self._sabotage.edited(fullname, source)
        code = compile(changed, self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code
