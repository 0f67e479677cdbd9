"""The registry of sinks: what there is, built when it is asked for and imported no sooner."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path

import pytest

from stt_edge.config.schema import keys_of
from stt_edge.errors import UnavailableError
from stt_edge.sinks import registry
from stt_edge.sinks.base import Sink, SinkContext
from tests.sinks.namespaces import run_python

CONTEXT = SinkContext(logs_directory=Path("/nowhere"))


def test_every_name_has_options_that_a_configuration_can_hold() -> None:
    assert registry.names() == ["journal", "jsonl", "mqtt", "stdout"]
    for name in registry.names():
        options = registry.options(name)
        assert options is not None
        assert is_dataclass(options)
        assert all(key.option.doc for key in keys_of(options))


def test_an_unknown_name_has_no_options_and_cannot_be_built() -> None:
    assert registry.options("json") is None
    with pytest.raises(UnavailableError, match=r"no sink named 'json'\. Did you mean jsonl\?"):
        registry.build("json", None, CONTEXT)
    with pytest.raises(UnavailableError, match="There are: journal, jsonl, mqtt, stdout"):
        registry.build("kafka", None, CONTEXT)


def test_a_sink_goes_by_the_name_it_is_registered_under() -> None:
    for name in ("jsonl", "mqtt", "stdout"):
        sink = registry.build(name, None, CONTEXT)
        assert isinstance(sink, Sink)
        assert sink.name == name


def test_naming_sinks_imports_none_of_them_and_options_import_no_library() -> None:
    code = (
        "import sys; from stt_edge.sinks import registry; registry.names();"
        "print(*[m for m in sys.modules if m.startswith('stt_edge.sinks.')]);"
        "[registry.options(n) for n in registry.names()];"
        "print(*[m for m in ('systemd', 'unicodedata', 'aiomqtt', 'paho') if m in sys.modules])"
    )
    done = run_python(code)
    imported, libraries = done.stdout.split("\n")[:2]
    assert set(imported.split()) == {"stt_edge.sinks.base", "stt_edge.sinks.registry"}
    assert libraries == ""
