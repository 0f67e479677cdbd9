"""What goes to the disk and when, and what is given up: the rules, without a disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stt_edge.model import SAMPLE_RATE
from stt_edge.utterance.contents import Holding
from stt_edge.utterance.spool import (
    Ages,
    SpoolRules,
    excess_of,
    oldest_first,
    to_go_cold,
)
from tests.utterance.making import head

NOW = datetime(2026, 11, 28, tzinfo=UTC)
S = 1_000_000_000
MB = 1 << 20


def holding(name: str, **changes: Any) -> Holding:
    start = replace(head(0, name), started_mono_ns=0, started_at=NOW, clock_unsynced=False)
    known: dict[str, Any] = {
        "start": start,
        "end_so_far": 3 * SAMPLE_RATE,
        "acked": 0,
        "ended": True,
        "done": False,
        "recovered": False,
        "cold": False,
        "copied": False,
        "hot_bytes": 96_000,
        "cold_bytes": 0,
    }
    return Holding(**{**known, **changes})


def cold_at(
    seconds: float, *holdings: Holding, rules: SpoolRules | None = None, at_once: bool = False
) -> list[str]:
    ages = Ages()
    ages.note(holdings, 3 * S)
    now_ns = int(seconds * S)
    ages.note(holdings, now_ns)
    return to_go_cold(holdings, ages, now_ns, rules or SpoolRules(), at_once=at_once)


def test_live_speech_stays_in_memory_while_a_provider_takes_it() -> None:
    assert cold_at(19, holding("a", ended=False)) == []


def test_what_ended_five_seconds_ago_and_is_not_done_goes_to_the_disk() -> None:
    assert cold_at(7.9, holding("a")) == []
    assert cold_at(8, holding("a")) == ["a"]


def test_audio_unacknowledged_for_twenty_seconds_goes_to_the_disk() -> None:
    open_ = holding("a", ended=False, end_so_far=60 * SAMPLE_RATE)
    assert cold_at(20, open_) == ["a"]
    assert cold_at(29.9, replace(open_, acked=10 * SAMPLE_RATE)) == []
    assert cold_at(30, replace(open_, acked=10 * SAMPLE_RATE)) == ["a"]
    assert cold_at(99, replace(open_, acked=60 * SAMPLE_RATE)) == []


def test_times_of_an_earlier_run_are_not_believed() -> None:
    left = holding("a", ended=False, recovered=True)
    assert cold_at(22.9, left) == []
    assert cold_at(23, left) == ["a"]


@pytest.mark.parametrize(
    ("rules", "at_once", "goes"),
    [
        (SpoolRules(), True, True),
        (SpoolRules(always=True), False, True),
        (SpoolRules(hot_bytes=95_999), False, True),
        (SpoolRules(hot_bytes=96_000), False, False),
    ],
)
def test_what_must_goes_at_once(rules: SpoolRules, at_once: bool, goes: bool) -> None:
    wanted = ["a"] if goes else []
    assert cold_at(3, holding("a", ended=False), rules=rules, at_once=at_once) == wanted


def test_what_is_on_its_way_to_the_disk_is_not_named_again() -> None:
    assert cold_at(99, holding("a", cold=True), at_once=True) == []


def test_too_old_is_counted_between_times_that_can_be_believed() -> None:
    rules = SpoolRules(max_age_s=3600)
    old = NOW - timedelta(seconds=3601)
    unsure = holding("unsure")
    holdings = [
        _started(holding("old"), old),
        _started(holding("young"), NOW - timedelta(seconds=3599)),
        replace(unsure, start=replace(unsure.start, started_at=old, clock_unsynced=True)),
        _started(holding("open", ended=False), old),
    ]
    assert excess_of(holdings, rules, NOW, stuck=False).expired == ("old",)
    assert not excess_of(holdings, rules, None, stuck=False)


def test_too_much_on_the_disk_is_what_exceeds_the_limit() -> None:
    rules = SpoolRules(max_bytes=3 * MB)
    holdings = [holding(name, cold_bytes=2 * MB, hot_bytes=0) for name in "ab"]
    assert excess_of(holdings, rules, NOW, stuck=False).bytes == MB
    assert excess_of(holdings[:1], rules, NOW, stuck=False).bytes == 0


def test_memory_must_do_with_its_share_where_nothing_can_go_to_the_disk() -> None:
    rules = SpoolRules(hot_bytes=3 * MB)
    holdings = [holding(name, hot_bytes=2 * MB) for name in "ab"]
    assert excess_of(holdings, rules, NOW, stuck=True).bytes == MB
    assert excess_of(holdings, rules, NOW, stuck=False).bytes == 0


def test_what_is_only_kept_goes_first_then_the_oldest_and_never_what_is_being_said() -> None:
    holdings = [
        holding("b"),
        holding("a"),
        holding("kept", done=True),
        holding("open", ended=False),
    ]
    assert [each.id for each in oldest_first(holdings)] == ["kept", "b", "a"]


def _started(one: Holding, at: datetime) -> Holding:
    return replace(one, start=replace(one.start, started_at=at))
