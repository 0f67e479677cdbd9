"""Registries for tests of the loader, with an option of every type a schema may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stt_edge.config.loader import loads
from stt_edge.config.schema import described, option
from stt_edge.config.settings import Config
from stt_edge.errors import ConfigError, ConfigProblem


@dataclass(frozen=True, slots=True)
class Retry:
    """A section within a section."""

    attempts: int = option(3, minimum=1, maximum=9, doc="how often")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Of the provider ``pocketsphinx`` in these tests."""

    language: str = option("en", doc="language")
    phrases: tuple[str, ...] = option((), doc="what may be said")
    grammar: str | None = option(None, path=True, doc="a JSGF file")
    idle_unload_s: float = option(120.0, minimum=0, maximum=86400, doc="when to unload")
    beam: float | str = option("auto", minimum=0, choices=("auto", "wide"), doc="beam")
    adapt: bool = option(False, doc="a switch")
    retry: Retry = field(default_factory=Retry, metadata=described("when it fails"))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Report what excludes each other."""
        if self.phrases and self.grammar:
            yield "grammar", "phrases and grammar exclude each other"


@dataclass(frozen=True, slots=True)
class CloudOptions:
    """Of the provider ``cloud``."""

    api_key_file: str | None = option(None, doc="where the key is")
    pin: str | None = option(None, secret=True, doc="never shown")
    url: str = option("wss://cloud.example/v1", doc="where it is")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Of sinks that have none."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Of the sink ``jsonl``."""

    path: str | None = option(None, path=True, doc="the file")
    mode: int = option(0o640, doc="its mode")


class Registry:
    """Options by name."""

    def __init__(self, **kinds: type) -> None:
        self._kinds = kinds

    def names(self) -> list[str]:
        return sorted(self._kinds)

    def options(self, name: str) -> type | None:
        return self._kinds.get(name)

    def missing(self, name: str) -> str:
        return "clouds is not installed" if name == "cloudless" else ""


PROVIDERS = Registry(pocketsphinx=EngineOptions, cloud=CloudOptions, cloudless=CloudOptions)
SINKS = Registry(journal=NoOptions, stdout=NoOptions, jsonl=FileOptions)
PATH = Path("/etc/stt-edge.yaml")


def load_text(text: str | bytes) -> Config:
    """Load the content of a file as if it were the default one."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return loads(data, PATH, PROVIDERS, SINKS)


def problems_in(text: str | bytes) -> list[ConfigProblem]:
    """Return what is wrong with the content of a file; it must not be good."""
    try:
        load_text(text)
    except ConfigError as error:
        return list(error.problems)
    raise AssertionError(f"no problem in {text!r}")


def complaints(text: str | bytes) -> list[str]:
    """Return the problems as ``line:column: message``."""
    return [str(problem).removeprefix(f"{PATH}:") for problem in problems_in(text)]
