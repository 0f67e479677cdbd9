"""Carries records from the store to one sink, at the sink's own pace.

The store is the queue: a follower holds one batch in memory and a cursor, the ``seq`` of the last
record its sink has dealt with. The cursor is written lazily, so a crash repeats a few records
under the same ids and loses none.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from stt_edge.errors import StoreError
from stt_edge.frozen import frozen
from stt_edge.model import Record
from stt_edge.sinks.base import Sink, SinkError, SinkRefusedError, SinkUnavailableError
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)


class RecordSource(Protocol):
    """The store, as a follower needs it. Every method may raise StoreError."""

    async def records_after(self, seq: int, limit: int) -> Sequence[tuple[int, Record]]:
        """Return the next records in the order of their commitment, each with its ``seq``."""

    async def last_seq(self) -> int:
        """Return the ``seq`` of the newest record, 0 when there is none."""

    async def cursor(self, sink: str) -> int | None:
        """Return where a sink stands, None for one never seen."""

    async def set_cursor(self, sink: str, seq: int) -> None:
        """Store where a sink stands."""


@frozen
class FollowerSettings:
    """How patient a follower is; tests are less so."""

    batch: int = 100
    """Records read at once; also the most that can be repeated by a crash while catching up."""
    save_cursor_s: float = 5.0
    """The cursor is written at most this often, and after every full batch."""
    first_retry_s: float = 0.5
    longest_retry_s: float = 60.0
    refusals: int = 5
    """Attempts with a record that the sink refuses; then it is set aside."""
    refusal_wait_s: float = 0.2


class FollowerState(StrEnum):
    """Whether a sink takes records."""

    STARTING = "starting"
    """It has not been tried yet."""
    UP = "ok"
    DOWN = "down"


@frozen
class FollowerStatus:
    """How a sink is doing."""

    name: str
    state: FollowerState
    message: str
    """Why it is down; empty while it is not."""
    position: int | None
    """The ``seq`` of the last record dealt with; None until the store has been read."""
    delivered: int
    """Since the start."""
    set_aside: int
    """Records refused and passed over since the start."""
    last_set_aside: str | None
    """The id of the last of them; its record stays in the store."""


class Follower:
    """One sink and its place in the store."""

    def __init__(
        self,
        sink: Sink,
        source: RecordSource,
        settings: FollowerSettings | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        """Follow ``source``; nothing happens until ``run``."""
        self.sink = sink
        self._source = source
        self._settings = settings or FollowerSettings()
        self._rng = rng or random.Random()  # noqa: S311  jitter, not secrecy
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._finished = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._stopping = False
        self._open = False
        self._position: int | None = None
        self._saved: int | None = None
        self._saved_at_s = 0.0
        self._save_failed = False
        self._failures = 0
        self._down_since_s = 0.0
        self._tried = False
        self._message = ""
        self._delivered = 0
        self._set_aside = 0
        self._last_set_aside: str | None = None
        sink.watch(self.wake)

    async def run(self) -> None:
        """Deliver until ``stop``; then save the cursor and close the sink."""
        if self._finished.is_set():  # stopped before it began
            return
        self._work = asyncio.create_task(self._follow(), name=f"sink-{self.sink.name}")
        try:
            await self._work
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._stopping or (current is not None and current.cancelling()):
                raise
        finally:
            await self._save_cursor()
            await self.sink.close()
            self._finished.set()

    def wake(self) -> None:
        """Take that there are new records; called after every commitment."""
        self._news.set()

    def reopen(self) -> None:
        """Let the sink let go of its files, and try at once if it is down."""
        self.sink.reopen()
        self._hurry.set()

    async def stop(self, deadline_s: float) -> None:
        """Deliver what can be delivered within ``deadline_s``, then let go; the rest waits."""
        self._stopping = True
        self._news.set()
        self._hurry.set()
        if self._work is None:
            self._finished.set()
            return
        done, _ = await asyncio.wait([self._work], timeout=deadline_s)
        if not done:
            self._work.cancel()
        await self._finished.wait()

    def status(self) -> FollowerStatus:
        """Return how the sink is doing."""
        return FollowerStatus(
            name=self.sink.name,
            state=self._state(),
            message=self._message,
            position=self._position,
            delivered=self._delivered,
            set_aside=self._set_aside,
            last_set_aside=self._last_set_aside,
        )

    def _state(self) -> FollowerState:
        if not self._tried:
            return FollowerState.STARTING
        return FollowerState.DOWN if self._message else FollowerState.UP

    async def _follow(self) -> None:
        while True:
            self._news.clear()
            try:
                await self._catch_up()
            except (SinkUnavailableError, StoreError) as error:
                await self._went_down(error)
                if self._stopping:
                    return
                await self._pause()
                continue
            self._came_up()
            if self._stopping:
                return
            await self._wait_for_news()

    async def _catch_up(self) -> None:
        """Bring the sink level with the store."""
        position = await self._begin()
        if self._open:
            self.sink.check()
        else:
            await self.sink.open()
            self._open = True
        while records := await self._source.records_after(position, self._settings.batch):
            await self._hand_over(records)
            position = records[-1][0]
            if len(records) == self._settings.batch or self._cursor_due_s() <= 0:
                await self._save_cursor()

    async def _begin(self) -> int:
        if self._position is None:
            known = await self._source.cursor(self.sink.name) if self.sink.resumes else None
            self._saved = known
            self._position = await self._source.last_seq() if known is None else known
            if known is None:
                await self._save_cursor()  # a crash must not move where a new sink began
        return self._position

    async def _hand_over(self, batch: Sequence[tuple[int, Record]]) -> None:
        """Keep as many records under way as the sink takes at once.

        The place moves past those in front that are dealt with. After a failure the sink is given
        the rest again, also what it may have taken behind it. One that is refused and taken later
        follows those that were under way.
        """
        waiting = deque(batch)
        under_way: deque[tuple[int, Record, asyncio.Task[SinkError | None]]] = deque()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self.sink.at_once:
                    seq, record = waiting.popleft()
                    attempt = asyncio.create_task(self._attempt(record))
                    under_way.append((seq, record, attempt))
                seq, record, attempt = under_way.popleft()
                await self._conclude(record, await attempt)
                self._position = seq
        finally:
            for *_, attempt in under_way:
                attempt.cancel()
            await asyncio.gather(*(each[2] for each in under_way), return_exceptions=True)

    async def _conclude(self, record: Record, failure: SinkError | None) -> None:
        if isinstance(failure, SinkRefusedError):
            await self._insist(record, failure)
        elif failure is not None:
            raise failure
        else:
            self._took()

    async def _attempt(self, record: Record) -> SinkError | None:
        try:
            await self.sink.write(record)
        except (SinkUnavailableError, SinkRefusedError) as error:
            return error
        return None

    async def _insist(self, record: Record, error: SinkRefusedError) -> None:
        """Offer a record that was refused again, then put it aside."""
        for attempt in range(1, self._settings.refusals):
            await asyncio.sleep(self._settings.refusal_wait_s * attempt)
            try:
                await self.sink.write(record)
            except SinkRefusedError as refusal:
                error = refusal
            else:
                self._took()
                return
        self._put_aside(record, error)

    def _took(self) -> None:
        self._delivered += 1
        self._came_up()

    def _put_aside(self, record: Record, error: SinkRefusedError) -> None:
        self._set_aside += 1
        self._last_set_aside = record.id
        _log.warning(
            "sink %s refused record %s %d times; it is set aside and stays in the store: %s",
            self.sink.name,
            record.id,
            self._settings.refusals,
            error,
        )

    async def _went_down(self, error: SinkUnavailableError | StoreError) -> None:
        if self._open:
            self._open = False
            await self.sink.close()
        if self._failures == 0:
            self._down_since_s = _now_s()
            _log.warning("sink %s takes nothing now, records wait: %s", self.sink.name, error)
        else:
            _log.debug("sink %s still takes nothing: %s", self.sink.name, error)
        self._failures += 1
        self._tried = True
        self._message = str(error)

    def _came_up(self) -> None:
        if self._failures:
            _log.info("sink %s is back after %.1f s", self.sink.name, _now_s() - self._down_since_s)
        self._failures = 0
        self._tried = True
        self._message = ""

    async def _pause(self) -> None:
        """Wait before the next attempt; ``stop`` and ``reopen`` cut it short."""
        limits = self._settings
        longest_s = min(
            limits.longest_retry_s, limits.first_retry_s * 2 ** min(self._failures - 1, 16)
        )
        await is_set_within(self._hurry, longest_s * self._rng.uniform(0.5, 1.0))
        self._hurry.clear()

    async def _wait_for_news(self) -> None:
        """Sleep until there are records, writing the cursor when it is due."""
        due_s = None if self._position == self._saved else max(0.0, self._cursor_due_s())
        if not await is_set_within(self._news, due_s):
            await self._save_cursor()

    def _cursor_due_s(self) -> float:
        return self._saved_at_s + self._settings.save_cursor_s - _now_s()

    async def _save_cursor(self) -> None:
        position = self._position
        if position is None or position == self._saved or not self.sink.resumes:
            self._saved = position
            return
        self._saved_at_s = _now_s()
        try:
            await self._source.set_cursor(self.sink.name, position)
        except StoreError as error:
            if not self._save_failed:
                _log.warning(
                    "the position of sink %s cannot be stored; after a crash it would repeat "
                    "records: %s",
                    self.sink.name,
                    error,
                )
            self._save_failed = True
            return
        self._saved = position
        self._save_failed = False


def _now_s() -> float:
    return asyncio.get_running_loop().time()
