"""config/stt-edge.yaml documents every key with its default, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stt_edge.config.loader import DEFAULT_PATH, default_providers, loads
from stt_edge.config.schema import keys_of
from stt_edge.config.settings import Config, SinkEntry
from stt_edge.providers import registry as providers
from stt_edge.sinks import registry as sinks

TEXT = (Path(__file__).parents[2] / "config" / "stt-edge.yaml").read_text(encoding="utf-8")

# A setting that is switched off is commented out without a space behind the #, or with more than
# one when it is indented; a sentence has exactly one.
SWITCHED_OFF = re.compile(r"^#(?=\w|  )", re.MULTILINE)
ALL_ON = SWITCHED_OFF.sub("", TEXT)
KEY_LINE = re.compile(r"^\s*(?:- )?(?P<key>\w+):(?P<value>[^#]*)(?P<comment># .+)?$")


def test_it_gives_exactly_the_defaults() -> None:
    defaults = replace(Config(), providers=default_providers(providers), path=str(DEFAULT_PATH))
    assert loads(TEXT.encode(), DEFAULT_PATH, providers, sinks) == defaults


def test_with_everything_switched_on_every_value_is_still_the_default() -> None:
    config = loads(ALL_ON.encode(), DEFAULT_PATH, providers, sinks)
    assert config.node == "kitchen"
    every_sink = tuple(_default_sink(name) for name in ("journal", "jsonl", "mqtt", "stdout"))
    defaults = replace(Config(), providers=default_providers(providers), path=str(DEFAULT_PATH))
    assert config == replace(defaults, node="kitchen", sinks=every_sink)


def test_every_key_there_is_stands_in_it_and_no_other() -> None:
    assert _dotted(yaml.safe_load(ALL_ON)) == _schema()
    assert sorted(sinks.names()) == sorted(yaml.safe_load(ALL_ON)["sinks"])


def test_every_key_has_one_comment() -> None:
    lines = ALL_ON.splitlines()
    keys = [(number, match) for number, line in enumerate(lines) if (match := KEY_LINE.match(line))]
    assert len(keys) >= 30
    for number, match in keys:
        is_section = not match["value"].strip()
        if not is_section:
            assert match["comment"], f"line {number + 1}: {lines[number]} has no comment"


def _default_sink(name: str) -> SinkEntry:
    kind = sinks.options(name)
    assert kind is not None
    return SinkEntry(name, kind())


def _schema() -> set[str]:
    """Return the dotted names of all keys: sections, the default provider's, all sinks'."""
    names = {"providers.name", "providers.kind"}
    for section in keys_of(Config):
        names |= _keys(section.nested, section.name) if section.nested else {section.name}
    names |= _keys(providers.options("pocketsphinx"), "providers")
    for name in sinks.names():
        names |= _keys(sinks.options(name), f"sinks.{name}")
    return names


def _keys(kind: type | None, where: str) -> set[str]:
    assert kind is not None
    return {f"{where}.{key.name}" for key in keys_of(kind)}


def _dotted(tree: Any, where: str = "") -> set[str]:
    """Return the dotted names of all keys in a tree that have no keys of their own."""
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return set().union(*(_dotted(item, where) for item in tree))
    if not isinstance(tree, dict):
        return {where}
    return set().union(*(_dotted(item, f"{where}.{key}".lstrip(".")) for key, item in tree.items()))
