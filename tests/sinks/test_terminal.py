"""How text is cut and shown on a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.sinks.terminal import last_cells, live_line, printable, record_line, width
from tests.sinks.samples import record

texts = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab 日本語\u0301\u200d👩🏽")),
    max_size=60,
)


@pytest.fixture(autouse=True)
def in_tokyo_and_back() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "JST-9"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_a_record_is_local_time_text_and_where_it_comes_from() -> None:
    assert record_line(record(), colour=False) == "01:20:31  open the window  (pocketsphinx 0.93)"


def test_what_is_remarkable_about_a_record_is_said() -> None:
    line = record_line(
        record(delayed=True, truncated=True, continues=True, lost_ms=1234, confidence=None),
        colour=False,
    )
    assert line.endswith("(pocketsphinx, 1.2 s lost, delayed, truncated, continues)")


def test_time_and_remarks_are_dim_and_the_text_is_not() -> None:
    line = record_line(record(), colour=True)
    assert line == "\x1b[2m01:20:31\x1b[22m  open the window  \x1b[2m(pocketsphinx 0.93)\x1b[22m"


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [
        ("open the window", 15, "open the window"),
        ("open the window", 14, "…en the window"),
        ("open the window", 1, "…"),
        ("open the window", 0, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "…本語"),
        ("日本語", 4, "…語"),
        ("ae\u0301", 2, "ae\u0301"),
        ("xae\u0301", 2, "…e\u0301"),
        ("ae\u0301b", 2, "…b"),
        ("e\u0301abc", 4, "e\u0301abc"),
        ("e\u0301abcd", 4, "…bcd"),
    ],
)
def test_the_end_of_a_text_is_kept_and_wide_characters_are_counted(
    text: str, cells: int, shown: str
) -> None:
    assert last_cells(text, cells) == shown


@given(texts, st.integers(0, 80))
def test_a_cut_text_always_fits_and_is_the_end_of_the_whole(text: str, cells: int) -> None:
    text = printable(text)
    cut = last_cells(text, cells)
    assert width(cut) <= cells
    assert text.endswith(cut.removeprefix("…"))
    if width(text) <= cells:
        assert cut == text


@given(texts, st.integers(1, 80))
def test_a_live_line_never_fills_the_last_column_nor_leaves_its_line(
    text: str, columns: int
) -> None:
    line = live_line(text, columns, colour=False)
    assert width(line) <= max(0, columns - 1)
    assert not set(line) & {"\n", "\r", "\x1b", "\t"}


def test_characters_that_steer_a_terminal_are_made_visible() -> None:
    assert printable("a\x1b[2Jb\x9bc\x07\nd\te") == "a�[2Jb�c� d e"
    assert printable("naïve 窓 👩‍🚀") == "naïve 窓 👩‍🚀"
