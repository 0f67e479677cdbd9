"""Records to write, and a store of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stt_edge.errors import StoreError
from stt_edge.ids import uuid7
from stt_edge.model import Record

START = datetime(2026, 11, 20, 16, 20, 31, 482_000, tzinfo=UTC)


def record(text: str = "open the window", **changes: Any) -> Record:
    """Return a record of two seconds, with an id of its own."""
    plain = Record(
        id=uuid7(),
        stream=uuid7(),
        start=START,
        end=START + timedelta(seconds=2),
        start_sample=16_000,
        end_sample=48_000,
        text=text,
        provider="pocketsphinx",
        node="kitchen",
        duration_ms=2000,
        speech_ms=1400,
        language="en",
        confidence=0.93,
        model="en-us",
        latency_ms=640,
    )
    return replace(plain, **changes)


class MemoryStore:
    """A store in memory, complete as far as followers are concerned."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = list(records)
        self.cursors: dict[str, int] = {}
        self.cursor_writes = 0
        self.largest_batch = 0
        self.broken: StoreError | None = None
        self.read_only: StoreError | None = None

    async def records_after(self, seq: int, limit: int) -> list[tuple[int, Record]]:
        self._check()
        batch = list(enumerate(self.records, start=1))[seq : seq + limit]
        self.largest_batch = max(self.largest_batch, len(batch))
        return batch

    async def last_seq(self) -> int:
        self._check()
        return len(self.records)

    async def cursor(self, sink: str) -> int | None:
        self._check()
        return self.cursors.get(sink)

    async def set_cursor(self, sink: str, seq: int) -> None:
        self._check()
        if self.read_only is not None:
            raise self.read_only
        self.cursors[sink] = seq
        self.cursor_writes += 1

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken
