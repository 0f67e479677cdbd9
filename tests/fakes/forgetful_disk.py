"""A disk in memory that forgets what was not put on the medium, as a power cut does."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SECTOR_BYTES = 512


class PowerCutError(BaseException):
    """The power is cut in the middle of an operation; nobody can catch that."""


class Survival(StrEnum):
    """What is found after a power cut of what had not been put on the medium."""

    NOTHING = "nothing"
    EVERYTHING = "everything"
    SECTORS = "sectors"
    """A random number of whole sectors, and zeros behind them up to the length of the file."""


@dataclass
class Inode:
    """A file: what programs see, and what is on the medium."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class ForgetfulDisk:
    """Implements ``Disk``: a directory of ``volatile`` is gone after a power cut, a tmpfs."""

    def __init__(self, volatile: Path | None = None, *, seed: int = 0) -> None:
        self._volatile = volatile
        self._random = random.Random(seed)
        self._names: dict[Path, Inode] = {}
        self._synced_names: dict[Path, Inode] = {}
        self._directories: set[Path] = set()
        self._handles: dict[int, Inode] = {}
        self._next_handle = 3
        self.operations = 0
        self.cut_at: int | None = None
        """The number of the operation at which the power is cut, counted from 0."""
        self.forgets_to_sync = False
        """A disk that acknowledges a sync without doing it, to see that tests notice."""

    def cut(self, survival: Survival) -> None:
        """Cut the power, and switch it on again."""
        self._handles.clear()
        pending = self._names if survival is Survival.EVERYTHING else self._synced_names
        if survival is Survival.SECTORS and self._random.random() < 0.5:
            pending = self._names
        self._names = {
            path: inode for path, inode in pending.items() if not self._is_volatile(path)
        }
        for inode in {id(inode): inode for inode in self._names.values()}.values():
            inode.data = bytearray(self._survived(inode, survival))
            inode.synced = bytes(inode.data)
        self._synced_names = dict(self._names)
        self._directories = {each for each in self._directories if not self._is_volatile(each)}
        self.cut_at = None

    def kill(self) -> None:
        """End the process: everything stays as programs saw it."""
        self._handles.clear()
        self.cut_at = None

    def content(self, path: Path) -> bytes:
        """Return what is in a file, as programs see it."""
        return bytes(self._names[path].data)

    def flip(self, path: Path, bit: int) -> None:
        """Turn a bit over, in the medium and in what programs see."""
        inode = self._names[path]
        inode.data[bit // 8] ^= 1 << bit % 8
        inode.synced = bytes(inode.data)

    def paths(self) -> list[Path]:
        """Return all files, sorted."""
        return sorted(self._names)

    # --- Disk ---

    def make_directory(self, directory: Path) -> None:
        self._begin()
        self._directories |= {directory, *directory.parents}

    def open_append(self, path: Path) -> int:
        self._begin()
        self._need_directory(path.parent)
        inode = self._names.setdefault(path, Inode())
        self._next_handle += 1
        self._handles[self._next_handle] = inode
        return self._next_handle

    def write(self, handle: int, data: bytes) -> int:
        def take(size: int) -> None:
            self._handles[handle].data += data[:size]

        self._begin(lambda: take(self._random.randrange(len(data) + 1)))
        take(len(data))
        return len(data)

    def fsync(self, handle: int) -> None:
        self._begin()
        inode = self._handles[handle]
        if not self.forgets_to_sync:
            inode.synced = bytes(inode.data)

    def close(self, handle: int) -> None:
        self._begin()
        del self._handles[handle]

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        return bytes(self._inode(path).data[offset : offset + size_bytes])

    def size(self, path: Path) -> int:
        return len(self._inode(path).data)

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._begin()
        inode = self._inode(path)
        del inode.data[size_bytes:]

    def rename(self, old: Path, new: Path) -> None:
        self._begin()
        self._names[new] = self._inode(old)
        del self._names[old]

    def unlink(self, path: Path) -> None:
        self._begin()
        self._inode(path)
        del self._names[path]

    def fsync_dir(self, directory: Path) -> None:
        self._begin()
        if self.forgets_to_sync:
            return
        for names in (self._names, self._synced_names):
            for path in [path for path in names if path.parent == directory]:
                if path in self._names:
                    self._synced_names[path] = self._names[path]
                else:
                    del self._synced_names[path]

    def listdir(self, directory: Path) -> list[str]:
        self._need_directory(directory)
        return sorted(path.name for path in self._names if path.parent == directory)

    def free_bytes(self, directory: Path) -> int:
        self._need_directory(directory)
        return 1 << 40

    def _begin(self, half: Callable[[], None] = lambda: None) -> None:
        """Count an operation that changes something; the power may be cut in the middle of it."""
        number, self.operations = self.operations, self.operations + 1
        if number == self.cut_at:
            half()
            raise PowerCutError

    def _survived(self, inode: Inode, survival: Survival) -> bytes:
        if survival is Survival.NOTHING:
            return inode.synced
        if survival is Survival.EVERYTHING:
            return bytes(inode.data)
        first = 0
        while inode.data[first : first + 1] == inode.synced[first : first + 1] != b"":
            first += 1
        sectors = range(-(-first // SECTOR_BYTES) * SECTOR_BYTES, len(inode.data), SECTOR_BYTES)
        kept = self._random.choice([first, *sectors, len(inode.data)])
        return bytes(inode.data[:kept]) + bytes(len(inode.data) - kept)

    def _is_volatile(self, path: Path) -> bool:
        return self._volatile is not None and path.is_relative_to(self._volatile)

    def _inode(self, path: Path) -> Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _need_directory(self, directory: Path) -> None:
        if directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))
