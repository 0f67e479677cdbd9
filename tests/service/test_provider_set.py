"""The providers of a configuration: built once each, kept over a reload, and checked together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stt_edge.config.settings import BudgetSection, Config, ProviderEntry, SessionSection
from stt_edge.errors import ConfigError, ProviderError, SttEdgeError
from stt_edge.providers import registry
from stt_edge.service.provider_set import ProviderSet, session_rules
from stt_edge.session.budget import Budget


def entry(name: str, kind: str, **options: Any) -> ProviderEntry:
    known = registry.options(kind)
    assert known is not None
    return ProviderEntry(name, kind, known(**options))


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text("k-1234567\n")
    return str(tmp_path / "key")


def test_a_reload_keeps_what_has_not_changed(key: str) -> None:
    one = entry("one", "deepgram", api_key_file=key)
    two = entry("two", "deepgram", api_key_file=key)
    made = ProviderSet()
    assert made.apply(Config(providers=(one, two))) == []
    first, second = made.providers
    assert (first.name, second.name) == ("one", "two")
    changed = entry("one", "deepgram", api_key_file=key, language="is")
    assert made.apply(Config(providers=(two, changed))) == [first]
    assert made.providers[0] is second
    assert made.providers[1].language == "is"


def test_when_one_cannot_be_built_all_stay_as_they_were(key: str) -> None:
    made = ProviderSet()
    made.apply(Config(providers=(entry("one", "deepgram", api_key_file=key),)))
    before = made.providers
    bad = entry("off", "vosk", model="/nowhere/at/all")
    with pytest.raises(ProviderError):
        made.apply(Config(providers=(bad,)))
    with pytest.raises(SttEdgeError, match="no provider"):
        made.apply(Config(providers=()))
    assert made.providers == before


def test_utterances_longer_than_a_provider_takes_are_no_configuration(key: str) -> None:
    rest = entry("rest", "google_rest", api_key_file=key)
    config = Config(providers=(rest,), path="/etc/stt-edge.yaml")
    ProviderSet().apply(config)
    with pytest.raises(ConfigError, match=r"rest takes at most 60 s; write 60 or less"):
        ProviderSet().apply(replace(config, vad=replace(config.vad, max_utterance_s=90.0)))


def test_the_file_says_how_sessions_go() -> None:
    config = Config(
        session=SessionSection(connect="confirmed", hold_s=4.0),
        fallback="keep",
        budget=BudgetSection(seconds_per_day=60.0),
    )
    rules = session_rules(config)
    assert (rules.connect_early, rules.hold_s, rules.keep_for_first) == (False, 4.0, True)
    assert rules.budget == Budget(seconds_per_day=60.0)
    assert session_rules(Config()).hold_s is None
