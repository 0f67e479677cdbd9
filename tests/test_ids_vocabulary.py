"""Identifiers: UUIDv7 by the letter of RFC 9562, and always increasing."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from stt_edge.ids import continue_after, uuid7


def test_it_is_a_uuid_of_version_7_in_canonical_form() -> None:
    text = uuid7()
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_it_begins_with_the_time_of_its_creation() -> None:
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(uuid7()).int >> 80
    assert before - 1 <= stamp <= time.time_ns() // 1_000_000 + 1000


def test_ids_increase_within_the_same_millisecond() -> None:
    ids = [uuid7() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_increase_when_the_wall_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    past = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("stt_edge.ids.time.time_ns", lambda: past)
    later = [uuid7() for _ in range(100)]
    assert [first, *later] == sorted([first, *later])
    assert len({first, *later}) == 101


def test_ids_continue_after_one_of_an_earlier_process_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier = "01f7c4ee-0000-7fff-bfff-ffffffffffff"  # some months ahead of the clock
    monkeypatch.setattr("stt_edge.ids.time.time_ns", lambda: 0)
    monkeypatch.setattr("stt_edge.ids._last", 0)
    continue_after(earlier)
    continue_after("0000c4ee-0000-7000-8000-000000000000")
    later = [uuid7() for _ in range(100)]
    assert [earlier, *later] == sorted({earlier, *later})
    assert all(uuid.UUID(one).version == 7 for one in later)


def test_an_id_of_a_time_that_never_comes_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_edge.ids._last", 0)
    continue_after("ffffffff-ffff-7fff-bfff-ffffffffffff")
    assert uuid7() < "1"


def test_threads_never_get_the_same_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(uuid7() for _ in range(2000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for ids in made for one in ids}) == 8000
    assert all(ids == sorted(ids) for ids in made)
