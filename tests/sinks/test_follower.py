"""What a follower promises: every record to every sink, whatever one of them does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from stt_edge.errors import StoreError
from stt_edge.model import Record
from stt_edge.sinks.base import Sink, SinkRefusedError, SinkUnavailableError
from stt_edge.sinks.follower import Follower, FollowerSettings, FollowerState
from tests.sinks.samples import MemoryStore, record

QUICK = FollowerSettings(
    batch=4,
    save_cursor_s=0.02,
    first_retry_s=0.002,
    longest_retry_s=0.01,
    refusal_wait_s=0.0,
)


class ListSink(Sink):
    """Takes records into a list; can be made to fail in every way a sink may."""

    name = "list"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.attempts: list[str] = []
        self.refused: set[str] = set()
        self.down: str | None = None
        self.hangs = False
        self.opened = 0
        self.closed = 0
        self.reopened = 0

    async def open(self) -> None:
        self.opened += 1

    async def write(self, record: Record) -> None:
        self.attempts.append(record.text)
        if self.hangs:
            await asyncio.Event().wait()
        if self.down is not None:
            raise SinkUnavailableError(self.down, "Do something.")
        if record.text in self.refused:
            raise SinkRefusedError("I will never take this.")
        self.taken.append(record.text)

    async def close(self) -> None:
        self.closed += 1

    def reopen(self) -> None:
        self.reopened += 1


class MomentarySink(ListSink):
    """Cares for what happens while it watches, and for nothing else."""

    resumes = False


@asynccontextmanager
async def running(
    sink: Sink, store: MemoryStore, settings: FollowerSettings = QUICK
) -> AsyncIterator[Follower]:
    follower = Follower(sink, store, settings)
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.status().state is not FollowerState.STARTING)
        yield follower
    finally:
        await follower.stop(1.0)
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def until_taken(sink: ListSink, count: int) -> None:
    await until(lambda: len(sink.taken) == count)


def texts(first: int, last: int) -> list[str]:
    return [f"text {number}" for number in range(first, last + 1)]


def records(first: int, last: int) -> list[Record]:
    return [record(text) for text in texts(first, last)]


async def test_a_new_sink_starts_with_the_first_record_after_it_came() -> None:
    store, sink = MemoryStore(records(1, 3)), ListSink()
    async with running(sink, store) as follower:
        store.records += records(4, 5)
        follower.wake()
        await until(lambda: len(sink.taken) == 2)
    assert sink.taken == texts(4, 5)


class BusyStore(MemoryStore):
    """Gets a record just after it was asked for the last one."""

    async def last_seq(self) -> int:
        last = await super().last_seq()
        self.records += records(last + 1, last + 1)
        return last


async def test_the_place_of_a_new_sink_is_stored_before_its_first_record() -> None:
    store, sink = BusyStore(records(1, 3)), ListSink()
    sink.hangs = True
    follower = Follower(sink, store, QUICK)
    task = asyncio.create_task(follower.run())
    await until(lambda: sink.attempts == ["text 4"])
    assert store.cursors == {"list": 3}
    await follower.stop(0.01)
    await task
    sink.hangs = False
    async with running(sink, store):
        await until_taken(sink, 1)
    assert sink.taken == texts(4, 4)


async def test_a_known_sink_goes_on_where_it_stood_in_order_and_in_batches() -> None:
    store, sink = MemoryStore(records(1, 50)), ListSink()
    store.cursors["list"] = 10
    async with running(sink, store):
        await until(lambda: len(sink.taken) == 40)
    assert sink.taken == texts(11, 50)
    assert store.largest_batch == QUICK.batch
    assert store.cursors["list"] == 50


async def test_a_sink_that_does_not_resume_starts_at_now_every_time_and_leaves_no_cursor() -> None:
    store = MemoryStore(records(1, 3))
    store.cursors["list"] = 1
    for _ in range(2):
        sink = MomentarySink()
        async with running(sink, store) as follower:
            store.records += records(9, 9)
            follower.wake()
            await until_taken(sink, 1)
        assert sink.taken == texts(9, 9)
    assert store.cursors == {"list": 1}


async def test_the_cursor_is_written_lazily_but_always_at_the_end() -> None:
    store, sink = MemoryStore(), ListSink()
    patient = FollowerSettings(batch=100, save_cursor_s=3600)
    async with running(sink, store, patient) as follower:
        for number in range(1, 21):
            store.records += records(number, number)
            follower.wake()
            await until_taken(sink, number)
    assert store.cursors["list"] == 20
    assert store.cursor_writes <= 3


async def test_the_cursor_is_written_when_it_is_due_though_no_record_comes() -> None:
    store, sink = MemoryStore(), ListSink()
    async with running(sink, store) as follower:
        store.records += records(1, 2)
        follower.wake()
        await until(lambda: store.cursors.get("list") == 2)


async def test_a_sink_that_is_down_gets_every_record_once_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stt_edge")
    store, sink = MemoryStore(), ListSink()
    async with running(sink, store) as follower:
        sink.down = "The disk is full."
        store.records += records(1, 6)
        follower.wake()
        await until(lambda: len(sink.attempts) > 8)
        assert follower.status().state is FollowerState.DOWN
        assert "disk is full" in follower.status().message
        assert "Do something." in follower.status().message
        sink.down = None
        await until(lambda: len(sink.taken) == 6)
        await until(lambda: follower.status().state is FollowerState.UP)
    assert sink.taken == texts(1, 6)
    assert sink.opened == sink.closed
    warnings = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    infos = [entry for entry in caplog.records if entry.levelno == logging.INFO]
    assert len(warnings) == len(infos) == 1, "one line when it goes down, one when it is back"
    assert "back" in infos[0].getMessage()


async def test_one_sink_down_or_hanging_does_not_hold_up_another() -> None:
    store, down, hung, well = MemoryStore(), ListSink(), ListSink(), ListSink()
    down.down, hung.hangs = "no", True
    async with running(well, store) as one, running(down, store) as two:
        follower = Follower(hung, store, QUICK)
        task = asyncio.create_task(follower.run())
        await until(lambda: follower.status().position is not None)
        store.records += records(1, 3)
        for each in (one, two, follower):
            each.wake()
        await until(lambda: len(well.taken) == 3)
        await follower.stop(0.01)
        await task
    assert hung.closed == 1


async def test_a_record_refused_five_times_is_set_aside_counted_and_not_in_the_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = MemoryStore(), ListSink()
    sink.refused = {"text 2"}
    async with running(sink, store) as follower:
        store.records += records(1, 3)
        follower.wake()
        await until(lambda: len(sink.taken) == 2)
        status = follower.status()
    assert sink.taken == ["text 1", "text 3"]
    assert sink.attempts.count("text 2") == 5
    assert (status.set_aside, status.delivered, status.state) == (1, 2, FollowerState.UP)
    assert status.last_set_aside == store.records[1].id
    assert "text 2" not in caplog.text, "what was said never reaches the log"
    assert store.records[1].id in caplog.text


async def test_a_store_that_cannot_be_read_is_asked_again() -> None:
    store, sink = MemoryStore(records(1, 2)), ListSink()
    store.cursors["list"] = 0
    store.broken = StoreError("The disk fails.")
    follower = Follower(sink, store, QUICK)
    task = asyncio.create_task(follower.run())
    await until(lambda: "disk fails" in follower.status().message)
    store.broken = None
    await until(lambda: len(sink.taken) == 2)
    await follower.stop(1.0)
    await task
    assert store.cursors["list"] == 2


async def test_a_cursor_that_cannot_be_stored_does_not_stop_delivery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = MemoryStore(), ListSink()
    async with running(sink, store) as follower:
        await until(lambda: "list" in store.cursors)
        store.read_only = StoreError("The store is full.")
        store.records += records(1, 9)
        follower.wake()
        await until(lambda: len(sink.taken) == 9)
        assert follower.status().state is FollowerState.UP
        store.read_only = None
    assert store.cursors["list"] == 9
    assert caplog.text.count("cannot be stored") == 1


async def test_stop_delivers_what_is_there_before_it_returns() -> None:
    store, sink = MemoryStore(), ListSink()
    async with running(sink, store) as follower:
        store.records += records(1, 30)  # nobody calls wake
        await follower.stop(5.0)
        assert sink.taken == texts(1, 30)
        assert sink.closed == 1
        assert store.cursors["list"] == 30


async def test_stop_gives_up_on_a_hanging_sink_at_the_deadline_and_keeps_its_place() -> None:
    store, sink = MemoryStore(), ListSink()
    async with running(sink, store) as follower:
        store.records += records(1, 2)
        follower.wake()
        await until(lambda: len(sink.taken) == 2)
        sink.hangs = True
        store.records += records(3, 4)
        follower.wake()
        await until(lambda: sink.attempts[-1] == "text 3")
        await follower.stop(0.01)
    assert store.cursors["list"] == 2


async def test_stop_does_not_wait_for_a_sink_that_is_down() -> None:
    store, sink = MemoryStore(), ListSink()
    slow = FollowerSettings(first_retry_s=3600, longest_retry_s=3600)
    sink.down = "no"
    async with running(sink, store, slow) as follower:
        store.records += records(1, 1)
        follower.wake()
        await until(lambda: follower.status().state is FollowerState.DOWN)
        async with asyncio.timeout(5):
            await follower.stop(3600)
    assert sink.taken == []


async def test_a_follower_stopped_before_it_began_never_begins() -> None:
    store, sink = MemoryStore(records(1, 1)), ListSink()
    store.cursors["list"] = 0
    follower = Follower(sink, store, QUICK)
    task = asyncio.create_task(follower.run())
    await follower.stop(1.0)
    await task
    assert (sink.opened, sink.taken) == (0, [])


async def test_reopen_reaches_the_sink_and_cuts_a_wait_short() -> None:
    store, sink = MemoryStore(), ListSink()
    slow = FollowerSettings(first_retry_s=3600, longest_retry_s=3600)
    sink.down = "no"
    async with running(sink, store, slow) as follower:
        store.records += records(1, 1)
        follower.wake()
        await until(lambda: follower.status().state is FollowerState.DOWN)
        sink.down = None
        follower.reopen()
        await until(lambda: sink.taken == ["text 1"])
    assert sink.reopened == 1


async def test_a_cancelled_follower_stores_its_place_and_stays_cancelled() -> None:
    store, sink = MemoryStore(), ListSink()
    follower = Follower(sink, store, FollowerSettings(save_cursor_s=3600))
    task = asyncio.create_task(follower.run())
    await until(lambda: follower.status().state is FollowerState.UP)
    store.records += records(1, 2)
    follower.wake()
    await until(lambda: len(sink.taken) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.cursors["list"] == 2
    assert sink.closed == 1
