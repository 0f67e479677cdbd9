"""A sink that takes several records at once: all of them, in order, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import pytest

from stt_edge.model import Record
from stt_edge.sinks.base import SinkRefusedError, SinkUnavailableError
from stt_edge.sinks.follower import FollowerState
from tests.sinks.samples import MemoryStore
from tests.sinks.test_follower import ListSink, records, running, texts, until


class WideSink(ListSink):
    """Takes three at a time, and answers none before all three have come."""

    at_once: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.most = 0
        self.fails: dict[str, Exception] = {}
        self.always_fails: dict[str, Exception] = {}
        self.trouble: Callable[[], None] = lambda: None
        self.cut_off = ""

    async def write(self, record: Record) -> None:
        self.attempts.append(record.text)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        failure = self.fails.pop(record.text, None) or self.always_fails.get(record.text)
        if failure is not None:
            raise failure
        self.taken.append(record.text)

    def watch(self, trouble: Callable[[], None]) -> None:
        self.trouble = trouble

    def check(self) -> None:
        if self.cut_off:
            raise SinkUnavailableError(self.cut_off)


async def test_no_more_are_under_way_than_it_takes_and_they_are_begun_in_order() -> None:
    store, sink = MemoryStore(records(1, 20)), WideSink()
    store.cursors["list"] = 0
    async with running(sink, store):
        await until(lambda: len(sink.taken) == 20)
    assert sink.attempts == texts(1, 20)
    assert sink.most == 3


async def test_one_that_fails_in_the_middle_is_given_again_with_all_behind_it() -> None:
    store, sink = MemoryStore(records(1, 4)), WideSink()
    store.cursors["list"] = 0
    sink.fails = {"text 2": SinkUnavailableError("not now")}
    async with running(sink, store) as follower:
        await until(lambda: follower.status().position == 4)
        assert follower.status().delivered == 4
    assert sink.attempts[:3] == texts(1, 3)
    assert sink.attempts[-3:] == texts(2, 4)
    assert list(dict.fromkeys(sink.taken)) == [*texts(1, 1), *texts(3, 3), *texts(2, 2), "text 4"]
    assert store.cursors["list"] == 4


async def test_one_that_is_refused_once_is_taken_later_and_lost_by_nobody() -> None:
    store, sink = MemoryStore(records(1, 6)), WideSink()
    store.cursors["list"] = 0
    sink.fails = {"text 2": SinkRefusedError("not this")}
    async with running(sink, store) as follower:
        await until(lambda: follower.status().position == 6)
        assert follower.status().set_aside == 0
    assert sorted(sink.taken) == texts(1, 6)


async def test_the_place_stays_in_front_of_what_was_not_taken_when_it_is_stopped() -> None:
    store, sink = MemoryStore(records(1, 3)), WideSink()
    store.cursors["list"] = 0
    sink.always_fails = {"text 2": SinkUnavailableError("no")}
    async with running(sink, store) as follower:
        await until(lambda: follower.status().state is FollowerState.DOWN)
        await follower.stop(1.0)
        assert store.cursors["list"] == 1


async def test_a_sink_that_finds_out_by_itself_is_closed_and_opened_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = MemoryStore(), WideSink()
    async with running(sink, store) as follower:
        await until(lambda: follower.status().state is FollowerState.UP)
        sink.cut_off = "The line is dead."
        sink.trouble()
        await until(lambda: sink.closed == 1)
        sink.cut_off = ""
        await until(lambda: sink.opened == 2)
    assert "The line is dead." in caplog.text
