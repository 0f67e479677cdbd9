"""Keeping the store within its bounds while the daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from stt_edge.config.settings import StoreSection
from stt_edge.errors import LogError
from stt_edge.model import UtteranceState
from stt_edge.service.forgetting import LogAudio
from stt_edge.service.retention import BYTES_PER_MB, RetentionKeeper
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.clock import START, FakeClock
from tests.service.bench import audio
from tests.store.making import head, part, record, tail


class Sinks:
    """The sinks of a configuration."""

    def __init__(self) -> None:
        self.switched_on: set[str] = set()

    def names(self) -> frozenset[str]:
        return frozenset(self.switched_on)

    def positions(self) -> dict[str, int]:
        return {}


class Archive:
    """A store, a log, and what keeps the store within its bounds."""

    def __init__(self, directory: Path, store: StoreThread) -> None:
        self.store = store
        self.log = UtteranceLog(directory / "utterances")
        self.log.recover()
        self.clock = FakeClock()
        self.sinks = Sinks()
        self.keeper = RetentionKeeper(
            store,
            LogAudio(self.log),
            self.clock,
            self.sinks,  # type: ignore[arg-type]
            StoreSection(),
            batch=3,
        )

    async def said(self, days_ago: float = 0, text: str = "hello") -> str:
        start = head(started_at=START - timedelta(days=days_ago), clock_unsynced=False)

        def store(store: Store) -> None:
            store.add_utterance(start)
            store.commit_part(part(start.id, text=text), start.start)
            store.end_utterance(start.id, tail())
            store.finish(start.id, UtteranceState.DONE, record(start.id, text=text))

        await self.store.call(store)
        return start.id

    async def ids(self) -> list[str]:
        return [record.id for _, record in await self.store.call(Store.last_records, 999)]


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    store = await StoreThread.open(tmp_path / "store.db")
    made = Archive(tmp_path, store)
    yield made
    await store.close()
    made.log.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(keeper: RetentionKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        keeper.close()
        async with asyncio.timeout(10):
            await task


async def test_it_tidies_once_it_runs_in_as_many_batches_as_it_takes(archive: Archive) -> None:
    for _ in range(7):
        await archive.said(31)
    young = await archive.said(29)
    async with running(archive.keeper):
        await until(lambda: archive.keeper.used_bytes)
    assert await archive.ids() == [young]


async def test_results_are_committed_between_its_batches(archive: Archive) -> None:
    old = [await archive.said(31) for _ in range(30)]
    tidying = asyncio.create_task(archive.keeper.tidy())
    left: list[int] = []
    while not tidying.done():
        await archive.said()
        left.append(len(set(old) & set(await archive.ids())))
        await asyncio.sleep(0.01)
    assert len(set(left)) > 3


async def test_it_waits_for_an_hour_and_not_where_the_bounds_are_changed(archive: Archive) -> None:
    async with running(archive.keeper):
        await until(lambda: archive.keeper.used_bytes)
        await archive.said(5)
        archive.keeper.configure(StoreSection(keep_days=6))
        young = await archive.said(3)
        archive.keeper.configure(StoreSection(keep_days=4))
        async with asyncio.timeout(15):
            while await archive.ids() != [young]:
                await asyncio.sleep(0.01)


async def test_while_the_time_is_not_known_nothing_is_too_old(archive: Archive) -> None:
    await archive.said(1000)
    await archive.store.call(Store.add_usage, "cloud", date(2020, 1, 1), seconds_sent=1)
    archive.clock.synced = False
    assert not (await archive.keeper.tidy()).utterances
    assert await archive.store.call(Store.usage, date(2020, 1, 1))
    archive.clock.synced = True
    assert (await archive.keeper.tidy()).utterances == 1
    assert not await archive.store.call(Store.usage, date(2020, 1, 1))


async def test_audio_goes_before_the_rows_and_where_it_stays_they_stay(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, free = await archive.said(40), await archive.said(40)
    for id_ in (stuck, free):
        audio(archive.log, id_)
    delete = archive.log.delete
    known: list[bool] = []

    def refuse(id_: str) -> None:
        if id_ == stuck:
            raise LogError("The disk says no.")
        delete(id_)
        known.append(True)

    monkeypatch.setattr(archive.log, "delete", refuse)
    assert (await archive.keeper.tidy()).utterances == 1
    assert await archive.ids() == [stuck]
    assert archive.log.ids() == [stuck]
    monkeypatch.undo()
    assert (await archive.keeper.tidy()).utterances == 1
    assert archive.log.ids() == []


async def test_a_sink_that_holds_the_store_above_its_bounds_is_named_until_it_is_back(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(12):
        await archive.said(text="x" * 60_000)
    await archive.store.call(Store.set_cursor, "mqtt", 1)
    await archive.store.call(Store.set_cursor, "jsonl", 12)
    archive.sinks.switched_on = {"mqtt", "jsonl"}
    archive.keeper.configure(StoreSection(max_mb=1))
    with caplog.at_level(logging.INFO):
        await archive.keeper.tidy()
        await archive.keeper.tidy()
    assert "because mqtt has not been given" in archive.keeper.trouble
    assert "take it out of sinks:" in archive.keeper.trouble
    assert caplog.text.count("more than store.max_mb") == 1
    assert len(await archive.ids()) == 11
    archive.sinks.switched_on = {"jsonl"}
    await archive.keeper.tidy()
    assert archive.keeper.trouble == ""
    assert archive.keeper.used_bytes <= BYTES_PER_MB
    assert len(await archive.ids()) < 11


async def test_where_nothing_may_be_deleted_more_room_is_advised(archive: Archive) -> None:
    def unfinished(store: Store) -> None:
        for _ in range(12):
            start = head()
            store.add_utterance(start)
            store.commit_part(replace(part(start.id), text="x" * 120_000), start.start)

    await archive.store.call(unfinished)
    archive.keeper.configure(StoreSection(max_mb=1))
    await archive.keeper.tidy()
    assert "Raise store.max_mb" in archive.keeper.trouble


async def test_a_store_that_fails_is_a_problem_and_tried_again(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.store.close()
    async with running(archive.keeper):
        await until(lambda: "cannot be tidied" in archive.keeper.trouble)
    assert caplog.text.count("cannot be tidied") == 1
