"""The sinks that are switched on, each with a follower of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from stt_edge.config.settings import SinkEntry
from stt_edge.model import Record
from stt_edge.service.status import SinkStatus
from stt_edge.service.supervisor import Supervisor
from stt_edge.sinks import registry
from stt_edge.sinks.base import SinkContext
from stt_edge.sinks.follower import Follower
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread

_CHANGE_S: Final = 2.0
"""How long a sink may take to let go when the configuration changes."""


class StoreFeed:
    """The store as followers read it."""

    def __init__(self, store: StoreThread) -> None:
        """Read from ``store``."""
        self._store = store

    async def records_after(self, seq: int, limit: int) -> Sequence[tuple[int, Record]]:
        """Return the next records in the order of their commitment, each with its ``seq``."""
        return await self._store.call(Store.records_after, seq, limit)

    async def last_seq(self) -> int:
        """Return the ``seq`` of the newest record, 0 when there is none."""
        return await self._store.call(Store.last_seq)

    async def cursor(self, sink: str) -> int | None:
        """Return where a sink stands, None for one never seen."""
        return await self._store.call(Store.cursor, sink)

    async def set_cursor(self, sink: str, seq: int) -> None:
        """Store where a sink stands."""
        await self._store.call(Store.set_cursor, sink, seq)


class SinkSet:
    """Starts, wakes and stops followers as the configuration says."""

    def __init__(self, feed: StoreFeed, context: SinkContext, supervisor: Supervisor) -> None:
        """Start with no sink."""
        self._feed = feed
        self._context = context
        self._supervisor = supervisor
        self._options: dict[str, Any] = {}
        self._followers: dict[str, Follower] = {}

    async def apply(self, entries: Sequence[SinkEntry]) -> None:
        """Start the sinks that are new or changed and stop those that are no longer wanted.

        Nothing is changed when a sink cannot be built. Raises SttEdgeError.
        """
        wanted = {entry.name: entry.options for entry in entries}
        fresh = {
            name: Follower(registry.build(name, options, self._context), self._feed)
            for name, options in wanted.items()
            if name not in self._followers or self._options[name] != options
        }
        gone = [
            self._followers.pop(name)
            for name in list(self._followers)
            if name in fresh or name not in wanted
        ]
        # One after the other: the new one of the same name goes on where the old one stood.
        await asyncio.gather(*(follower.stop(_CHANGE_S) for follower in gone))
        self._options = wanted
        for name, follower in fresh.items():
            self._followers[name] = follower
            self._supervisor.start(f"sink-{name}", follower.run())

    def wake(self) -> None:
        """Take that a record has been committed."""
        for follower in self._followers.values():
            follower.wake()

    def reopen(self) -> None:
        """Let sinks let go of files that may have been rotated away."""
        for follower in self._followers.values():
            follower.reopen()

    def partial(self, utterance_id: str, text: str) -> None:
        """Show what is understood so far where there is somebody to show it to."""
        for follower in self._followers.values():
            follower.sink.partial(utterance_id, text)

    def speech(self, *, speaking: bool) -> None:
        """Tell sinks that somebody has begun or ceased to speak."""
        for follower in self._followers.values():
            follower.sink.speech(speaking)

    def changed(self) -> None:
        """Tell sinks that something in the status document has changed."""
        for follower in self._followers.values():
            follower.sink.changed()

    async def stop(self, deadline_s: float) -> None:
        """Deliver what can be delivered in time, then close every sink."""
        await asyncio.gather(*(each.stop(deadline_s) for each in self._followers.values()))

    def names(self) -> frozenset[str]:
        """Return what the sinks are called that are switched on."""
        return frozenset(self._followers)

    def positions(self) -> dict[str, int]:
        """Return the ``seq`` of the last record given to each sink that keeps no cursor."""
        return {
            name: position
            for name, follower in self._followers.items()
            if not follower.sink.resumes and (position := follower.status().position) is not None
        }

    def status(self, last_seq: int) -> dict[str, SinkStatus]:
        """Return how each sink is doing; ``last_seq`` is that of the newest record."""
        found = {}
        for name, follower in self._followers.items():
            status = follower.status()
            pending = 0 if status.position is None else max(0, last_seq - status.position)
            found[name] = SinkStatus(
                state=status.state.value, pending=pending, message=status.message
            )
        return found
