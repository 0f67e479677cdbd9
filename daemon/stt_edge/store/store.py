"""Every committed result and how far each utterance has come, in one SQLite file.

A result exists when it is committed: the transaction that stores a part moves the utterance's
``acked_sample``, and the one that stores a record finishes the utterance. When a method that writes
has returned, what it wrote survives a crash and, on a medium that keeps its word, a power cut.
Every such method may be called again with the same arguments after a failure; nothing is written
when nothing changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

from stt_edge.errors import StoreConflictError, UnavailableError
from stt_edge.frozen import frozen
from stt_edge.model import Part, Record, UtteranceEnd, UtteranceStart, UtteranceState
from stt_edge.store.codec import (
    PART_COLUMNS,
    UTTERANCE_COLUMNS,
    UtteranceRow,
    end_to_row,
    part_from_row,
    part_to_row,
    record_from_body,
    record_to_body,
    start_to_row,
    utterance_from_row,
)
from stt_edge.store.database import Database
from stt_edge.store.failures import UnreadableRowError, translated
from stt_edge.store.opening import StoreOpening, open_database
from stt_edge.store.retention import Retention
from stt_edge.store.schema import check_version, connect_read_only

FINISHED: Final = (UtteranceState.DONE, UtteranceState.DROPPED, UtteranceState.POISONED)

T = TypeVar("T")

_EMPTIES: Final = "empties"
_IDS_AT_ONCE: Final = 500


@frozen
class Usage:
    """What a provider was used for on a local day."""

    provider: str
    day: date
    seconds_sent: float
    connection_seconds: float
    cost: float
    billed_seconds: float = 0.0


class Store:
    """To be used by the thread that opened it. Methods raise StoreError when SQLite fails.

    After a StoreConflictError trying again cannot help.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, opening: StoreOpening) -> None:
        """Take over a connection; use ``open``."""
        self._database = Database(connection, path)
        self.opening = opening
        """What had to be done to open it."""
        self.retention = Retention(self._database)
        """What deletes results."""
        self._unreadable: list[str] = []

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store, creating, updating or replacing its file as need be (see ``opening``).

        The caller holds the state directory's lock. Raises StoreError, of which NewerSchemaError
        means that a later version wrote the file.
        """
        with translated("open", path):
            connection, opening = open_database(path)
        return cls(connection, path, opening)

    @classmethod
    def open_read_only(cls, path: Path) -> Store:
        """Open a store a daemon may be writing to, to look at it. Raises UnavailableError."""
        if not path.exists():
            raise UnavailableError(
                f"There is no store at {path}.", "Start the daemon once, or name its directory."
            )
        with translated("open", path):
            connection = connect_read_only(path)
            try:
                check_version(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path, StoreOpening())

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._database.close()

    def add_utterance(self, head: UtteranceStart) -> None:
        """Note a new utterance; one that is known already stays as it is.

        One whose record exists, though nothing else of it does, counts as done.
        """
        with self._database.transaction():
            if self._database.one("SELECT 1 FROM utterances WHERE id = ?", head.id):
                return
            done = self._database.one("SELECT 1 FROM records WHERE utterance_id = ?", head.id)
            self._database.execute(
                "INSERT INTO utterances (id, stream, start_sample, started_at, started_mono_ns,"
                " continues, clock_unsynced, lost_before, state, acked_sample)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *start_to_row(head),
                UtteranceState.DONE if done else UtteranceState.OPEN,
                head.start,
            )

    def end_utterance(self, utterance_id: str, tail: UtteranceEnd) -> None:
        """Note how an utterance ended; the first end counts."""
        with self._database.transaction():
            row = self._known(utterance_id)
            if row.end is not None:
                return
            state = UtteranceState.ENDED if row.state is UtteranceState.OPEN else row.state
            self._database.execute(
                "UPDATE utterances SET state = ?, end_sample = ?, end_reason = ?, speech_end = ?,"
                " speech_samples = ?, lost = ? WHERE id = ?",
                state,
                *end_to_row(tail),
                utterance_id,
            )

    def commit_part(self, part: Part, acked_sample: int) -> int:
        """Store a part and move ``acked_sample`` forward in one transaction; returns the latter.

        Raises StoreConflictError when the utterance is unknown or finished, or another part has
        the same number.
        """
        row = part_to_row(part)
        with self._database.transaction():
            utterance = self._known(part.utterance_id)
            there = self._database.one(
                f"SELECT {PART_COLUMNS} FROM parts WHERE utterance_id = ? AND seq = ?",  # noqa: S608
                part.utterance_id,
                part.seq,
            )
            if there is None and utterance.state in FINISHED:
                raise StoreConflictError(
                    f"Utterance {part.utterance_id} is {utterance.state.value}."
                )
            if there is None:
                self._database.execute(
                    f"INSERT INTO parts ({PART_COLUMNS}) VALUES ({_marks(len(row))})",  # noqa: S608
                    *row,
                )
            elif there != row:
                raise StoreConflictError(
                    f"Utterance {part.utterance_id} has another part number {part.seq}."
                )
            acked = max(utterance.acked_sample, acked_sample)
            if acked != utterance.acked_sample:
                self._database.execute(
                    "UPDATE utterances SET acked_sample = ? WHERE id = ?", acked, utterance.id
                )
        return acked

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> int | None:
        """Finish an utterance and store its record in one transaction.

        Returns the record's seq, None for no record. The first finish counts: a second one
        changes nothing and returns what the first did. Done without a record is counted as empty.
        Raises StoreConflictError when the utterance is unknown, or another one has this record.
        """
        if state not in FINISHED:
            raise ValueError(f"{state.value} is not the end of an utterance")
        with self._database.transaction():
            utterance = self._known(utterance_id)
            there = self._database.one(
                "SELECT seq FROM records WHERE utterance_id = ? AND seq >"
                " coalesce((SELECT seq FROM records WHERE id = ?), 0) ORDER BY seq LIMIT 1",
                utterance_id,
                utterance.supersedes or "",
            )
            seq: int | None = there[0] if there else None
            if utterance.state in FINISHED:
                return seq
            if record is not None and seq is None:
                seq = self._insert_record(utterance_id, record)
            if seq is None and state is UtteranceState.DONE:
                self._put_meta(_EMPTIES, str(int(self.meta(_EMPTIES) or 0) + 1))
            self._database.execute(
                "UPDATE utterances SET state = ? WHERE id = ?", state, utterance_id
            )
        return seq

    def begin_anew(self, utterance_id: str, record: Record | None) -> int | None:
        """Store a fallback's record and forget its parts: the first provider is to do it again.

        Returns the record's seq, None for no record. A repetition changes nothing. Raises
        StoreConflictError when the utterance is unknown or finished.
        """
        with self._database.transaction():
            utterance = self._known(utterance_id)
            if utterance.state in FINISHED:
                raise StoreConflictError(f"Utterance {utterance_id} is {utterance.state.value}.")
            there = self._database.one(
                "SELECT seq FROM records WHERE utterance_id = ? ORDER BY seq LIMIT 1", utterance_id
            )
            if utterance.supersedes is not None:
                return there[0] if there else None
            seq = None if record is None else self._insert_record(utterance_id, record)
            self._database.execute("DELETE FROM parts WHERE utterance_id = ?", utterance_id)
            self._database.execute(
                "UPDATE utterances SET supersedes = ?, acked_sample = start_sample,"
                " job_provider = NULL, job_token = NULL WHERE id = ?",
                "" if record is None else record.id,
                utterance_id,
            )
        return seq

    def reopen(self, utterance_id: str) -> UtteranceRow | None:
        """Let a finished utterance be transcribed again, by whoever has its audio.

        One that was set aside goes on where it was; one that is done begins anew, and the record
        there will be supersedes the one there is. Returns how far it has come, None where it is
        unknown, unfinished or dropped.
        """
        with self._database.transaction():
            row = self.utterance(utterance_id)
            if row is None or row.state not in (UtteranceState.DONE, UtteranceState.POISONED):
                return None
            if row.state is UtteranceState.DONE:
                last = self._database.one(
                    "SELECT id FROM records WHERE utterance_id = ? ORDER BY seq DESC LIMIT 1",
                    utterance_id,
                )
                self._database.execute("DELETE FROM parts WHERE utterance_id = ?", utterance_id)
                self._database.execute(
                    "UPDATE utterances SET supersedes = ?, acked_sample = start_sample,"
                    " job_provider = NULL, job_token = NULL WHERE id = ?",
                    last[0] if last else None,
                    utterance_id,
                )
            self._database.execute(
                "UPDATE utterances SET state = ? WHERE id = ?", UtteranceState.ENDED, utterance_id
            )
            return self.utterance(utterance_id)

    def set_job(self, utterance_id: str, job: tuple[str, str] | None) -> None:
        """Note which provider has made a job of an utterance, and its token; None for none."""
        provider, token = job or (None, None)
        with self._database.transaction():
            self._known(utterance_id)
            self._database.execute(
                "UPDATE utterances SET job_provider = ?, job_token = ? WHERE id = ?",
                provider,
                token,
                utterance_id,
            )

    def utterance(self, utterance_id: str) -> UtteranceRow | None:
        """Return how far an utterance has come; None when it is not known."""
        row = self._database.one(
            f"SELECT {UTTERANCE_COLUMNS} FROM utterances WHERE id = ?",  # noqa: S608
            utterance_id,
        )
        with translated("read", self._database.path):
            return utterance_from_row(row) if row else None

    def sequence(self) -> list[str]:
        """Return the ids of unfinished and set aside utterances in the order they were added."""
        rows = self._database.all(
            "SELECT id FROM utterances WHERE state IN ('open', 'ended', 'poisoned') ORDER BY seq"
        )
        return [row[0] for row in rows]

    def states(self, ids: Sequence[str]) -> dict[str, UtteranceState]:
        """Return the states of utterances; those that are not known are left out."""
        found: dict[str, UtteranceState] = {}
        for at in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[at : at + _IDS_AT_ONCE]
            query = f"SELECT id, state FROM utterances WHERE id IN ({_marks(len(some))})"  # noqa: S608
            found.update(
                (id_, UtteranceState(state)) for id_, state in self._database.all(query, *some)
            )
        return found

    def unfinished(self) -> list[UtteranceRow]:
        """Return the utterances that are open or ended, oldest first."""
        rows = self._database.all(
            f"SELECT {UTTERANCE_COLUMNS} FROM utterances"  # noqa: S608
            " WHERE state IN ('open', 'ended') ORDER BY seq"
        )
        return [utterance for row in rows if (utterance := self._readable(utterance_from_row, row))]

    def parts(self, utterance_id: str) -> list[Part]:
        """Return an utterance's parts in the order of their numbers."""
        rows = self._database.all(
            f"SELECT {PART_COLUMNS} FROM parts WHERE utterance_id = ? ORDER BY seq",  # noqa: S608
            utterance_id,
        )
        with translated("read", self._database.path):
            return [part_from_row(row) for row in rows]

    def records_after(self, seq: int, limit: int) -> list[tuple[int, Record]]:
        """Return the next records with their seq, at most ``limit``, in the order of commitment."""
        query = "SELECT seq, body FROM records WHERE seq > ? ORDER BY seq LIMIT ?"
        while rows := self._database.all(query, seq, limit):
            if records := self._records(rows):
                return records
            seq = rows[-1][0]
        return []

    def last_records(self, count: int) -> list[tuple[int, Record]]:
        """Return the last ``count`` records with their seq, in the order of commitment."""
        rows = self._database.all("SELECT seq, body FROM records ORDER BY seq DESC LIMIT ?", count)
        return self._records(rows[::-1])

    def last_seq(self) -> int:
        """Return the seq of the last record there has been; 0 before the first."""
        rows = self._database.all("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
        return int(rows[0][0]) if rows else 0

    def cursor(self, sink: str) -> int | None:
        """Return the seq of the last record a sink has taken; None for a sink never seen."""
        rows = self._database.all("SELECT seq FROM cursors WHERE sink = ?", sink)
        return int(rows[0][0]) if rows else None

    def set_cursor(self, sink: str, seq: int) -> None:
        """Note the last record a sink has taken."""
        with self._database.transaction():
            if self._database.one("SELECT 1 FROM cursors WHERE sink = ? AND seq = ?", sink, seq):
                return
            self._database.execute(
                "INSERT INTO cursors (sink, seq) VALUES (?, ?)"
                " ON CONFLICT (sink) DO UPDATE SET seq = excluded.seq",
                sink,
                seq,
            )

    def add_usage(
        self,
        provider: str,
        day: date,
        *,
        seconds_sent: float = 0.0,
        connection_seconds: float = 0.0,
        cost: float = 0.0,
        billed_seconds: float = 0.0,
    ) -> None:
        """Add to what a provider was used for on a local day. Not to be repeated blindly."""
        amounts = (seconds_sent, connection_seconds, cost, billed_seconds)
        if not any(amounts):
            return
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO usage (provider, day, seconds_sent, connection_seconds, cost,"
                " billed_seconds) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (provider, day) DO UPDATE SET"
                " seconds_sent = seconds_sent + excluded.seconds_sent,"
                " connection_seconds = connection_seconds + excluded.connection_seconds,"
                " cost = cost + excluded.cost,"
                " billed_seconds = coalesce(billed_seconds, 0) + excluded.billed_seconds",
                provider,
                day.isoformat(),
                *amounts,
            )

    def usage(self, day: date) -> list[Usage]:
        """Return what each provider was used for on a local day."""
        rows = self._database.all(
            "SELECT provider, seconds_sent, connection_seconds, cost, coalesce(billed_seconds, 0)"
            " FROM usage WHERE day = ? ORDER BY provider",
            day.isoformat(),
        )
        return [Usage(provider, day, *amounts) for provider, *amounts in rows]

    def counts(self) -> dict[UtteranceState, int]:
        """Return how many utterances are in each state."""
        found = dict(self._database.all("SELECT state, count(*) FROM utterances GROUP BY state"))
        return {state: found.get(state.value, 0) for state in UtteranceState}

    def empties(self) -> int:
        """Return how many utterances were done without a word said in them."""
        return int(self.meta(_EMPTIES) or 0)

    def meta(self, key: str) -> str | None:
        """Return a note; None when there is none of that name."""
        row = self._database.one("SELECT value FROM meta WHERE key = ?", key)
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Keep a note."""
        with self._database.transaction():
            if self.meta(key) != value:
                self._put_meta(key, value)

    def take_unreadable(self) -> list[str]:
        """Return and forget which rows were passed over because they make no sense."""
        unreadable, self._unreadable = self._unreadable, []
        return unreadable

    def _insert_record(self, utterance_id: str, record: Record) -> int:
        return self._database.execute(
            "INSERT INTO records (id, utterance_id, body) VALUES (?, ?, ?)",
            record.id,
            utterance_id,
            record_to_body(record),
        )

    def _records(self, rows: list[tuple[Any, ...]]) -> list[tuple[int, Record]]:
        found = (
            (row[0], self._readable(lambda row: record_from_body(row[1]), row)) for row in rows
        )
        return [(seq, record) for seq, record in found if record is not None]

    def _readable(self, decode: Callable[[tuple[Any, ...]], T], row: tuple[Any, ...]) -> T | None:
        """Decode a row; one bad row must not stop every sink, or every start."""
        try:
            return decode(row)
        except UnreadableRowError as error:
            message = f"row {row[0]}: {error}"
            if message not in self._unreadable:
                self._unreadable.append(message)
            return None

    def _known(self, utterance_id: str) -> UtteranceRow:
        utterance = self.utterance(utterance_id)
        if utterance is None:
            raise StoreConflictError(
                f"Utterance {utterance_id} is not in the store {self._database.path}."
            )
        return utterance

    def _put_meta(self, key: str, value: str) -> None:
        self._database.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )


def _marks(count: int) -> str:
    return ", ".join("?" * count)
