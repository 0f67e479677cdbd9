"""The daemon's long-running tasks, by name; one that dies is told, and starves the watchdog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Supervisor:
    """Starts tasks that are to run as long as the daemon, and knows which of them have died."""

    def __init__(self) -> None:
        """Start with no task."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.dead: list[str] = []
        """Names of tasks that ended by a mistake of ours; only a restart brings them back."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends by itself or ``stop``."""
        task = asyncio.create_task(self._guarded(name, work), name=name)
        self._tasks[name] = task
        return task

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _guarded(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  logged in full; the watchdog's restart is the cure
            _log.exception("task %s died; the watchdog restarts the daemon", name)
            self.dead.append(name)
