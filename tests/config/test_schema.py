"""What the schema reads out of dataclasses."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from stt_edge.config.schema import Option, keys_of, option
from stt_edge.config.settings import AudioSection, Config
from tests.config.schemas import EngineOptions, Retry


def test_the_keys_of_a_section_are_its_declared_fields_in_their_order() -> None:
    names = [key.name for key in keys_of(EngineOptions)]
    assert names == ["language", "phrases", "grammar", "idle_unload_s", "beam", "adapt", "retry"]


def test_fields_without_an_option_are_none_of_the_files_business() -> None:
    assert {"path", "providers", "sinks"}.isdisjoint(key.name for key in keys_of(Config))


def test_types_are_told_apart_and_named_for_people() -> None:
    keys = {key.name: key for key in (*keys_of(EngineOptions), *keys_of(AudioSection))}
    assert keys["grammar"].optional
    assert not keys["language"].optional
    assert keys["retry"].nested is Retry
    assert {name: keys[name].expected for name in ("phrases", "grammar", "beam", "channel")} == {
        "phrases": "list of str",
        "grammar": "str",
        "beam": "float or str",
        "channel": "int or str",
    }
    assert keys["retry"].expected == "mapping"
    assert keys["command"].expected == "list of str"


def test_an_option_carries_what_was_declared_of_it() -> None:
    (key,) = keys_of(Retry)
    assert key.option == Option(doc="how often", minimum=1, maximum=9)


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Has a type that no configuration file can hold."""

    when: bytes = option(None, doc="never")


def test_a_type_that_a_file_cannot_hold_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="option when: a configuration file cannot hold"):
        keys_of(Unwritable)


def test_the_settings_need_nothing_heavy() -> None:
    script = (
        "import sys; import stt_edge.config.loader; "
        "print(*sorted({'yaml', 'asyncio', 'sounddevice', 'ssl', 'logging', 'difflib', 'socket'} "
        "& set(sys.modules)), *(m for m in sys.modules if m.startswith(('stt_edge.providers', "
        "'stt_edge.sinks'))))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert output.stdout.strip() == ""


def test_every_default_is_within_its_own_bounds() -> None:
    for section in keys_of(Config):
        for key in keys_of(section.nested) if section.nested else ():
            assert section.nested is not None
            value = getattr(section.nested(), key.name)
            known = key.option
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert known.minimum is None or known.minimum <= value
                assert known.maximum is None or value <= known.maximum
            if isinstance(value, str) and known.choices:
                assert value in known.choices
