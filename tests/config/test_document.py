"""What the loader says of files that are no YAML, or that mean harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from stt_edge.config.document import MAX_FILE_BYTES
from stt_edge.config.loader import load
from stt_edge.errors import ConfigError
from tests.config.schemas import PATH, PROVIDERS, SINKS, complaints, load_text, problems_in


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("audio:\n\tdevice: x", "2:1: not YAML: a tab, and YAML is indented with spaces"),
        ("node: a: b", "1:8: not YAML: put a value with ': ' in quotes"),
        ("node: @home", "1:7: not YAML: put the value in quotes"),
        ("audio: {device: a", "1:18: not YAML: a bracket is not closed"),
        ("audio: [", "1:9: not YAML: the file ends too early"),
        ("node: 'a", "1:9: not YAML: a quote is not closed"),
        ("node\naudio: {}", "2:6: not YAML: put a value with ': ' in quotes, or mend"),
        ("audio:\n  device: a\n channel: 0", "3:2: not YAML: the indentation does not fit"),
        ("node: *nobody", "1:7: not YAML: found undefined alias 'nobody'"),
        ("---\nnode: a\n---\nnode: b\n", "3:1: not YAML: a configuration is one document"),
        ("%YAML 3.0\n---\n", "1:1: not YAML: found incompatible YAML document"),
        ('node: "\\UFFFFFFFF"', "1:10: not YAML: an escape or a number far out of range"),
        (f"%YAML 1.{'9' * 5000}\n---\n", "1:9: not YAML: an escape or a number far out of range"),
        ("node: a\x07b", "1:8: not YAML: a character that may not stand in YAML (U+0007)"),
        (b"\xef\xbb\xbfnode: @", "1:7: not YAML: put the value in quotes"),
        (b"\xef\xbb\xbfnode: \xe4", "1:7: not YAML: byte 0xe4 is no UTF-8"),
        (b"node: a\nstore: \xe4", "2:8: not YAML: byte 0xe4 is no UTF-8; save the file as UTF-8"),
        ("node: a".encode("utf-16"), "1:1: not YAML: this is UTF-16; save the file as UTF-8"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str | bytes, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.startswith(complaint)


def test_a_file_of_any_binary_kind_is_no_yaml() -> None:
    assert complaints(b"RIFF\x24\x00\x00\x00WAVEfmt ")[0].startswith("1:6: not YAML: ")
    assert complaints(bytes(range(128, 256)))[0].startswith("1:1: not YAML: byte 0x80")


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    (problem,) = problems_in("#" * (MAX_FILE_BYTES + 1))
    assert str(problem) == f"{PATH}: larger than 128 KiB, which no configuration is"
    assert load_text("#" * MAX_FILE_BYTES).path == str(PATH)
    with pytest.raises(ConfigError, match="larger than"):
        load(Path("/dev/zero"), PROVIDERS, SINKS)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "&a ["])
def test_a_file_nested_without_end_is_refused(opening: str) -> None:
    assert any("not YAML" in found for found in complaints(opening * 6000))


def test_nesting_too_deep_is_told_with_its_place() -> None:
    (found,) = complaints("audio: " + "[" * 30 + "]" * 30)
    assert found == "1:30: not YAML: nested deeper than 24 levels"


def test_an_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 90)]
    assert len(complaints("\n".join(lines))) == 90


def test_merges_that_multiply_are_refused() -> None:
    lines = [f"k0: &k0 {{{', '.join(f'x{n}: 1' for n in range(30))}}}"]
    lines += [f"k{n}: &k{n} {{<<: [{', '.join([f'*k{n - 1}'] * 30)}]}}" for n in range(1, 20)]
    lines += ["audio: {<<: *k19}"]
    assert any("<< brings in too much" in found for found in complaints("\n".join(lines)))


def test_an_anchor_within_itself_is_nothing_but_a_wrong_type() -> None:
    assert complaints("audio: &a {device: *a}") == ["1:8: audio.device: expected str, got mapping"]


def test_a_large_list_is_read() -> None:
    phrases = ", ".join(f"phrase number {n}" for n in range(2000))
    config = load_text(f"providers: [{{name: pocketsphinx, phrases: [{phrases}]}}]")
    assert len(config.providers[0].options.phrases) == 2000
