"""A connection to the store's file: statements, transactions, and errors a person can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stt_edge.store.failures import translated


class Database:
    """What the store's methods are made of; used by one thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Take over a connection in autocommit mode."""
        self._connection = connection
        self.path = path

    def close(self) -> None:
        """Close the file; may be called twice. Raises StoreError."""
        with translated("close", self.path):
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all or nothing of what is executed inside. Raises StoreError."""
        with translated("write", self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def execute(self, statement: str, *values: Any) -> int:
        """Execute a statement within a transaction; returns the row number of an insertion."""
        return self._connection.execute(statement, values).lastrowid or 0

    def execute_named(self, statement: str, values: Mapping[str, Any]) -> None:
        """Execute a statement within a transaction; its values have names."""
        self._connection.execute(statement, values)

    def all_named(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return every row of a query whose values have names. Raises StoreError."""
        with translated("read", self.path):
            return self._connection.execute(statement, values).fetchall()

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return every row of a query. Raises StoreError."""
        with translated("read", self.path):
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query; None when there is none. Raises StoreError."""
        with translated("read", self.path):
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        return row
