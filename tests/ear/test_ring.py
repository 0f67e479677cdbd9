"""The ring: what is held, what is overwritten, what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.ear.ring import Ring


def samples(first: int, count: int) -> bytes:
    """PCM in which every sample says where it lies."""
    return b"".join((value % 30_000).to_bytes(2, "little") for value in range(first, first + count))


@given(st.lists(st.integers(0, 100), max_size=60), st.data())
def test_whatever_is_still_held_is_read_back_as_it_was_written(
    sizes: list[int], data: st.DataObject
) -> None:
    ring = Ring(capacity_samples=100)
    for size in sizes:
        ring.append(samples(ring.end, size))
    assert ring.end == sum(sizes)
    assert ring.oldest == max(0, ring.end - 100)
    if ring.end > ring.oldest:
        start = data.draw(st.integers(ring.oldest, ring.end - 1))
        end = data.draw(st.integers(start + 1, ring.end))
        span = ring.read(start, end)
        assert (span.sample, span.pcm, span.end) == (start, samples(start, end - start), end)


def test_what_is_read_is_not_changed_by_what_is_written_later() -> None:
    ring = Ring(capacity_samples=10)
    ring.append(samples(0, 10))
    span = ring.read(0, 10)
    ring.append(samples(10, 10))
    assert span.pcm == samples(0, 10)


def test_missing_samples_have_addresses_and_break_the_sound() -> None:
    ring = Ring(capacity_samples=100)
    ring.append(samples(0, 10))
    assert ring.unbroken_from == 0
    ring.skip(7)
    assert (ring.end, ring.unbroken_from) == (17, 17)
    ring.append(samples(17, 5))
    assert ring.unbroken_from == 17
    assert ring.read(17, 22).pcm == samples(17, 5)
    assert ring.read(0, 10).pcm == samples(0, 10)


def test_overwriting_moves_the_unbroken_part_along() -> None:
    ring = Ring(capacity_samples=100)
    ring.append(samples(0, 10))
    ring.skip(1000)
    ring.append(samples(1010, 60))
    assert (ring.oldest, ring.unbroken_from) == (970, 1010)
    ring.append(samples(1070, 60))
    assert (ring.oldest, ring.unbroken_from) == (1030, 1030)
    assert ring.read(1030, 1130).pcm == samples(1030, 100)


def test_what_is_overwritten_cannot_be_read() -> None:
    ring = Ring(capacity_samples=10)
    ring.append(samples(0, 10))
    ring.append(samples(10, 1))
    with pytest.raises(AssertionError):
        ring.read(0, 5)
