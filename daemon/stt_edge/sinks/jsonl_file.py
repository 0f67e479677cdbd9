"""A file of JSON lines that survives rotation, full disks and power cuts, and repeats no id.

Every line is one ``write`` on O_APPEND followed by fdatasync; a line that could not be written
whole, or not be synced, is cut off again. Before each line the path is looked up: when it names
another file (logrotate's ``create``), that one is written from then on, no signal needed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from stt_edge.durable import sync_directory

_log = logging.getLogger(__name__)

READ_BACK_BYTES: Final = 2 << 20
"""How much of the live file and its predecessor is searched for ids at ``open``."""
REMEMBERED_IDS: Final = 1024
"""Far more than a cursor that is written every batch and every few seconds can be behind."""
LINGER_S: Final = 2.0
"""How long a file that was moved away is written to while its successor does not exist yet.

Creating the successor ourselves would be quicker than logrotate now and then, and logrotate then
moves ours out of the way as a file that should not be there.
"""

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class JsonlFile:
    """An append-only file of JSON lines. Every method may raise OSError; one thread at a time."""

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Write to ``path``; nothing is touched until ``open``."""
        self.path = path
        self._clock_s = clock_s
        self._fd: int | None = None
        self._ids: dict[str, None] = {}
        self._let_go = False
        self._moved_at_s: float | None = None

    def open(self) -> None:
        """Open or create the file (0640, a missing directory 0750) and read back its ids."""
        self.close()
        _make_directory(self.path.parent)
        self._fd = _open_or_create(self.path)
        predecessor = self.path.with_name(self.path.name + ".1")
        live = list(_ids_at_end_of(self.path, READ_BACK_BYTES))
        budget = max(0, READ_BACK_BYTES - os.fstat(self._fd).st_size)
        self._ids = dict.fromkeys([*_ids_at_end_of(predecessor, budget), *live][-REMEMBERED_IDS:])

    def append(self, record_id: str, line: bytes) -> bool:
        """Write a line with its line break; return False when its id is there already.

        On return the line is on the disk; after OSError nothing of it is in the file, or, where
        even that was refused, a torn line that the next one ends first.
        """
        descriptor = self._follow_rotation()
        if record_id in self._ids:
            return False
        size = os.fstat(descriptor).st_size
        whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
        _append_durably(descriptor, line if whole else b"\n" + line, size)
        self._ids[record_id] = None
        if len(self._ids) > REMEMBERED_IDS:
            del self._ids[next(iter(self._ids))]
        return True

    def reopen(self) -> None:
        """Open the path anew before the next line; may be called from any thread."""
        self._let_go = True

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _follow_rotation(self) -> int:
        """Return a descriptor of the file that ``path`` names now."""
        if self._fd is None:
            raise OSError(errno.EBADF, "the file is not open", str(self.path))
        if not self._let_go and self._is_current(self._fd):
            return self._fd
        try:
            successor = _open_regular(self.path, _FLAGS)
        except (FileNotFoundError, PermissionError):
            if self._may_linger(self._fd):
                return self._fd
            successor = _open_or_create(self.path)
        os.close(self._fd)
        self._fd, self._let_go, self._moved_at_s = successor, False, None
        return successor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _may_linger(self, descriptor: int) -> bool:
        if self._let_go or os.fstat(descriptor).st_nlink == 0:
            return False
        now_s = self._clock_s()
        if self._moved_at_s is None:
            self._moved_at_s = now_s
        return now_s - self._moved_at_s < LINGER_S


def _append_durably(descriptor: int, data: bytes, size: int) -> None:
    """Write ``data`` at the end, at ``size``, or not at all."""
    try:
        written = os.write(descriptor, data)
        if written == len(data):
            os.fdatasync(descriptor)
            return
        error = OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken")
    except OSError as refusal:
        error = refusal
    # What made the write fail may refuse this too; the next line then ends the torn one.
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
    raise error


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o750)


def _open_or_create(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        return _open_regular(path, _FLAGS)
    os.fchmod(descriptor, 0o640)  # whatever the umask
    sync_directory(path.parent)
    return descriptor


def _open_regular(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _ids_at_end_of(path: Path, max_bytes: int) -> Iterator[str]:
    """Yield the ids of the lines in the last ``max_bytes`` of a file; none if it is not there."""
    try:
        descriptor = _open_regular(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except PermissionError as error:
        _log.warning("%s cannot be read back; a record could appear twice: %s", path, error)
        return
    with os.fdopen(descriptor, "rb") as file:
        # A line whose beginning is further back is no JSON.
        file.seek(max(0, os.fstat(descriptor).st_size - max_bytes))
        for line in file:
            if (record_id := _id_of(line)) is not None:
                yield record_id


def _id_of(line: bytes) -> str | None:
    try:
        body = json.loads(line)
    except ValueError:  # torn by a power cut
        return None
    record_id = body.get("id") if isinstance(body, dict) else None
    return record_id if isinstance(record_id, str) else None
