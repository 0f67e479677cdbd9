"""What an ear writes to stderr must not fill the log."""

from __future__ import annotations

from stt_edge.service.ear_lines import LineLimiter, LineSplitter


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_same_line_is_told_once_an_hour() -> None:
    time = Time()
    limiter = LineLimiter(time)
    told = 0
    for second in range(7300):
        time.now = float(second)
        told += limiter.admit("ALSA lib pcm.c:2721: Unknown PCM cards.pcm.rear")
    assert told == 3
    assert limiter.suppressed == 7297


def test_a_flood_of_different_lines_is_cut_to_twenty_a_minute() -> None:
    time = Time()
    limiter = LineLimiter(time)
    assert sum(limiter.admit(f"xrun {number}") for number in range(5000)) == 20
    time.now = 61.0
    assert limiter.admit("something else")


def test_what_was_told_is_remembered_in_bounded_memory() -> None:
    time = Time()
    limiter = LineLimiter(time)
    for number in range(10_000):
        time.now = number * 60.0
        limiter.admit(f"line {number}")
    assert len(limiter._told) <= 64


def test_lines_are_whole_however_they_are_cut() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o\n\n  three") == ["two"]
    assert splitter.feed(b"") == ["  three"]
    assert splitter.feed(b"") == []


def test_a_line_without_end_takes_bounded_memory_and_says_its_beginning() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65_536) == []
    assert len(splitter._rest) <= 400
    assert splitter.feed(b"\n") == ["x" * 400]


def test_bytes_that_are_no_text_cannot_harm_a_terminal() -> None:
    assert LineSplitter().feed(b"\x1b[2Jb\xff\x00ad\n") == [" [2Jb\ufffd ad"]
