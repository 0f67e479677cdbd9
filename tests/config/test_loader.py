"""What the loader makes of good files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.config.loader import default_sinks, load, loads
from stt_edge.config.settings import AudioSection, Config, ProviderEntry, VadSection
from stt_edge.errors import ConfigError, PermissionDeniedError
from tests.config.schemas import (
    PATH,
    PROVIDERS,
    SINKS,
    CloudOptions,
    EngineOptions,
    FileOptions,
    Registry,
    Retry,
    load_text,
)

DEFAULTS = replace(
    Config(), providers=(ProviderEntry("pocketsphinx", "pocketsphinx", EngineOptions()),)
)


def test_without_a_file_everything_has_its_default() -> None:
    assert load(None, PROVIDERS, SINKS) == DEFAULTS
    assert DEFAULTS.path is None


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# only a comment\n", "---\n", "---\n...\n", "{}", "null", "audio:\nvad:\nsinks:\n"],
)
def test_a_file_that_says_nothing_gives_the_defaults(text: str) -> None:
    assert load_text(text) == replace(DEFAULTS, path=str(PATH))


def test_keys_replace_defaults_and_leave_the_others_alone() -> None:
    config = load_text(
        "node: kitchen\naudio: {device: 'hw:1', block_ms: 40}\nvad:\n  confirm: none"
    )
    assert config.node == "kitchen"
    assert config.audio == AudioSection(device="hw:1", block_ms=40)
    assert config.vad == VadSection(confirm="none")
    assert config.session == DEFAULTS.session


@pytest.mark.parametrize(
    ("written", "value"),
    [("100", 100), ("1_00", 100), ("0x64", 100), ("0b1100100", 100), ("!!int 100", 100)],
)
def test_whole_numbers_may_be_written_as_yaml_has_them(written: str, value: int) -> None:
    assert load_text(f"audio: {{block_ms: {written}}}").audio.block_ms == value


@pytest.mark.parametrize(
    ("written", "value"), [("30", 30.0), ("30.5", 30.5), ("3e1", 30.0), ("+3.0e+1", 30.0)]
)
def test_numbers_may_be_whole_or_have_a_fraction_or_an_exponent(written: str, value: float) -> None:
    read = load_text(f"audio: {{first_block_s: {written}}}").audio.first_block_s
    assert (read, type(read)) == (value, float)


@pytest.mark.parametrize(
    ("written", "value"), [("true", True), ("yes", True), ("On", True), ("off", False)]
)
def test_a_switch_may_be_written_in_every_way_yaml_knows(written: str, value: bool) -> None:
    config = load_text(f"providers: [{{name: pocketsphinx, adapt: {written}}}]")
    assert config.providers[0].options.adapt is value


def test_a_number_or_one_of_some_words_keeps_its_type() -> None:
    assert load_text("audio: {channel: 1}").audio.channel == 1
    assert load_text("audio: {channel: mix}").audio.channel == "mix"
    assert load_text("session: {hold_s: 5}").session.hold_s == 5.0
    assert load_text("session: {hold_s: auto}").session.hold_s == "auto"


def test_null_is_a_value_where_nothing_is_one() -> None:
    assert load_text("audio: {file: null, command: ~}").audio == AudioSection()


def test_quotes_make_a_text_of_what_yaml_would_read_otherwise() -> None:
    config = load_text("providers: [{name: pocketsphinx, phrases: ['yes', \"no\", '1:30', '07']}]")
    assert config.providers[0].options.phrases == ("yes", "no", "1:30", "07")


def test_a_date_is_a_text() -> None:
    assert load_text("node: 2026-11-20").node == "2026-11-20"


def test_file_names_count_from_the_directory_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    path = tmp_path / "stt.yaml"
    text = "audio: {file: a.wav}\nproviders: [{name: pocketsphinx, grammar: ~/g.jsgf}]"
    config = loads(text.encode(), path, PROVIDERS, SINKS)
    assert config.audio.file == str(tmp_path / "a.wav")
    assert config.providers[0].options.grammar == "/home/ada/g.jsgf"
    assert load_text("sinks: {jsonl: {path: /a/b}}").sinks[0].options.path == "/a/b"  # type: ignore[index]


def test_a_relative_path_on_the_command_line_makes_file_names_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = loads(b"audio: {file: a.wav}", Path("stt.yaml"), PROVIDERS, SINKS)
    assert config.audio.file == str(tmp_path / "a.wav")
    assert config.path == "stt.yaml"


def test_providers_keep_their_order_and_the_second_of_a_kind_has_a_name_of_its_own() -> None:
    config = load_text(
        "providers:\n"
        "  - {name: cloud, api_key_file: cloud-key}\n"
        "  - {name: commands, kind: pocketsphinx, retry: {attempts: 5}}\n"
        "  - name: pocketsphinx\n"
    )
    assert config.providers == (
        ProviderEntry("cloud", "cloud", CloudOptions(api_key_file="cloud-key")),
        ProviderEntry("commands", "pocketsphinx", EngineOptions(retry=Retry(attempts=5))),
        ProviderEntry("pocketsphinx", "pocketsphinx", EngineOptions()),
    )


def test_a_sink_that_is_named_is_on_and_no_sinks_at_all_can_be_asked_for() -> None:
    config = load_text("sinks:\n  jsonl: {mode: 0x180}\n  journal:\n")
    assert config.sinks is not None
    assert [entry.name for entry in config.sinks] == ["jsonl", "journal"]
    assert config.sinks[0].options == FileOptions(mode=0o600)
    assert load_text("sinks: {}").sinks == ()


def test_without_sinks_in_the_file_the_choice_is_left_open() -> None:
    assert load_text("node: a").sinks is None
    chosen = [
        [entry.name for entry in default_sinks(SINKS, under_systemd=under)]
        for under in (True, False)
    ]
    assert chosen == [["journal", "jsonl"], ["stdout", "jsonl"]]


def test_default_providers_are_only_those_there_are() -> None:
    assert load(None, Registry(), SINKS).providers == ()


def test_merge_keys_bring_in_what_is_not_written_and_the_first_source_wins() -> None:
    config = load_text(
        "providers:\n"
        "  - &one {name: cloud, pin: a, url: b}\n"
        "  - &two {<<: *one, name: two, kind: cloud, pin: c}\n"
        "  - {<<: [*two, *one], name: three}\n"
    )
    assert [entry.options.pin for entry in config.providers] == ["a", "c", "c"]
    assert [entry.options.url for entry in config.providers] == ["b", "b", "b"]


def test_an_alias_stands_for_its_anchor() -> None:
    config = load_text("node: &name den\naudio: {device: *name}")
    assert config.audio.device == "den"


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter() -> None:
    assert (
        load_text(b"\xef\xbb\xbfnode: a\r\nvad:\r\n  hangover_ms: 500\r\n").vad.hangover_ms == 500
    )


def test_a_missing_file_that_was_named_is_an_error_without_a_place(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    with pytest.raises(ConfigError) as caught:
        load(path, PROVIDERS, SINKS)
    assert str(caught.value) == f"{path}: no such file or directory"
    assert caught.value.exit_code == 78


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, PROVIDERS, SINKS)


def test_an_unreadable_file_is_a_matter_of_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # root may read every file, so the refusal is made here
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionDeniedError) as caught:
        load(tmp_path / "stt.yaml", PROVIDERS, SINKS)
    assert caught.value.exit_code == 77
    assert caught.value.remedy
