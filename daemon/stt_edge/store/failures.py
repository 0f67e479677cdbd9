"""SQLite's errors as the StoreError a person can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stt_edge.errors import ExitCode, StoreConflictError, StoreError

_PRIMARY_CODE: Final = 0xFF

_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "Free space on the file system of {path}.",
    sqlite3.SQLITE_READONLY: "Make {path} and its directory writable for the user that runs "
    "stt-edge, on a file system that is mounted rw.",
    sqlite3.SQLITE_CANTOPEN: "Give {path} and its directory to the user that runs stt-edge, and "
    "see that there is space.",
    sqlite3.SQLITE_PERM: "Give {path} to the user that runs stt-edge.",
    sqlite3.SQLITE_AUTH: "Give {path} to the user that runs stt-edge.",
    sqlite3.SQLITE_IOERR: "Check the space left and the medium that holds {path} (dmesg names "
    "the fault).",
    sqlite3.SQLITE_BUSY: "Another program holds {path}; end it.",
    sqlite3.SQLITE_LOCKED: "Another program holds {path}; end it.",
    sqlite3.SQLITE_CORRUPT: "Restart stt-edge: it sets a damaged store aside and saves what it "
    "can read.",
    sqlite3.SQLITE_NOTADB: "Restart stt-edge: it sets a damaged store aside and saves what it "
    "can read.",
}


_ACCESS: Final = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""What is wrong with the way to the file, not with what is in it."""


class NewerSchemaError(StoreError):
    """The store was written by a later version of the program."""

    exit_code = ExitCode.CONFIG


class DamagedError(Exception):
    """The database file is not what SQLite wrote; carries what was found."""


@contextmanager
def recognising_damage() -> Iterator[None]:
    """Turn what SQLite says of a file with wrong content into DamagedError, and nothing else."""
    try:
        yield
    except UnicodeDecodeError as error:
        # An error message of SQLite's with a piece of the damaged schema in it.
        raise DamagedError("its tables are not described in UTF-8") from error
    except sqlite3.DatabaseError as error:
        if _code(error) in _ACCESS or isinstance(error, sqlite3.ProgrammingError):
            raise
        raise DamagedError(str(error)) from error


class UnreadableRowError(ValueError):
    """A row of the store makes no sense."""


@contextmanager
def translated(action: str, path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the operating system into StoreError.

    Where trying again cannot help it is a StoreConflictError.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StoreConflictError(f"Cannot {action} the store {path}: {error}.") from error
    except sqlite3.Error as error:
        remedy = _REMEDIES.get(_code(error), "Check {path}.").format(path=path)
        raise StoreError(f"Cannot {action} the store {path}: {error}.", remedy) from error
    except (DamagedError, UnicodeDecodeError, UnreadableRowError) as error:
        raise StoreConflictError(
            f"Cannot {action} the store {path}: damaged, {error}.",
            f"Move {path} away to begin a new one; what is in it stays in it.",
        ) from error
    except OSError as error:
        raise StoreError(
            f"Cannot {action} the store {path}: {error.strerror or error}.",
            f"Give {path.parent} to the user that runs stt-edge, with space on a writable "
            "file system.",
        ) from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
