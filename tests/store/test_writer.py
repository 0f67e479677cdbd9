"""The store as a coroutine sees it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from stt_edge.errors import StoreError
from stt_edge.model import UtteranceState
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from tests.store.making import head, part, record


def store_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("stt-edge-store")
    ]


async def test_calls_run_in_one_thread_of_their_own_in_the_order_they_were_made(
    path: Path,
) -> None:
    store = await StoreThread.open(path)
    assert store.opening.damaged_path is None
    seen: list[tuple[int, int]] = []

    def note(_: Store, number: int) -> None:
        seen.append((number, threading.get_ident()))

    await asyncio.gather(*(store.call(note, number) for number in range(50)))
    assert [number for number, _ in seen] == list(range(50))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()
    await store.close()


async def test_a_call_returns_what_the_method_returns_and_raises_what_it_raises(
    path: Path,
) -> None:
    store = await StoreThread.open(path)
    start = head()
    await store.call(Store.add_utterance, start)
    assert await store.call(Store.commit_part, part(start.id), 17_001) == 17_001
    with pytest.raises(StoreError, match="not in the store"):
        await store.call(Store.commit_part, part("unknown"), 17_001)
    with pytest.raises(ValueError, match="no"):
        await store.call(Store.finish, start.id, UtteranceState.OPEN, None)
    assert await store.call(Store.finish, start.id, UtteranceState.DONE, record(start.id)) == 1
    await store.close()


async def test_the_loop_turns_while_a_call_takes_its_time(path: Path) -> None:
    store = await StoreThread.open(path)
    go_on = threading.Event()
    call = asyncio.ensure_future(store.call(lambda _: go_on.wait(10)))
    await asyncio.sleep(0)
    assert not call.done()
    go_on.set()
    assert await call
    await store.close()


async def test_a_call_whose_caller_is_cancelled_runs_all_the_same(path: Path) -> None:
    store = await StoreThread.open(path)
    go_on = threading.Event()
    blocking = asyncio.ensure_future(store.call(lambda _: go_on.wait(10)))
    start = head()
    add = asyncio.ensure_future(store.call(Store.add_utterance, start))
    await asyncio.sleep(0)
    add.cancel()
    with pytest.raises(asyncio.CancelledError):
        await add
    go_on.set()
    await blocking
    row = await store.call(Store.utterance, start.id)
    assert row is not None
    await store.close()


async def test_closing_waits_for_what_was_asked_before_and_refuses_what_comes_after(
    path: Path,
) -> None:
    store = await StoreThread.open(path)
    starts = [head() for _ in range(20)]
    calls = [asyncio.ensure_future(store.call(Store.add_utterance, start)) for start in starts]
    await asyncio.sleep(0)
    await store.close()
    assert all(call.done() for call in calls)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.call(Store.last_seq)
    again = Store.open(path)
    assert [row.id for row in again.unfinished()] == [start.id for start in starts]
    again.close()
    for _ in range(200):
        if not store_threads():
            break
        await asyncio.sleep(0.01)
    assert store_threads() == []


async def test_a_store_that_cannot_be_opened_leaves_no_thread_behind(path: Path) -> None:
    path.parent.mkdir()
    path.mkdir()
    with pytest.raises(StoreError, match="Cannot open"):
        await StoreThread.open(path)
    for _ in range(200):
        if not store_threads():
            break
        await asyncio.sleep(0.01)
    assert store_threads() == []


async def test_an_opening_that_is_cancelled_closes_the_store_it_opened(path: Path) -> None:
    opening = asyncio.ensure_future(StoreThread.open(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for _ in range(500):
        if not store_threads():
            break
        await asyncio.sleep(0.01)
    assert store_threads() == []
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no WAL: it was closed"
