from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.pocketsphinx import Options

SOMEBODY_ELSES = """
from dataclasses import dataclass
from stt_edge.providers.base import Capabilities, Provider

@dataclass(frozen=True)
class Options:
    greeting: str = "hello"

def build(name, options):
    return Provider(name, Capabilities(), None, None, model=options.greeting)
"""


@pytest.fixture
def add_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with two providers of its own, one of them broken."""
    (tmp_path / "elsewhere_stt.py").write_text(SOMEBODY_ELSES)
    (tmp_path / "broken_stt.py").write_text("import a_package_nobody_has")
    (tmp_path / "empty_stt.py").write_text("")
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[stt_edge.providers]\n"
        "elsewhere = elsewhere_stt\nbroken = broken_stt\nempty = empty_stt\n"
        "pocketsphinx = elsewhere_stt\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("elsewhere_stt", "broken_stt", "empty_stt"):
        sys.modules.pop(name, None)


def test_the_embedded_engine_is_there() -> None:
    assert "pocketsphinx" in registry.names()
    assert registry.options("pocketsphinx") is Options


def test_nobody_knows_a_provider_of_that_name() -> None:
    assert registry.options("pocketsphynx") is None
    with pytest.raises(ProviderError, match="Did you mean pocketsphinx") as caught:
        registry.build("mine", "pocketsphynx", None)
    assert caught.value.kind is FailureKind.SETUP
    with pytest.raises(ProviderError, match=r"There are: .*pocketsphinx"):
        registry.build("mine", "zzz", None)


@pytest.mark.usefixtures("add_package")
def test_an_installed_package_can_add_a_provider_but_not_replace_one() -> None:
    assert "elsewhere" in registry.names()
    kind = registry.options("elsewhere")
    assert kind is not None
    assert registry.build("mine", "elsewhere", kind("hi")).model == "hi"
    assert registry.build("mine", "elsewhere", None).model == "hello"
    assert registry.options("pocketsphinx") is Options


@pytest.mark.usefixtures("add_package")
def test_a_broken_package_says_what_it_lacks() -> None:
    with pytest.raises(ProviderError, match="a_package_nobody_has is not installed") as caught:
        registry.options("broken")
    assert caught.value.kind is FailureKind.SETUP
    with pytest.raises(ProviderError, match="empty_stt has no Options and build"):
        registry.options("empty")


@pytest.mark.usefixtures("add_package")
def test_a_program_can_register_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("mine", "elsewhere_stt")
    assert "mine" in registry.names()
    assert registry.build("m", "mine", None).name == "m"


def run(script: str) -> str:
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_neither_naming_nor_building_a_provider_loads_its_engine() -> None:
    assert (
        run(
            "import sys\n"
            "from stt_edge.providers import registry\n"
            "assert 'stt_edge.providers.pocketsphinx' not in sys.modules\n"
            "registry.build('p', 'pocketsphinx', registry.options('pocketsphinx')())\n"
            "print('pocketsphinx' in sys.modules)"
        )
        == "False"
    )


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    said = run(
        "import sys\n"
        "sys.modules['pocketsphinx'] = None\n"
        "from stt_edge.errors import ProviderError\n"
        "from stt_edge.providers import registry\n"
        "options = registry.options('pocketsphinx')(phrases=('turn on',))\n"
        "assert not list(options.problems())\n"
        "try: registry.build('mine', 'pocketsphinx', options)\n"
        "except ProviderError as error: print(error.kind, error)"
    )
    assert said.startswith("setup The provider mine needs the package pocketsphinx")
    assert 'pip install "stt-edge[pocketsphinx]"' in said
