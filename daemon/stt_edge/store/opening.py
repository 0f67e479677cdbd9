"""Opening the store's file whatever state it is in: absent, older, newer, damaged."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stt_edge.durable import sync_directory
from stt_edge.frozen import frozen
from stt_edge.store.failures import DamagedError, recognising_damage
from stt_edge.store.salvage import salvage
from stt_edge.store.schema import check_content, check_version, connect, migrate, set_up

# Zeros are what a power cut leaves of a header that was never synchronised: nothing is lost.
_WAL_MAGICS: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\0\0\0\0", b"")
_SIDE_FILES: Final = ("-wal", "-shm")


@frozen
class StoreOpening:
    """What had to be done to open the store, for the journal."""

    damaged_path: Path | None = None
    """Where a file that could not be used is kept now; None when nothing was wrong."""
    reason: str = ""
    """What was wrong with it."""
    salvaged_utterances: int = 0
    salvaged_parts: int = 0
    salvaged_records: int = 0


def open_database(path: Path) -> tuple[sqlite3.Connection, StoreOpening]:
    """Return a connection to a store that is sound and up to date, and what was done for it.

    Raises sqlite3.Error or OSError when the file cannot be used, NewerSchemaError when a later
    version wrote it, StoreError when it is another program's.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _finish_replacement(path)
    _make_private(path)
    opening = _set_garbage_wal_aside(path)
    try:
        return _open_sound(path), opening
    except DamagedError as error:
        reason = str(error)
    opening = _replace(path, reason)
    return _open_sound(path), opening


def _open_sound(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        with recognising_damage():
            version = check_version(connection, path)
            set_up(connection)
            check_content(connection, version)
        migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _replace(path: Path, reason: str) -> StoreOpening:
    """Build a new store from what the damaged one still gives, then let them change places."""
    fresh = _fresh_path(path)
    _delete(fresh)
    _make_private(fresh)
    connection = _open_sound(fresh)
    try:
        counts = salvage(path, connection)
    finally:
        connection.close()
    aside = _aside(path)
    # The WAL first: one left behind would be applied to the new file.
    for suffix in (*_SIDE_FILES, ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    fresh.rename(path)
    sync_directory(path.parent)
    return StoreOpening(
        damaged_path=aside,
        reason=reason,
        salvaged_utterances=counts["utterances"],
        salvaged_parts=counts["parts"],
        salvaged_records=counts["records"],
    )


def _finish_replacement(path: Path) -> None:
    """Go on where a crash stopped: the old file is gone only when the new one is whole."""
    fresh = _fresh_path(path)
    if fresh.exists() and not path.exists():
        fresh.rename(path)
        sync_directory(path.parent)


def _set_garbage_wal_aside(path: Path) -> StoreOpening:
    """Keep a WAL that SQLite would empty without a word, because its first bytes are wrong."""
    wal = path.with_name(path.name + "-wal")
    try:
        with wal.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        return StoreOpening()
    if magic in _WAL_MAGICS:
        return StoreOpening()
    aside = _aside(path)
    aside = aside.with_name(aside.name + "-wal")
    wal.rename(aside)
    return StoreOpening(aside, "the write-ahead log is damaged; what only it held is missing")


def _aside(path: Path) -> Path:
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside, number = path.with_name(name), 1
    while any(aside.with_name(aside.name + suffix).exists() for suffix in ("", *_SIDE_FILES)):
        number += 1
        aside = path.with_name(f"{name}-{number}")
    return aside


def _fresh_path(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _make_private(path: Path) -> None:
    """Create the file 0600 before SQLite does it 0644; its side files take the mode over."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
