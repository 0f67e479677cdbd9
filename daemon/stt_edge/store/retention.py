"""What the store lets go of: what is old, what is beyond the room allowed, what is to be forgotten.

Deleting takes two steps, because audio that the store does not know would be transcribed again:
``expired``, ``said_before`` and ``strays`` name utterances, the caller deletes their audio, and
``forget`` deletes the rows. A crash between the two costs nothing: the same names come up again.
Those that are not finished are given up before (``give_up``).

What is deleted is overwritten (``secure_delete``); ``truncate_log`` takes it out of the write-ahead
log too. Numbers once given to records are never given again (AUTOINCREMENT).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import UTC, date, datetime
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.store.database import Database
from stt_edge.store.schema import BUSY_TIMEOUT_S

_CHECKPOINT_MS: Final = 250
"""A reader in the way of emptying the write-ahead log holds up commits for so long at most."""
_NUMBERS_END: Final = (1 << 63) - 1

# The first line is what the index utterances_by_age holds.
_FREE: Final = """
    u.state IN ('done', 'dropped', 'poisoned')
    AND (u.state != 'poisoned' OR u.id NOT IN (SELECT value FROM json_each(:audio)))
    AND NOT EXISTS (SELECT 1 FROM records WHERE utterance_id = u.id AND seq > :reached)
"""
_BEFORE: Final = """
    (:before IS NULL OR u.started_at < :before OR (u.clock_unsynced = 1 AND u.seq < (
        SELECT max(seq) FROM utterances WHERE clock_unsynced = 0 AND started_at < :before)))
    AND (u.state != 'open' OR :open)
"""
_STRAY: Final = """
    (SELECT DISTINCT utterance_id FROM parts UNION SELECT utterance_id FROM records) AS found
    WHERE (:before IS NULL OR utterance_id < :before)
    AND NOT EXISTS (SELECT 1 FROM utterances WHERE id = found.utterance_id)
    AND NOT EXISTS (SELECT 1 FROM records WHERE utterance_id = found.utterance_id
                    AND (seq > :reached OR (:by_age AND body LIKE '%"clock_unsynced":true%')))
