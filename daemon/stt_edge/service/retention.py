"""Keeps the store within its bounds: once after the start, then once an hour.

In batches, with a pause after each, so that results are never held up by it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from stt_edge.clock import Clock
from stt_edge.config.settings import StoreSection
from stt_edge.errors import StoreError
from stt_edge.service.forgetting import BATCH, KeptAudio, delete
from stt_edge.service.sink_set import SinkSet
from stt_edge.store.retention import Forgotten, RetentionRules
from stt_edge.store.writer import StoreThread
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)

EVERY_S: Final = 3600.0
TROUBLED_S: Final = 300.0
"""So soon it looks again while the store is larger than allowed."""
_PAUSE_S: Final = 0.05
_USAGE_DAYS: Final = 400
BYTES_PER_MB: Final = 1 << 20

_Find = Callable[[RetentionRules, int], Awaitable[list[str]]]


class RetentionKeeper:
    """Deletes what the configuration no longer wants kept."""

    def __init__(
        self,
        store: StoreThread,
        audio: KeptAudio,
        clock: Clock,
        sinks: SinkSet,
        settings: StoreSection,
        *,
        batch: int = BATCH,
    ) -> None:
        """Do nothing until ``run``."""
        self._store = store
        self._audio = audio
        self._clock = clock
        self._sinks = sinks
        self._settings = settings
        self._batch = batch
        self._wake = asyncio.Event()
        self._closed = False
        self._wal_is_dirty = False
        self.used_bytes = 0
        """How much of the store's file was in use when last looked at."""
        self.trouble = ""
        """Why the store cannot be kept within its bounds, and what to do; empty while it can."""

    @property
    def max_bytes(self) -> int:
        """How much the store may use."""
        return self._settings.max_mb * BYTES_PER_MB

    def configure(self, settings: StoreSection) -> None:
        """Use other bounds, at once where it runs."""
        if settings != self._settings:
            self._settings = settings
            self._wake.set()

    def close(self) -> None:
        """Delete nothing more; ``run`` ends."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Keep the store within its bounds until ``close``."""
        first = True
        while not self._closed:
            self._wake.clear()
            try:
                await self.tidy(with_strays=first)
                first = False
            except StoreError as error:
                self._fail(f"The store cannot be tidied: {error}")
            await self._pause(TROUBLED_S if self.trouble else EVERY_S)

    async def tidy(self, *, with_strays: bool = False) -> Forgotten:
        """Delete all that may be deleted now; returns how much that was. Raises StoreError."""
        total = await self._delete(self._strays) if with_strays else Forgotten()
        total += await self._delete(self._expired)
        if self._clock.synchronized():
            day = (self._clock.now().astimezone() - timedelta(days=_USAGE_DAYS)).date()
            await self._store.call(lambda store: store.retention.forget_usage(day))
        if total.utterances or total.records:
            _log.info(
                "%d utterances with %d records have left the store: too old, or too many",
                total.utterances,
                total.records,
            )
            self._wal_is_dirty = True
        if self._wal_is_dirty:
            emptied = await self._store.call(lambda store: store.retention.truncate_log())
            self._wal_is_dirty = not emptied
        await self._judge(self._rules())
        return total

    async def look(self) -> None:
        """See how much of the store's file is in use. Raises StoreError."""
        self.used_bytes = await self._store.call(lambda store: store.retention.used_bytes())

    def _rules(self) -> RetentionRules:
        oldest = None
        if self._clock.synchronized():
            oldest = self._clock.now() - timedelta(days=self._settings.keep_days)
        return RetentionRules(self.max_bytes, oldest, self._sinks.names(), self._sinks.positions())

    async def _delete(self, find: _Find) -> Forgotten:
        """Delete what ``find`` finds until it finds nothing more."""
        total, stuck = Forgotten(), set[str]()
        while not self._closed:
            # Asked anew each time: a reload may have brought a sink that is owed something.
            found = await find(self._rules(), self._batch + len(stuck))
            ids = [id_ for id_ in found if id_ not in stuck][: self._batch]
            if not ids:
                break
            gone, forgotten = await delete(self._store, self._audio, ids)
            stuck |= set(ids).difference(gone)
            total += forgotten
            await asyncio.sleep(_PAUSE_S)
        return total

    async def _strays(self, rules: RetentionRules, limit: int) -> list[str]:
        return await self._store.call(lambda store: store.retention.strays(rules, limit))

    async def _expired(self, rules: RetentionRules, limit: int) -> list[str]:
        audio = self._audio.ids()
        return await self._store.call(lambda store: store.retention.expired(rules, audio, limit))

    async def _judge(self, rules: RetentionRules) -> None:
        """Say what is in the way where the store is still larger than allowed."""
        await self.look()
        if self.used_bytes <= self.max_bytes:
            if self.trouble:
                _log.info("the store is within its bounds again")
            self.trouble = ""
            return
        behind = await self._store.call(lambda store: store.retention.behind(rules))
        size = f"The store takes {self.used_bytes / BYTES_PER_MB:.1f} MB, more than store.max_mb"
        if behind:
            names = " and ".join(behind)
            self._fail(
                f"{size}, because {names} has not been given its records yet. Bring it back, "
                "take it out of sinks:, or raise store.max_mb."
            )
        else:
            self._fail(f"{size}, with nothing in it that may be deleted. Raise store.max_mb.")

    def _fail(self, trouble: str) -> None:
        if not self.trouble and not self._closed:
            _log.warning("%s", trouble)
        self.trouble = trouble

    async def _pause(self, seconds: float) -> None:
        await is_set_within(self._wake, 0 if self._closed else seconds)
