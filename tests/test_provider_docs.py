"""docs/providers.md: every provider and every option is in it, and what it says to write loads."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from stt_edge.config.loader import loads
from stt_edge.config.schema import keys_of
from stt_edge.errors import ConfigError
from stt_edge.providers import registry
from stt_edge.providers.options import KeyOptions
from stt_edge.sinks import registry as sinks

TEXT: Final = (Path(__file__).parents[1] / "docs" / "providers.md").read_text(encoding="utf-8")
HEADING: Final = re.compile(r"^## .*\((\w+)\)$", re.MULTILINE)
BLOCK: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMON: Final = frozenset(key.name for key in keys_of(KeyOptions))


@cache
def sections() -> dict[str, str]:
    """The text of each provider's section."""
    found = list(HEADING.finditer(TEXT))
    ends = [match.start() for match in found[1:]] + [len(TEXT)]
    return {match[1]: TEXT[match.end() : end] for match, end in zip(found, ends, strict=True)}


def test_every_provider_has_a_section_and_a_row() -> None:
    ours = {name for name in registry.names() if name in registry._MODULES}
    assert set(sections()) == ours
    for name in ours:
        assert re.search(rf"\[{name}\]\(#", TEXT), f"{name} is not in the overview"


@pytest.mark.parametrize("name", sorted(registry._MODULES))
def test_every_option_of_a_provider_is_explained(name: str) -> None:
    options = registry.options(name)
    assert options is not None
    section = sections()[name]
    for key in keys_of(options):
        if key.name not in COMMON:
            assert f"`{key.name}`" in section, f"{name}: {key.name} is not explained"


@pytest.mark.parametrize("at", range(len(BLOCK.findall(TEXT))))
def test_what_it_says_to_write_loads(at: int, tmp_path: Path) -> None:
    block = BLOCK.findall(TEXT)[at]
    path = tmp_path / "stt-edge.yaml"
    if re.search(r"name: (vosk|sherpa)$", block, re.MULTILINE):
        with pytest.raises(ConfigError, match="model") as caught:  # it has to be fetched first
            loads(block.encode(), path, registry, sinks)
        assert len(caught.value.problems) == 1
    else:
        assert loads(block.encode(), path, registry, sinks).providers


def test_links_within_it_lead_somewhere() -> None:
    def anchor(heading: str) -> str:
        return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert target in anchors
