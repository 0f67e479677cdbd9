"""The providers there are. A provider's module is imported when the provider is used, not before.

A package of somebody else's adds one by an entry point in the group ``stt_edge.providers``, whose
name is the provider's and whose value is a module with ``Options`` and ``build``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import typing
from dataclasses import is_dataclass
from typing import Any, Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.extras import install_command
from stt_edge.providers.base import Provider, ProviderModule

_GROUP: Final = "stt_edge.providers"
_MODULES: Final = {
    "assemblyai": "stt_edge.providers.assemblyai",
    "aws": "stt_edge.providers.aws",
    "deepgram": "stt_edge.providers.deepgram",
    "google": "stt_edge.providers.google",
    "google_rest": "stt_edge.providers.google_rest",
    "iapp": "stt_edge.providers.iapp",
    "openai": "stt_edge.providers.openai",
    "openai_realtime": "stt_edge.providers.openai_realtime",
    "pocketsphinx": "stt_edge.providers.pocketsphinx",
    "sherpa": "stt_edge.providers.sherpa",
    "tiro": "stt_edge.providers.tiro",
    "vosk": "stt_edge.providers.vosk",
    "vosk_server": "stt_edge.providers.vosk_server",
    "wyoming": "stt_edge.providers.wyoming",
}
_registered: dict[str, str] = {}


def register(kind: str, module: str) -> None:
    """Add a provider for the life of this process, by the full name of its module."""
    _registered[kind] = module


def names() -> list[str]:
    """Return the names a configuration may use, in alphabetical order."""
    return sorted({*_MODULES, *_registered, *_entry_points()})


def module(name: str) -> ProviderModule | None:
    """Return a provider's module, or None when there is no such provider.

    Raises ProviderError of kind SETUP when somebody else's cannot be imported.
    """
    place = _place(name)
    return None if place is None else _module(name, place)


def options(name: str) -> type[Any] | None:
    """Return the dataclass of a provider's options, or None when there is no such provider.

    Raises ProviderError of kind SETUP when somebody else's cannot be imported.
    """
    found = module(name)
    return None if found is None else found.Options


def lacking(name: str) -> tuple[str, ...]:
    """Return which packages a provider needs that are not installed; none of them is imported.

    Raises ProviderError of kind SETUP.
    """
    packages: tuple[str, ...] = getattr(module(name), "PACKAGES", ())
    return tuple(package for package in packages if not _is_installed(package))


def missing(name: str) -> str:
    """Return which packages a provider lacks and how to get them; empty where it lacks none.

    Raises ProviderError of kind SETUP.
    """
    packages = lacking(name)
    if not packages:
        return ""
    extra = getattr(module(name), "EXTRA", None) or name
    return f"{', '.join(packages)} not installed: {install_command(extra)}"


def build(name: str, kind: str, options: Any) -> Provider:
    """Return a provider under its name in the configuration.

    ``options`` is an instance of ``options(kind)``, or None for its defaults. Raises ProviderError
    of kind SETUP when there is no such provider, or when a package it needs is not installed.
    """
    place = _place(kind)
    if place is None:
        near = difflib.get_close_matches(kind, names(), n=1)
        guess = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names())}."
        raise ProviderError(
            FailureKind.SETUP, f"There is no provider named {kind!r}.", remedy=guess
        )
    found = _module(kind, place)
    return found.build(name, found.Options() if options is None else options)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package it would be in
        return False


def _place(kind: str) -> str | None:
    """Return the full name of a provider's module."""
    own = _MODULES.get(kind) or _registered.get(kind)
    return own or _entry_points().get(kind)


def _entry_points() -> dict[str, str]:
    from importlib import metadata

    return {entry.name: entry.value for entry in metadata.entry_points(group=_GROUP)}


def _module(kind: str, place: str) -> ProviderModule:
    try:
        module = importlib.import_module(place)
    except ImportError as error:
        missing = error.name or "a module"
        raise ProviderError(
            FailureKind.SETUP,
            f"The provider {kind} cannot be loaded: {missing} is not installed.",
            remedy=f"Install what it needs: {install_command(kind)}",
        ) from error
    if not is_dataclass(getattr(module, "Options", None)) or not hasattr(module, "build"):
        raise ProviderError(
            FailureKind.SETUP, f"The provider {kind}: {place} has no Options and build."
        )
    return typing.cast("ProviderModule", module)
