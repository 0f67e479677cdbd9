"""What holds for the loader whatever is in the file."""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stt_edge.config.schema import keys_of
from stt_edge.config.settings import Config
from stt_edge.errors import ConfigError, ConfigProblem
from tests.config.schemas import PATH, PROVIDERS, SINKS, CloudOptions, EngineOptions, load_text

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

KEY_NAMES = sorted(
    {key.name for section in (Config, EngineOptions, CloudOptions) for key in keys_of(section)}
    | {key.name for section in keys_of(Config) if section.nested for key in keys_of(section.nested)}
    | {"providers", "sinks", "name", "kind", "<<", *PROVIDERS.names(), *SINKS.names()}
)
GOOD = """\
node: &n kitchen
audio: {device: *n, block_ms: 40, command: [a, 'b', "c\\n"]}
vad:
  confirm: none   # comment
providers:
  - &p
    name: cloud
    url: >-
      folded
      text
  - {<<: *p, name: two, kind: cloud}
sinks:
  ? jsonl
  : {path: ~/x, mode: 0x1A0}
"""
YAML_LIKE = st.text(
    st.one_of(
        st.sampled_from(" \n\t:-?,[]{}#&*!|>'\"%@`\\~<=.0123456789abnouxUey_\0\x85\ufeff\u2028"),
        st.characters(),
    ),
    max_size=60,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["no", "1:30", "007", "auto", "mix", "0x10", "pocketsphinx", "cloud", "1e3"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEY_NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


def check(data: bytes) -> None:
    """Load a file; it is good, or every problem is one printable line with a place in it."""
    problems: tuple[ConfigProblem, ...] = ()
    try:
        config = load_text(data)
    except ConfigError as error:
        problems = error.problems
    else:
        assert config.path == str(PATH)
        return
    assert problems
    for problem in problems:
        check_problem(problem, data)


def check_problem(problem: ConfigProblem, data: bytes) -> None:
    assert problem.path == str(PATH)
    assert str(problem).isprintable()
    if problem.line == 0:
        assert "problems are shown" in problem.message
        return
    lines = LINE_BREAK.split(data.decode("utf-8-sig", "replace"))
    assert 1 <= problem.line <= len(lines)
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1


@PATIENT
@given(st.binary(max_size=80))
@example(b"\xff\xfe")
@example(b'"\\UFFFFFFFF"')
@example(b"? - x")
def test_any_bytes_are_a_configuration_or_a_configuration_error(data: bytes) -> None:
    check(data)


@PATIENT
@given(YAML_LIKE)
@example("!!int")
@example('a: !!bool "\\e"')
@example("node: !<tag:yaml.org,2002:int> \x85")
@example("%YAML 1." + "9" * 5000 + "\n--- a")
@example("sinks: {jsonl: {path: ~\\0}}")
@example("audio: {file: ~nobody-of-that-name/x}")
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@PATIENT
@given(st.integers(0, len(GOOD)), st.integers(0, 12), YAML_LIKE)
def test_a_good_file_with_a_passage_replaced_is_good_or_a_configuration_error(
    at: int, length: int, text: str
) -> None:
    check((GOOD[:at] + text + GOOD[at + length :]).encode("utf-8", "surrogatepass"))


@PATIENT
@given(st.dictionaries(st.sampled_from(KEY_NAMES), TREES, max_size=6), st.booleans())
def test_any_tree_is_a_configuration_or_a_configuration_error(
    tree: dict[str, Any], flow: bool
) -> None:
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=flow)
    check(text.encode("utf-8", "surrogatepass"))


def test_the_file_that_is_damaged_above_is_good() -> None:
    assert [entry.name for entry in load_text(GOOD).providers] == ["cloud", "two"]
