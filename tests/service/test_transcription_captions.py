"""Records as captions: where cues are cut, and that both formats say what was said."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stt_edge.model import SAMPLE_RATE, Record, Word
from stt_edge.service.captions import CUE_CHARACTERS, LINE_CHARACTERS, cues_of, srt, vtt

START = datetime(2026, 11, 20, tzinfo=UTC)
TIME = r"(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})"


def record(text: str, *words: tuple[str, float, float], start: float = 0, end: float = 5) -> Record:
    return Record(
        id="r",
        stream="s",
        start=START,
        end=START,
        start_sample=round(start * SAMPLE_RATE),
        end_sample=round(end * SAMPLE_RATE),
        text=text,
        provider="p",
        node="n",
        duration_ms=0,
        speech_ms=0,
        words=tuple(
            Word(word, round(since * SAMPLE_RATE), round(until * SAMPLE_RATE))
            for word, since, until in words
        ),
    )


def evenly(text: str, each_s: float = 0.4) -> Record:
    words = [(word, at * each_s, (at + 1) * each_s) for at, word in enumerate(text.split())]
    return record(text, *words, end=len(words) * each_s)


def test_without_word_times_a_record_is_one_cue() -> None:
    (cue,) = cues_of([record("go somewhere and do something", start=1.5, end=3.25)])
    assert (cue.start_ms, cue.end_ms) == (1500, 3250)
    assert cue.lines == ("go somewhere and do something",)


def test_a_long_text_is_wrapped_between_words() -> None:
    (cue,) = cues_of([record(" ".join(["something"] * 20))])
    assert len(cue.lines) > 2
    assert all(len(line) <= LINE_CHARACTERS for line in cue.lines)
    assert " ".join(cue.lines) == " ".join(["something"] * 20)


def test_with_word_times_a_cue_is_at_most_seven_seconds_and_two_lines() -> None:
    slow = evenly(" ".join(["so"] * 40), each_s=1.0)
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in cues_of([slow]))
    fast = evenly(" ".join(["considerable"] * 40), each_s=0.1)
    for cue in cues_of([fast]):
        assert len(cue.lines) <= 2
        assert len(" ".join(cue.lines)) <= CUE_CHARACTERS


def test_a_pause_between_words_begins_a_new_cue() -> None:
    cues = cues_of([record("yes no", ("yes", 0, 0.4), ("no", 4, 4.5))])
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in cues] == [
        (0, 400, ("yes",)),
        (4000, 4500, ("no",)),
    ]


def test_cues_have_the_punctuation_of_the_text() -> None:
    said = record("“Yes,” he said. No!", ("yes", 0, 1), ("he", 1, 2), ("said", 5, 6), ("no", 9, 10))
    assert [cue.lines for cue in cues_of([said])] == [("“Yes,” he",), ("said.",), ("No!",)]


def test_a_language_without_spaces_gets_none() -> None:
    thai = record("สวัสดีครับ", ("สวัสดี", 0, 1), ("ครับ", 1, 2))
    assert [cue.lines for cue in cues_of([thai])] == [("สวัสดีครับ",)]


def test_words_that_are_not_those_of_the_text_stand_for_it() -> None:
    said = record("it is 5 o'clock", ("five", 0, 1), ("o'clock", 1, 2))
    assert [cue.lines for cue in cues_of([said])] == [("five o'clock",)]


def test_cues_come_in_order_and_do_not_overlap() -> None:
    cues = cues_of([record("later", start=4, end=6), record("first", start=1, end=5)])
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(1000, 4000), (4000, 6000)]


def test_srt_has_numbers_and_commas() -> None:
    text = srt(cues_of([record("one", start=0, end=1), record("Þjóð", start=2, end=3.0625)]))
    assert text == (
        "1\n00:00:00,000 --> 00:00:01,000\none\n\n2\n00:00:02,000 --> 00:00:03,062\nÞjóð\n"
    )


def test_hours_may_be_more_than_99() -> None:
    cues = cues_of([record("late", start=360_000, end=360_001)])
    assert "100:00:00,000 --> 100:00:01,000" in srt(cues)
    assert "100:00:00.000 --> 100:00:01.000" in vtt(cues)


def test_nothing_said_is_a_file_without_cues() -> None:
    assert srt(cues_of([])) == ""
    assert vtt(cues_of([])) == "WEBVTT\n"
    assert vtt(cues_of([record(" ")])) == "WEBVTT\n"


def test_nothing_that_was_said_is_taken_for_the_format() -> None:
    cues = cues_of([record("a --> b\n\n<i>c & d</i>\x00e\u2028f")])
    assert vtt(cues).endswith("\na --&gt; b &lt;i&gt;c &amp; d&lt;/i&gt; e f\n")
    assert srt(cues).count("-->") == 1
    assert len(srt(cues).strip().splitlines()) == 3


WORDS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=30),
        st.integers(0, 3_000_000),
        st.integers(0, 200_000),
    ),
    max_size=30,
)


@given(st.text(max_size=300), WORDS, st.integers(0, 10_000_000))
def test_whatever_was_said_both_formats_are_well_formed(
    text: str, words: list[tuple[str, int, int]], start: int
) -> None:
    said = record(text or "x", start=start / SAMPLE_RATE, end=(start + 9) / SAMPLE_RATE)
    timed = record(
        " ".join(word for word, _, _ in words),
        *((word, at / SAMPLE_RATE, (at + long) / SAMPLE_RATE) for word, at, long in words),
    )
    cues = cues_of([said, timed])
    ends = 0
    for cue in cues:
        assert ends <= cue.start_ms < cue.end_ms
        ends = cue.end_ms
        assert cue.lines
        assert all(line.strip() for line in cue.lines)
    for block in srt(cues).split("\n\n") if cues else []:
        number, span, *lines = block.strip("\n").split("\n")
        assert number.isdigit()
        assert re.fullmatch(f"{TIME} --> {TIME}", span)
        assert lines
        assert not any("-->" in line for line in lines)
    head, *blocks = vtt(cues).split("\n\n")
    assert head.strip() == "WEBVTT"
    assert len(blocks) == len(cues)
