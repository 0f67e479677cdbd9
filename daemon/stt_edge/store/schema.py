"""The tables, how they came to be, and how a connection is set up."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stt_edge.errors import StoreError
from stt_edge.store.failures import DamagedError, NewerSchemaError

APPLICATION_ID: Final = 0x53545445
"""'STTE' in the file's header: whose database it is."""

# No store has seen this many schemas: a higher number is a damaged header.
_VERSIONS_END: Final = 50
_TABLES: Final = frozenset({"utterances", "parts", "records"})

BUSY_TIMEOUT_S: Final = 5.0

MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        """
        CREATE TABLE utterances (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            stream TEXT NOT NULL,
            start_sample INTEGER NOT NULL,
            started_at TEXT NOT NULL,
            started_mono_ns INTEGER NOT NULL,
            continues INTEGER NOT NULL,
            clock_unsynced INTEGER NOT NULL,
            lost_before INTEGER NOT NULL,
            state TEXT NOT NULL,
            acked_sample INTEGER NOT NULL,
            end_sample INTEGER,
            end_reason TEXT,
            speech_end INTEGER,
            speech_samples INTEGER,
            lost INTEGER
        )
        """,
        "CREATE INDEX utterances_unfinished ON utterances (seq) WHERE state IN ('open', 'ended')",
        """
        CREATE TABLE parts (
            utterance_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            start_sample INTEGER NOT NULL,
            end_sample INTEGER NOT NULL,
            text TEXT NOT NULL,
            provider TEXT NOT NULL,
            model TEXT,
            language TEXT,
            confidence REAL,
            words TEXT NOT NULL,
            item_id TEXT,
            truncated INTEGER NOT NULL,
            UNIQUE (utterance_id, seq)
        )
        """,
        """
        CREATE TABLE records (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            utterance_id TEXT NOT NULL,
            body TEXT NOT NULL
        )
        """,
        "CREATE INDEX records_of_utterance ON records (utterance_id)",
        "CREATE TABLE cursors (sink TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL)",
        """
        CREATE TABLE usage (
            provider TEXT NOT NULL,
            day TEXT NOT NULL,
            seconds_sent REAL NOT NULL,
            connection_seconds REAL NOT NULL,
            cost REAL NOT NULL,
            UNIQUE (provider, day)
        )
        """,
        "CREATE TABLE meta (key TEXT NOT NULL UNIQUE, value TEXT NOT NULL)",
    ),
    (
        "ALTER TABLE utterances ADD COLUMN job_provider TEXT",
        "ALTER TABLE utterances ADD COLUMN job_token TEXT",
        "ALTER TABLE utterances ADD COLUMN supersedes TEXT",
        "ALTER TABLE usage ADD COLUMN billed_seconds REAL",
    ),
    (
        # What retention may delete for its age, without reading the whole table each time.
        """
        CREATE INDEX utterances_by_age ON utterances (started_at)
        WHERE state IN ('done', 'dropped', 'poisoned') AND clock_unsynced = 0
        """,
    ),
)
"""Statements that lead from one ``user_version`` to the next; never changed, only added to."""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection for reading and writing. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.text_factory = _text
    return connection


def connect_read_only(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """Return a connection that cannot write; ``immutable`` also leaves the WAL out of account."""
    uri = f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=ro'}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.text_factory = _text
    return connection


def check_version(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> int:
    """Return the schema's version; 0 for a new file.

    Raises NewerSchemaError, StoreError for another program's file, DamagedError when the header
    contradicts the tables.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names and not version and not owner:
        return 0
    ours = _TABLES.issubset(names)
    if owner != APPLICATION_ID and not ours:
        raise StoreError(
            f"{path} is a database of another program.",
            "Move it away, or give stt-edge a state directory of its own.",
        )
    if owner != APPLICATION_ID or not ours or not 0 < version < _VERSIONS_END:
        raise DamagedError(f"its header makes no sense (owner {owner:#x}, version {version})")
    if version > len(migrations):
        raise NewerSchemaError(
            f"{path} was written by a later version of stt-edge (schema {version}, this one "
            f"knows {len(migrations)}).",
            "Install that version again, or move the file away to begin a new one.",
        )
    return version


def set_up(connection: sqlite3.Connection) -> None:
    """Choose how the connection writes; the file becomes ours with it."""
    # With these a commit that has returned survives a power cut: one fsync of the WAL each.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # 4 MB: some 300 commits go to the WAL before pages are written a second time.
    connection.execute("PRAGMA wal_autocheckpoint = 1000")
    connection.execute("PRAGMA journal_size_limit = 4194304")
    # What is deleted is overwritten: otherwise it could be read in the file until its page is used.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -512")
    connection.execute("PRAGMA temp_store = MEMORY")


def check_content(connection: sqlite3.Connection, version: int) -> None:
    """Compare the tables with what they should be and read through the whole file.

    Raises DamagedError, or what SQLite raises for damage.
    """
    missing = _expected_schema(version) - _schema(connection)
    if missing:
        raise DamagedError(f"its description of {min(name for name, _ in missing)} is wrong")
    found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        raise DamagedError("; ".join(str(line).replace("\n", " ") for line in found))


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Bring the tables up to date, each step a transaction of its own."""
    for version in range(check_version(connection, path, migrations), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _expected_schema(version: int) -> set[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                model.execute(statement)
        return _schema(model)


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return each table and index with its statement, however it is laid out."""
    rows = connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_master")
    return {(name, " ".join(sql.split())) for name, sql in rows}


def _text(value: bytes) -> str:
    # A bad byte must not make a whole row unreadable.
    return value.decode("utf-8", "replace")
