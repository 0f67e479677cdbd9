"""Loads the configuration file: all of it is read, and every mistake is reported at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from stt_edge.config.schema import SchemaLookup
from stt_edge.config.settings import Config, ProviderEntry, SinkEntry

DEFAULT_PATH: Final = Path("/etc/stt-edge.yaml")

DEFAULT_PROVIDER: Final = "pocketsphinx"
"""Needs no network and no key, and brings its model along."""


def load(
    path: Path | None, providers: SchemaLookup, sinks: SchemaLookup, *, check_files: bool = False
) -> Config:
    """Return the configuration in a file; without a file, the defaults.

    With ``check_files``, files that it names and that are missing are problems too. Raises
    ConfigError with every problem in the file, PermissionDeniedError when it may not be read.
    """
    if path is None:
        return replace(Config(), providers=default_providers(providers))
    from stt_edge.config.document import read_file  # who has no file needs no YAML

    return loads(read_file(path), path, providers, sinks, check_files=check_files)


def loads(
    data: bytes,
    path: Path,
    providers: SchemaLookup,
    sinks: SchemaLookup,
    *,
    check_files: bool = False,
) -> Config:
    """Return the configuration in the content of a file that is, or might be, at ``path``.

    Raises ConfigError with every problem in it.
    """
    from stt_edge.config.reader import FileReader

    given = FileReader(path, check_files=check_files).read(data, providers, sinks)
    return given if given.providers else replace(given, providers=default_providers(providers))


def default_providers(providers: SchemaLookup) -> tuple[ProviderEntry, ...]:
    """Return the providers to use where the file names none; nothing where it is not installed."""
    kind = providers.options(DEFAULT_PROVIDER)
    return () if kind is None else (ProviderEntry(DEFAULT_PROVIDER, DEFAULT_PROVIDER, kind()),)


def default_sinks(sinks: SchemaLookup, *, under_systemd: bool) -> tuple[SinkEntry, ...]:
    """Return the sinks to use where the file names none: the journal or stdout, and JSONL."""
    names = ("journal" if under_systemd else "stdout", "jsonl")
    kinds = ((name, sinks.options(name)) for name in names)
    return tuple(SinkEntry(name, kind()) for name, kind in kinds if kind is not None)
