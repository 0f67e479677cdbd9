"""The effective configuration as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stt_edge.config.loader import load
from stt_edge.config.render import MASK, as_mapping, as_text
from stt_edge.config.settings import AudioSection, Config
from tests.config.schemas import PROVIDERS, SINKS, load_text

WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda text: bool(text.strip()))


def test_the_text_is_yaml_in_the_shape_of_the_file() -> None:
    config = load_text(
        "node: kitchen\n"
        "audio: {command: [arecord, -t, raw]}\n"
        "providers: [{name: commands, kind: pocketsphinx, phrases: ['on', go away]}]\n"
        "sinks: {journal: {}, jsonl: {path: /var/log/a b.jsonl}}\n"
    )
    lines = as_text(config).splitlines()
    assert lines[0] == "# /etc/stt-edge.yaml"
    assert lines[1] == "node: kitchen"
    assert '  command: [arecord, "-t", raw]' in lines
    at = lines.index("providers:")
    assert lines[at : at + 11] == [
        "providers:",
        "  - name: commands",
        "    kind: pocketsphinx",
        "    language: en",
        '    phrases: ["on", "go away"]',
        "    grammar: null",
        "    idle_unload_s: 120.0",
        "    beam: auto",
        "    adapt: false",
        "    retry:",
        "      attempts: 3",
    ]
    at = lines.index("sinks:")
    assert lines[at : at + 4] == [
        "sinks:",
        "  journal: {}",
        "  jsonl:",
        '    path: "/var/log/a b.jsonl"',
    ]


def test_without_a_file_the_text_says_so() -> None:
    assert as_text(load(None, PROVIDERS, SINKS)).startswith("# no configuration file: defaults\n")


def test_what_is_printed_can_be_loaded_again() -> None:
    first = load_text("node: a\naudio: {channel: mix}\nsinks: {jsonl: {path: /x}}\n")
    assert load_text(as_text(first)) == first


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORDS, st.lists(WORDS, min_size=1, max_size=3), st.floats(1, 600))
@example("no", ["1:30", "~", "null", "- a", "#", "0x10", "=", "<<"], 1e-5 + 1)
@example("a\x7f\u200d😀\ufeff\x85 ", ["a\u2028", '"', "'", "\\", "{}", "x: y"], 1.5e2)
def test_any_text_and_number_survives_being_printed_and_loaded(
    device: str, command: list[str], first_block_s: float
) -> None:
    audio = AudioSection(device=device, command=tuple(command), first_block_s=first_block_s)
    config = replace(load_text(""), audio=audio)
    assert load_text(as_text(config)) == config
    assert json.loads(json.dumps(as_mapping(config)))["audio"]["device"] == device


def test_what_is_declared_secret_is_masked_when_it_is_set() -> None:
    set_, unset = (
        as_mapping(load_text(f"providers: [{{name: cloud{pin}}}]"))["providers"][0]
        for pin in (", pin: hunter2", "")
    )
    assert set_["pin"] == MASK
    assert unset["pin"] is None


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("wss://ada:hunter2@host/v1", f"wss://ada:{MASK}@host/v1"),
        ("wss://:hunter2@host", f"wss://:{MASK}@host"),
        ("wss://ada:hun@ter2@host/v1", f"wss://ada:{MASK}@host/v1"),
        ("wss://ada@host:443/v1?model=a@b", "wss://ada@host:443/v1?model=a@b"),
        ("wss://host/v1?a=1&api_key=hunter2&b=2", f"wss://host/v1?a=1&api_key={MASK}&b=2"),
        ("wss://host/?X-Amz-Signature=hunter2", f"wss://host/?X-Amz-Signature={MASK}"),
    ],
)
def test_passwords_within_urls_are_masked_wherever_they_stand(written: str, shown: str) -> None:
    config = load_text(
        f"audio: {{command: [ffmpeg, '{written}']}}\nproviders: [{{name: cloud, url: '{written}'}}]"
    )
    body: dict[str, Any] = as_mapping(config)
    assert body["providers"][0]["url"] == shown
    assert body["audio"]["command"][1] == shown
    assert "hunter2" not in as_text(config)


def test_sinks_that_nobody_chose_are_null() -> None:
    assert as_mapping(load_text(""))["sinks"] is None
    assert as_mapping(load_text("sinks: {}"))["sinks"] == {}


def test_every_section_is_there_in_the_order_of_the_file() -> None:
    assert list(as_mapping(Config())) == [
        "node",
        "audio",
        "vad",
        "session",
        "providers",
        "fallback",
        "budget",
        "spool",
        "store",
        "metrics",
        "sinks",
    ]
