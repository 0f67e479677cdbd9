"""Every simulator by the name of the provider it answers to."""

from __future__ import annotations

import importlib
from typing import Final

from tests.simulators.core import Simulator

_MODULES: Final = (
    "assemblyai",
    "assemblyai_v2",
    "aws",
    "deepgram",
    "google",
    "google_rest",
    "iapp",
    "openai",
    "openai_realtime",
    "tiro",
    "vosk_server",
    "wyoming",
)


def provider_of(name: str) -> str:
    """Return the provider that speaks to a simulator."""
    return name.removesuffix("_v2")


def names() -> tuple[str, ...]:
    """Return the names there are."""
    return _MODULES


def simulator_class(name: str) -> type[Simulator]:
    """Return the class of a simulator. Raises KeyError for a name that is none."""
    if name not in _MODULES:
        raise KeyError(name)
    found: type[Simulator] = importlib.import_module(f"tests.simulators.{name}").Simulator
    return found