"""


@frozen
class RetentionRules:
    """What may be deleted without anybody asking for it."""

    max_bytes: int
    """More than this in use, and the oldest go."""
    oldest: datetime | None = None
    """What was said before goes; None while it is not known what time it is."""
    sinks: frozenset[str] = frozenset()
    """Those that are configured: what one of them has not been given yet stays."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """Where sinks stand that keep no cursor in the store."""


@frozen
class Forgotten:
    """How much of the store is gone."""

    utterances: int = 0
    records: int = 0

    def __add__(self, other: Forgotten) -> Forgotten:
        """Return both together."""
        return Forgotten(self.utterances + other.utterances, self.records + other.records)


class Retention:
    """Deletes results; a part of the store, to be used by its thread. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        """Work on the store's database."""
        self._database = database

    def used_bytes(self) -> int:
        """Return how much of the file is in use; the rest of it is used again."""
        (pages,), (free,), (size,) = (
            self._database.all(f"PRAGMA {name}")[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def expired(self, rules: RetentionRules, audio: Collection[str], limit: int) -> list[str]:
        """Return ids of utterances to delete now, at most ``limit``; first those too old.

        Only of finished ones whose records every configured sink has been given; of poisoned ones
        none of ``audio``, the ids of the utterances that audio is kept of.
        """
        reached = self.reached(rules)
        values = {"audio": json.dumps(list(audio)), "reached": reached, "limit": limit}
        found: list[str] = []
        if rules.oldest is not None:
            oldest = _text(rules.oldest)
            found = self._ids(
                f"SELECT u.id FROM utterances AS u WHERE {_FREE} AND u.clock_unsynced = 0"  # noqa: S608
                " AND u.started_at < :oldest ORDER BY u.started_at LIMIT :limit",
                values | {"oldest": oldest},
            )
        if not found and self.used_bytes() > rules.max_bytes:
            found = self._ids(
                f"SELECT u.id FROM utterances AS u WHERE {_FREE} ORDER BY u.seq LIMIT :limit",  # noqa: S608
                values,
            ) or self._strays(None, reached, limit, by_age=False)
        return found

    def strays(self, rules: RetentionRules, limit: int) -> list[str]:
        """Return ids of which results are there and nothing else, as after a damage; of old ones.

        Reads through all results: once a run is often enough.
        """
        if rules.oldest is None:
            return []
        return self._strays(rules.oldest, self.reached(rules), limit, by_age=True)

    def said_before(
        self, before: datetime | None, limit: int, *, with_open: bool = False
    ) -> list[str]:
        """Return ids of what was said before a moment, finished or not, oldest first.

        None is all there is. What sinks have been given does not matter. Where the clock was not
        known to be right, what is followed by something said before that moment was said before
        it too. ``with_open`` is for when nothing can be open: no daemon runs.
        """
        values = {"before": _text(before), "open": with_open, "limit": limit}
        return self._ids(
            f"SELECT u.id FROM utterances AS u WHERE {_BEFORE} ORDER BY u.seq LIMIT :limit",  # noqa: S608
            values,
        ) or self._strays(before, _NUMBERS_END, limit, by_age=False)

    def count_before(self, before: datetime | None, *, with_open: bool = False) -> Forgotten:
        """Return what ``said_before`` is about."""
        values = {"before": _text(before), "open": with_open}
        of_utterances = f"SELECT u.id FROM utterances AS u WHERE {_BEFORE}"  # noqa: S608
        strays = set(self._strays(before, _NUMBERS_END, -1, by_age=False))
        utterances = len(self._ids(of_utterances, values)) + len(strays)
        (records,) = self._database.all_named(
            f"SELECT count(*) FROM records WHERE utterance_id IN ({of_utterances})"  # noqa: S608
            " OR utterance_id IN (SELECT value FROM json_each(:strays))",
            values | {"strays": json.dumps(list(strays))},
        )[0]
        return Forgotten(utterances, int(records))

    def give_up(self, ids: Collection[str]) -> None:
        """Note that nothing is to come of utterances any more, as the first step of forgetting.

        After a crash in between no run transcribes what is left of them, or makes a record of it.
        """
        with self._database.transaction():
            self._database.execute(
                "UPDATE utterances SET state = 'dropped' WHERE state IN ('open', 'ended')"
                " AND id IN (SELECT value FROM json_each(?))",
                json.dumps(list(ids)),
            )

    def forget(self, ids: Collection[str]) -> Forgotten:
        """Delete utterances with all their results; those not here are no error.

        One that is not finished is passed over.
        """
        chosen = {"ids": json.dumps(list(ids))}
        there = (
            "SELECT value FROM json_each(:ids) WHERE NOT EXISTS (SELECT 1 FROM utterances"
            " WHERE id = value AND state IN ('open', 'ended'))"
        )
        with self._database.transaction():
            deleted = {"parts": 0, "records": 0, "utterances": 0}
            for table in deleted:
                key = "id" if table == "utterances" else "utterance_id"
                statement = f"DELETE FROM {table} WHERE {key} IN ({there})"  # noqa: S608
                self._database.execute_named(statement, chosen)
                (deleted[table],) = self._database.all("SELECT changes()")[0]
        return Forgotten(deleted["utterances"], deleted["records"])

    def forget_usage(self, before: date) -> None:
        """Delete what providers were used for on days before ``before``."""
        with self._database.transaction():
            self._database.execute("DELETE FROM usage WHERE day < ?", before.isoformat())

    def truncate_log(self) -> bool:
        """Empty the write-ahead log; returns whether it is, for a reader may be in the way."""
        self._database.all(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
        try:
            (busy, *_) = self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")[0]
        finally:
            self._database.all(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
        return not busy

    def reached(self, rules: RetentionRules) -> int:
        """Return the seq of the last record that every configured sink has been given."""
        standing = [seq for sink, seq in rules.positions.items() if sink in rules.sinks]
        standing += [seq for sink, seq in self._cursors().items() if sink in rules.sinks]
        return min(standing, default=_NUMBERS_END)

    def behind(self, rules: RetentionRules) -> list[str]:
        """Return the sinks that have not been given everything, by name."""
        known = self._cursors() | dict(rules.positions)
        last = self._database.one("SELECT coalesce(max(seq), 0) FROM records")
        assert last is not None
        return sorted(sink for sink in rules.sinks & known.keys() if known[sink] < last[0])

    def _strays(
        self, before: datetime | None, reached: int, limit: int, *, by_age: bool
    ) -> list[str]:
        # Of them nothing but the id tells when they were made.
        floor = None if before is None else _first_id(before)
        values = {"before": floor, "reached": reached, "limit": limit, "by_age": by_age}
        return self._ids(f"SELECT utterance_id FROM {_STRAY} LIMIT :limit", values)  # noqa: S608

    def _cursors(self) -> dict[str, int]:
        return dict(self._database.all("SELECT sink, seq FROM cursors"))

    def _ids(self, query: str, values: Mapping[str, Any]) -> list[str]:
        return [row[0] for row in self._database.all_named(query, values)]


def _text(moment: datetime | None) -> str | None:
    """Return a moment as the column ``started_at`` has it: texts sort as the moments do."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def _first_id(moment: datetime) -> str:
    """Return what sorts before every UUIDv7 made at or after a moment."""
    stamp = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{stamp[:8]}-{stamp[8:]}"
