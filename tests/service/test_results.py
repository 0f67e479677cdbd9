"""Results on their way to a real store, which now and then refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from stt_edge.clock import SystemClock
from stt_edge.errors import StoreError
from stt_edge.model import UtteranceState
from stt_edge.service import results as module
from stt_edge.service.results import ResultWriter
from stt_edge.session.budget import Cost
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from tests.service.bench import audio, part, record, tail_of


class Stubborn:
    """A store that refuses as long as it is told to."""

    def __init__(self, store: StoreThread) -> None:
        self._store = store
        self.refusing = False
        self.calls = 0

    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.refusing:
            raise StoreError("disk full")
        return await self._store.call(method, *args, **kwargs)


class Desk:
    """A result writer with a real log and a real store."""

    def __init__(self, directory: Path, store: StoreThread) -> None:
        self.store = store
        self.stubborn = Stubborn(store)
        self.log = UtteranceLog(directory / "utterances")
        self.log.recover()
        self.told = 0
        self.writer = ResultWriter(
            self.stubborn,  # type: ignore[arg-type]
            self.log,
            SystemClock(),
            on_record=self._tell,
        )

    def _tell(self) -> None:
        self.told += 1


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await StoreThread.open(tmp_path / "store.db")
    made = Desk(tmp_path, store)
    task = asyncio.create_task(made.writer.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.close()


async def test_a_record_is_stored_before_its_audio_is_deleted_and_sinks_are_told(
    desk: Desk,
) -> None:
    head = audio(desk.log, "a")
    desk.writer.opened(head)
    desk.writer.ended("a", tail_of(head))
    desk.writer.commit(part(head), 1600)
    desk.writer.finish("a", UtteranceState.DONE, record(head))
    assert await desk.writer.drain(5)
    assert [found.id for _, found in await desk.store.call(Store.records_after, 0, 9)] == ["a"]
    assert desk.log.ids() == []
    assert desk.told == 1
    assert desk.writer.last_seq == 1


async def test_results_wait_in_order_while_the_store_refuses(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    desk.stubborn.refusing = True
    for name in ("a", "b"):
        head = audio(desk.log, name)
        desk.writer.opened(head)
        desk.writer.finish(name, UtteranceState.DONE, record(head))
    assert not await desk.writer.drain(0.1)
    assert desk.writer.trouble == "disk full"
    assert desk.writer.pending == 2
    assert desk.log.ids() == ["a", "b"]
    desk.stubborn.refusing = False
    assert await desk.writer.drain(5)
    assert [found.id for _, found in await desk.store.call(Store.records_after, 0, 9)] == ["a", "b"]
    assert desk.writer.trouble == ""
    assert desk.log.ids() == []


async def test_ten_waiting_results_are_congestion(desk: Desk) -> None:
    desk.stubborn.refusing = True
    for number in range(10):
        assert not desk.writer.congested()
        head = audio(desk.log, str(number))
        desk.writer.finish(head.id, UtteranceState.DONE, record(head))
    assert desk.writer.congested()


async def test_an_impossible_result_does_not_block_those_behind_it(desk: Desk) -> None:
    head = audio(desk.log, "a")
    desk.writer.commit(part(head), 1600)  # the store has never heard of its utterance
    desk.writer.opened(head)
    desk.writer.finish("a", UtteranceState.DONE, record(head))
    assert await desk.writer.drain(5)
    assert desk.told == 1


async def test_a_dropped_utterance_keeps_its_audio(desk: Desk) -> None:
    head = audio(desk.log, "a")
    desk.writer.opened(head)
    desk.writer.finish("a", UtteranceState.DROPPED, None)
    assert await desk.writer.drain(5)
    assert desk.log.ids() == ["a"]
    assert desk.told == 0


async def test_usage_adds_up_under_the_local_day(desk: Desk) -> None:
    desk.writer.usage("p", Cost(1.5, 3.0, 2.0, 0.25))
    desk.writer.usage("p", Cost(0.5, 1.0, 1.0, 0.5))
    assert await desk.writer.drain(5)
    today = SystemClock().now().astimezone().date()
    (usage,) = await desk.store.call(Store.usage, today)
    assert (usage.seconds_sent, usage.connection_seconds) == (2.0, 4.0)
    assert (usage.billed_seconds, usage.cost) == (3.0, 0.75)
