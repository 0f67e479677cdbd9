"""Reading JSON of somebody else's: a value of the type asked for, or MalformedError."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.providers import json_fields
from stt_edge.providers.json_fields import (
    Fields,
    MalformedError,
    parse_object,
    seconds_to_samples,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
READERS: dict[str, tuple[Callable[[Fields], Any], type | tuple[type, ...]]] = {
    "text": (lambda fields: fields.text("x"), str),
    "number": (lambda fields: fields.number("x"), (float, type(None))),
    "flag": (lambda fields: fields.flag("x"), bool),
    "section": (lambda fields: fields.section("x"), Fields),
    "items": (lambda fields: fields.items("x"), list),
    "texts": (lambda fields: fields.texts("x"), list),
}


@pytest.mark.parametrize("reader", READERS)
@given(value=ANYTHING)
def test_a_value_has_the_type_that_was_asked_for_or_is_malformed(reader: str, value: Any) -> None:
    read, kind = READERS[reader]
    try:
        found = read(Fields({"x": value}))
    except MalformedError:
        assert value is not None
    else:
        assert isinstance(found, kind)
        assert not isinstance(found, float) or math.isfinite(found)


@pytest.mark.parametrize("reader", READERS)
def test_absent_and_null_are_alike(reader: str) -> None:
    read, _ = READERS[reader]
    absent, null = read(Fields({})), read(Fields({"x": None}))
    assert bool(absent) is bool(null) is False
    assert "x" not in Fields({})
    assert "x" not in Fields({"x": None})
    assert "x" in Fields({"x": 0})


def test_values_are_what_was_sent() -> None:
    fields = parse_object(
        '{"t": "þ", "n": 2, "f": true, "s": {"a": 1.5}, "i": [{"a": 1}, {}], "l": ["a", ""]}'
    )
    assert fields.text("t") == "þ"
    assert fields.text("u", "default") == "default"
    assert fields.number("n") == 2.0
    assert fields.flag("f") is True
    assert fields.section("s").number("a") == 1.5
    assert [item.number("a") for item in fields.items("i")] == [1.0, None]
    assert fields.texts("l") == ["a", ""]
    assert fields
    assert not Fields({})


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (Fields.text, 1),
        (Fields.text, ["a"]),
        (Fields.number, "1.5"),
        (Fields.number, True),
        (Fields.number, math.nan),
        (Fields.number, -math.inf),
        (Fields.number, 10**400),
        (Fields.flag, 1),
        (Fields.flag, "true"),
        (Fields.section, []),
        (Fields.items, {}),
        (Fields.items, [1]),
        (Fields.items, [None]),
        (Fields.items, [{}, "a"]),
        (Fields.texts, "ab"),
        (Fields.texts, ["a", None]),
    ],
)
def test_a_value_of_another_type_is_malformed(
    read: Callable[[Fields, str], Any], value: Any
) -> None:
    with pytest.raises(MalformedError, match="thing "):
        read(Fields({"thing": value}), "thing")


def test_what_was_said_is_not_in_the_error() -> None:
    with pytest.raises(MalformedError) as caught:
        Fields({"x": "hush-hush"}).number("x")
    assert "hush" not in str(caught.value)


def test_a_list_without_end_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_fields, "_MOST_ITEMS", 3)
    assert len(Fields({"x": [{}] * 3}).items("x")) == 3
    for read in (Fields.items, Fields.texts):
        with pytest.raises(MalformedError, match="too long"):
            read(Fields({"x": ["a"] * 4}), "x")


@given(st.binary() | st.text() | ANYTHING.map(json.dumps))
def test_any_message_is_an_object_or_malformed(message: str | bytes) -> None:
    try:
        found = parse_object(message)
    except MalformedError:
        return
    assert isinstance(found, Fields)
    assert isinstance(json.loads(message), dict)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "null",
        '"x"',
        "{",
        "{} {}",
        b"\xff\xfe\xfd",
        '{"a": ' * 200_000,
        "[" * 200_000,
        '{"a": ' + "9" * 10_000 + "}",
        "\ufeff{}",
    ],
    ids=lambda message: repr(message[:12]),
)
def test_what_is_no_object_is_malformed(message: str | bytes) -> None:
    with pytest.raises(MalformedError):
        parse_object(message)


@given(st.dictionaries(st.text(), ANYTHING))
def test_an_object_is_read_back_as_text_and_as_bytes(values: dict[str, Any]) -> None:
    text = json.dumps(values)
    assert repr(parse_object(text)._values) == repr(json.loads(text))
    assert repr(parse_object(text.encode())._values) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("seconds", "samples"),
    [(None, None), (0.0, 0), (-0.0, 0), (1.0, 16_000), (0.00001, 0), (1e7, 160_000_000_000)],
)
def test_seconds_become_samples(seconds: float | None, samples: int | None) -> None:
    assert seconds_to_samples(seconds) == samples


@given(st.floats())
def test_seconds_are_samples_within_half_a_sample_or_malformed(seconds: float) -> None:
    try:
        samples = seconds_to_samples(seconds)
    except MalformedError:
        assert not 0 <= seconds <= 1e7
    else:
        assert samples is not None
        assert abs(samples - seconds * 16_000) <= 0.5
