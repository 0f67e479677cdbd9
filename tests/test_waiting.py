"""Waiting for an event."""

from __future__ import annotations

import asyncio

import pytest

from stt_edge.waiting import is_set_within


async def test_an_event_that_comes_is_waited_for_and_no_longer() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, event.set)
    async with asyncio.timeout(5):
        assert await is_set_within(event, 60)
        assert await is_set_within(event, None)


async def test_one_that_does_not_come_is_given_up() -> None:
    assert not await is_set_within(asyncio.Event(), 0.01)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("seconds", [60, None])
async def test_who_is_cancelled_at_the_moment_it_comes_is_cancelled(
    seconds: float | None, turns: int
) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(is_set_within(event, seconds))
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):  # of the loop, in which the news is on its way
        await asyncio.sleep(0)
    is_over = waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() is not is_over
