"""Waiting for an event for so long and no longer."""

from __future__ import annotations

import asyncio
import contextlib


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event, without end where ``seconds`` is None; return whether it is set.

    Never by ``asyncio.wait_for``: in Python 3.11 a task that is cancelled at the moment the wait is
    over is not cancelled.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
