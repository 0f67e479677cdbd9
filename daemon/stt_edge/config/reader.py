"""Reads one configuration file: its sections, its list of providers and its mapping of sinks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from stt_edge.config.document import MappingNode, Node, ScalarNode, SequenceNode, parse, place_of
from stt_edge.config.problems import Problems
from stt_edge.config.schema import SchemaLookup, keys_of
from stt_edge.config.sections import Entries, SectionReader, dotted
from stt_edge.config.settings import Config, ProviderEntry, SinkEntry
from stt_edge.config.suggest import did_you_mean, shown
from stt_edge.config.values import Converter, kind_of
from stt_edge.errors import SttEdgeError

_LISTS: Final = ("providers", "sinks")
_PROVIDER_KEYS: Final = ("name", "kind")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class FileReader:
    """Reads the content of one file."""

    def __init__(self, path: Path, *, check_files: bool = False) -> None:
        """Name the file ``path`` in messages; relative file names count from its directory.

        With ``check_files``, files that it names and that are missing are problems too.
        """
        self._path = path
        self._problems = Problems(str(path))
        self._converter = Converter(self._problems, path.absolute().parent)
        self._sections = SectionReader(
            self._problems, self._converter, _dotted_names(), check_files=check_files
        )

    def read(self, data: bytes, providers: SchemaLookup, sinks: SchemaLookup) -> Config:
        """Return what the file says; no providers where it names none.

        Raises ConfigError with every problem in it.
        """
        root = parse(data, str(self._path))
        entries = self._sections.entries(root, "")
        config: Config = self._sections.fill(Config, entries, root, "", others=_LISTS)
        config = replace(
            config,
            path=str(self._path),
            providers=self._providers(_value(entries, "providers"), providers),
            sinks=self._sinks(_value(entries, "sinks"), sinks),
        )
        self._check_prices(config, entries)
        self._problems.raise_if_any()
        return config

    def _check_prices(self, config: Config, entries: Entries) -> None:
        prices = (getattr(entry.options, "price_per_hour", None) for entry in config.providers)
        if config.budget.money_per_day is not None and not any(prices):
            priceless = "budget.money_per_day: no provider has a price_per_hour to count with"
            self._problems.add(entries["budget"].value, priceless)

    def _providers(self, node: Node | None, lookup: SchemaLookup) -> tuple[ProviderEntry, ...]:
        if node is None:
            return ()
        if not isinstance(node, SequenceNode):
            self._problems.add(node, "providers: expected list; begin each provider with - name:")
            return ()
        if not node.value:
            nothing = "providers: at least one is needed; remove the line for the default"
            self._problems.add(node, nothing)
        lines: dict[str, int] = {}
        found: list[ProviderEntry] = []
        for at, item in enumerate(node.value):
            entry = self._provider(item, f"providers[{at}]", lines, lookup)
            found += [entry] if entry else []
        return tuple(found)

    def _provider(
        self, node: Node, where: str, lines: dict[str, int], lookup: SchemaLookup
    ) -> ProviderEntry | None:
        if not isinstance(node, MappingNode):
            self._problems.add(node, f"{where}: expected mapping; write - name: and its options")
            return None
        entries = self._sections.entries(node, where)
        if "name" not in entries:
            self._problems.add(node, f"{where}: a provider needs a name")
            return None
        name = self._provider_name(entries, where, lines)
        kind_key = "kind" if "kind" in entries else "name"
        kind_node = entries[kind_key].value
        kind = name if kind_key == "name" else self._converter.text(kind_node, f"{where}.kind")
        if name is None or kind is None:
            return None
        options = self._options_of(kind, kind_node, f"{where}.{kind_key}", lookup)
        if options is None:
            return None
        filled = self._sections.fill(options, entries, node, where, others=_PROVIDER_KEYS)
        return ProviderEntry(name, kind, filled)

    def _options_of(self, kind: str, node: Node, where: str, lookup: SchemaLookup) -> type | None:
        try:
            options = lookup.options(kind)
        except SttEdgeError as error:  # somebody else's, and broken
            self._problems.add(node, f"{where}: {error}")
            return None
        if options is None:
            hint = did_you_mean(kind, lookup.names())
            self._problems.add(node, f"{where}: no provider {shown(kind)}{hint}")
        elif missing := lookup.missing(kind):
            self._problems.add(node, f"{where}: {missing}")
        return options

    def _provider_name(self, entries: Entries, where: str, lines: dict[str, int]) -> str | None:
        node = entries["name"].value
        name = self._converter.text(node, f"{where}.name")
        if name is None:
            return None
        if not _NAME.fullmatch(name):
            rule = "letters, digits, '.', '_' and '-', at most 64"
            self._problems.add(node, f"{where}.name: a name is made of {rule}")
            return None
        if first := lines.get(name):
            remedy = "give this one another name, and say what it is with kind:"
            self._problems.add(node, f"{where}.name: {name} is taken in line {first}; {remedy}")
        lines.setdefault(name, place_of(node).line)
        return name

    def _sinks(self, node: Node | None, lookup: SchemaLookup) -> tuple[SinkEntry, ...] | None:
        if node is None:
            return None
        found: list[SinkEntry] = []
        for name, entry in self._sections.entries(node, "sinks").items():
            options = lookup.options(name)
            if options is None:
                hint = did_you_mean(name, lookup.names())
                self._problems.add(entry.key, f"sinks: no sink {shown(name)}{hint}")
                continue
            if missing := lookup.missing(name):
                self._problems.add(entry.key, f"sinks.{name}: {missing}")
            section = self._sections.build(options, entry.value, dotted("sinks", name))
            found.append(SinkEntry(name, section))
        return tuple(found)


def _value(entries: Entries, key: str) -> Node | None:
    """Return the node of a key's value; None where it is missing or null."""
    entry = entries.get(key)
    if entry is None or (isinstance(entry.value, ScalarNode) and kind_of(entry.value) == "null"):
        return None
    return entry.value


def _dotted_names() -> dict[str, str]:
    """Return in which section each key stands, so that one in the wrong place can be told."""
    names: dict[str, str] = {}
    for section in keys_of(Config):
        for key in keys_of(section.nested) if section.nested else ():
            names.setdefault(key.name, section.name)
    return names
