"""What is new in a provider's results, and where in the stream it lies."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stt_edge.model import AudioSpan, UtteranceStart
from stt_edge.providers import base
from stt_edge.providers.base import Capabilities, Final, Partial, PartTimes, WordOffset
from stt_edge.session.progress import Progress

START = 16_000


def provider(times: PartTimes = PartTimes.WORDS) -> base.Provider:
    def missing() -> base.Protocol:
        raise AssertionError("no protocol is needed to keep the books")

    return base.Provider("p", Capabilities(part_times=times), missing, missing)  # type: ignore[arg-type]


def progress(times: PartTimes = PartTimes.WORDS) -> Progress:
    head = UtteranceStart("u", "s", START, datetime(2026, 1, 1, tzinfo=UTC), 0)
    made = Progress(head)
    made.begin(provider(times))
    return made


def send(made: Progress, sample: int, samples: int) -> None:
    made.sent(AudioSpan(sample, bytes(2 * samples)))


def words(*items: tuple[str, int, int]) -> tuple[WordOffset, ...]:
    return tuple(WordOffset(text, start, end) for text, start, end in items)


def test_offsets_become_samples_of_the_stream() -> None:
    made = progress()
    send(made, START, 3200)
    part = made.accept(Final("hello", words=words(("hello", 160, 1600))))
    assert part is not None
    assert (part.start, part.end) == (START + 160, START + 1600)
    assert made.acked == START + 1600


def test_offsets_after_a_gap_skip_the_missing_samples() -> None:
    made = progress()
    send(made, START, 1000)
    send(made, START + 5000, 1000)
    part = made.accept(Final("a b", words=words(("a", 0, 1000), ("b", 1000, 1500))))
    assert part is not None
    assert [(word.start, word.end) for word in part.words] == [
        (START, START + 1000),
        (START + 5000, START + 5500),
    ]


def test_what_is_acknowledged_never_exceeds_what_was_sent() -> None:
    made = progress()
    send(made, START, 1000)
    made.accept(Final("far", words=words(("far", 0, 99_000))))
    assert made.acked == START + 1000


def test_after_a_reconnect_sending_goes_on_at_what_was_acknowledged() -> None:
    made = progress()
    send(made, START, 8000)
    made.accept(Final("one", words=words(("one", 0, 4000))))
    made.begin(provider())
    assert made.position == START + 4000


def test_words_before_what_is_acknowledged_are_dropped_by_their_midpoint() -> None:
    made = progress()
    send(made, START, 8000)
    made.accept(Final("one two", words=words(("one", 0, 2000), ("two", 2000, 4000))))
    again = made.accept(Final("two three", words=words(("two", 2100, 3990), ("three", 3900, 6000))))
    assert again is not None
    assert again.text == "three"
    assert len(again.words) == 1


def test_the_same_text_twice_at_different_times_is_said_twice() -> None:
    made = progress()
    send(made, START, 16_000)
    first = made.accept(Final("yes", words=words(("yes", 0, 3000))))
    second = made.accept(Final("yes", words=words(("yes", 8000, 11_000))))
    assert first is not None
    assert second is not None
    assert [part.seq for part in made.parts] == [0, 1]


def test_a_final_with_the_same_item_id_is_one_final() -> None:
    made = progress(PartTimes.PARTS)
    send(made, START, 16_000)
    assert made.accept(Final("yes", end=8000, item_id="a")) is not None
    assert made.accept(Final("Yes.", end=12_000, item_id="a")) is None


def test_without_times_nothing_is_committed_before_the_end() -> None:
    made = progress(PartTimes.NONE)
    send(made, START, 8000)
    assert made.accept(Final("one")) is None
    assert made.acked == START
    made.begin(provider(PartTimes.NONE))
    assert made.position == START
    assert made.settle() == []
    send(made, START, 8000)
    made.accept(Final("one"))
    made.accept(Final("two"))
    assert [part.text for part in made.settle()] == ["one", "two"]
    assert made.acked == START + 8000


def test_an_empty_final_is_no_part() -> None:
    made = progress()
    send(made, START, 8000)
    assert made.accept(Final("  ")) is None
    assert made.parts == []


def test_text_that_utf_8_cannot_hold_is_made_to_fit() -> None:
    made = progress()
    send(made, START, 8000)
    part = made.accept(Final("a\ud800b", words=words(("a\ud800b", 0, 8000))))
    assert part is not None
    assert (part.text, part.words[0].text) == ("a?b", "a?b")


def test_a_partial_stands_in_for_the_final_that_never_came() -> None:
    made = progress()
    send(made, START, 8000)
    made.note(Partial("half a sent"))
    (part,) = made.promote()
    assert part.truncated
    assert part.end == START + 8000
    assert made.promote() == []


def test_a_final_makes_the_partial_before_it_void() -> None:
    made = progress()
    send(made, START, 8000)
    made.note(Partial("one"))
    made.accept(Final("one", words=words(("one", 0, 4000))))
    assert made.promote() == []


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 3000)), min_size=1, max_size=12))
def test_every_sample_sent_maps_back_to_itself(spans: list[tuple[int, int]]) -> None:
    made, sample, sent = progress(), START, []
    for length, gap in spans:
        sample += gap
        send(made, sample, length)
        sent += range(sample, sample + length)
        sample += length
    for offset in range(0, len(sent), 97):
        part = Progress._first(made, offset), Progress._last(made, offset + 1)
        assert part == (sent[offset], sent[offset] + 1)
