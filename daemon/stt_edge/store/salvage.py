"""What can still be read of a damaged store, copied into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from stt_edge.store.codec import (
    PART_COLUMNS,
    UTTERANCE_COLUMNS,
    part_from_row,
    record_from_body,
    utterance_from_row,
)
from stt_edge.store.schema import connect_read_only

_CHUNK_ROWS: Final = 64
_MISSES_BEFORE_GIVING_UP: Final = 16 * _CHUNK_ROWS
_NUMBERS_END: Final = 1 << 48

# SQLite's error messages may have a piece of the damage in them.
_UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)

_USAGE_COLUMNS: Final = "provider, day, seconds_sent, connection_seconds, cost, billed_seconds"

_Row = tuple[Any, ...]


def salvage(damaged: Path, into: sqlite3.Connection) -> dict[str, int]:
    """Copy every readable row, as a transaction; returns how many of each table.

    Only errors of the new database are raised: nothing can be wrong with the old one that is not
    known already.
    """
    counts = dict.fromkeys(_TABLES, 0)
    try:
        source = _open(damaged)
    except _UNREADABLE:
        return counts
    try:
        into.execute("BEGIN IMMEDIATE")
        for table, (columns, is_valid) in _TABLES.items():
            marks = ", ".join("?" * len(columns.split(",")))
            insert = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
            for row in _rows(source, table, _selected(source, table, columns)):
                if _makes_sense(is_valid, row):
                    counts[table] += into.execute(insert, row).rowcount
        _keep_counting(into)
        into.execute("COMMIT")
    finally:
        source.close()
        if into.in_transaction:
            into.execute("ROLLBACK")
    return counts


def _valid_record(row: _Row) -> object:
    return _number(row[0]), record_from_body(row[3])


def _valid_cursor(row: _Row) -> object:
    return str(row[0]), _number(row[1])


def _number(value: Any) -> int:
    number = int(value)
    if not 0 <= number < _NUMBERS_END:
        raise ValueError(f"{number} was never counted to")
    return number


def _valid_usage(row: _Row) -> object:
    return str(row[0]), str(row[1]), float(row[2]) + float(row[3]) + float(row[4])


def _valid_note(row: _Row) -> object:
    return str(row[0]), str(row[1])


_TABLES: Final[dict[str, tuple[str, Callable[[_Row], object]]]] = {
    "utterances": (UTTERANCE_COLUMNS, utterance_from_row),
    "parts": (PART_COLUMNS, part_from_row),
    "records": ("seq, id, utterance_id, body", _valid_record),
    "cursors": ("sink, seq", _valid_cursor),
    "usage": (
        "provider, day, seconds_sent, connection_seconds, cost, billed_seconds",
        _valid_usage,
    ),
    "meta": ("key, value", _valid_note),
}


def _makes_sense(is_valid: Callable[[_Row], object], row: _Row) -> bool:
    try:
        is_valid(row)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _open(damaged: Path) -> sqlite3.Connection:
    """Return a connection to the file with its WAL, or else without. Raises _UNREADABLE."""
    try:
        return _connect(damaged, immutable=False)
    except _UNREADABLE:
        return _connect(damaged, immutable=True)


def _connect(damaged: Path, *, immutable: bool) -> sqlite3.Connection:
    source = connect_read_only(damaged, immutable=immutable)
    try:
        # Otherwise SQLite reads nothing at all of a file that is shorter than its header says.
        source.execute("PRAGMA writable_schema = ON")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        source.close()
        raise
    return source


def _selected(source: sqlite3.Connection, table: str, columns: str) -> str:
    """Return the columns to ask a table for; an older one has none of the later columns."""
    try:
        there = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    except _UNREADABLE:
        return columns
    names = columns.split(", ")
    return ", ".join(name if name in there else f"NULL AS {name}" for name in names)


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[_Row]:
    """Yield the rows a damaged table still gives: upwards around the damage, then downwards."""
    seen: set[int] = set()
    for start, is_up in ((0, True), (_last_number(source, table) + 1, False)):
        for row in _walk(source, table, columns, start, is_up=is_up):
            if row[0] not in seen:
                seen.add(row[0])
                yield row[1:]


def _walk(
    source: sqlite3.Connection, table: str, columns: str, at: int, *, is_up: bool
) -> Iterator[_Row]:
    """Yield rows with their row numbers, from ``at`` on, one by one where a chunk fails."""
    relation, order, step = (">", "ASC", 1) if is_up else ("<", "DESC", -1)
    chunk = (
        f"SELECT rowid, {columns} FROM {table} WHERE rowid {relation} ?"  # noqa: S608
        f" ORDER BY rowid {order} LIMIT {_CHUNK_ROWS}"
    )
    misses = 0
    while misses < _MISSES_BEFORE_GIVING_UP:
        rows = _query(source, chunk, at)
        numbers = [at, *(row[0] for row in rows or ())]
        # Damaged pages may lead in a circle, or lead astray.
        if rows is None or any((b - a) * step <= 0 for a, b in pairwise(numbers)):
            rows = _one_by_one(
                source, table, columns, range(at + step, at + step * (_CHUNK_ROWS + 1), step)
            )
            misses += _CHUNK_ROWS - len(rows)
            at += step * _CHUNK_ROWS
        elif rows:
            misses = 0
            at = numbers[-1]
        else:
            return
        yield from rows


def _one_by_one(source: sqlite3.Connection, table: str, columns: str, numbers: range) -> list[_Row]:
    query = f"SELECT rowid, {columns} FROM {table} WHERE rowid = ?"  # noqa: S608
    return [row for number in numbers for row in _query(source, query, number) or ()]


def _last_number(source: sqlite3.Connection, table: str) -> int:
    found = _query(source, "SELECT seq FROM sqlite_sequence WHERE name = ?", table)
    return min(int(found[0][0]), _NUMBERS_END) if found else _NUMBERS_END


def _query(source: sqlite3.Connection, query: str, value: int | str) -> list[_Row] | None:
    """Return the rows of a query; None when damage is in the way."""
    try:
        return source.execute(query, (value,)).fetchall()
    except _UNREADABLE:
        return None


def _keep_counting(into: sqlite3.Connection) -> None:
    """Let new records be numbered behind every cursor, or a sink would never see them."""
    seq = into.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM cursors), 0),"
        " coalesce((SELECT max(seq) FROM records), 0))"
    ).fetchone()[0]
    into.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
    into.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", (seq,))
