"""The only way the utterance log touches a disk; tests hand in one that fails or forgets."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final, Protocol

from stt_edge.durable import sync_directory
from stt_edge.errors import LogError

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class Disk(Protocol):
    """File operations, each raising OSError as the system call of its name does."""

    def make_directory(self, directory: Path) -> None:
        """Create a directory with its parents, or make an existing one private (0700)."""

    def open_append(self, path: Path) -> int:
        """Open for appending, creating it private (0600); returns a handle."""

    def write(self, handle: int, data: bytes) -> int:
        """Append in one system call; returns the number of bytes taken."""

    def fsync(self, handle: int) -> None:
        """Return when what was written is on the medium."""

    def close(self, handle: int) -> None:
        """Let go of a handle."""

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` bytes from ``offset`` on; fewer only at the end."""

    def size(self, path: Path) -> int:
        """Return the length of a file in bytes."""

    def truncate(self, path: Path, size_bytes: int) -> None:
        """Cut a file back."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what has it."""

    def unlink(self, path: Path) -> None:
        """Delete a file."""

    def fsync_dir(self, directory: Path) -> None:
        """Return when the names in a directory are on the medium."""

    def listdir(self, directory: Path) -> list[str]:
        """Return the names in a directory, sorted."""

    def free_bytes(self, directory: Path) -> int:
        """Return what an unprivileged process may still write there."""


class RealDisk:
    """The file systems of this machine."""

    def make_directory(self, directory: Path) -> None:
        """Create a directory with its parents, or make an existing one private (0700)."""
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o777 != _DIRECTORY_MODE:
            directory.chmod(_DIRECTORY_MODE)

    def open_append(self, path: Path) -> int:
        """Open for appending, creating it private (0600); returns a file descriptor."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, _FILE_MODE)

    def write(self, handle: int, data: bytes) -> int:
        """Append in one system call; returns the number of bytes taken."""
        return os.write(handle, data)

    def fsync(self, handle: int) -> None:
        """Return when what was written is on the medium."""
        os.fdatasync(handle)  # with the length of the file

    def close(self, handle: int) -> None:
        """Let go of a file descriptor."""
        os.close(handle)

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` bytes from ``offset`` on; fewer only at the end."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(handle, size_bytes, offset)
        finally:
            os.close(handle)

    def size(self, path: Path) -> int:
        """Return the length of a file in bytes."""
        return path.stat().st_size

    def truncate(self, path: Path, size_bytes: int) -> None:
        """Cut a file back."""
        os.truncate(path, size_bytes)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what has it."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def fsync_dir(self, directory: Path) -> None:
        """Return when the names in a directory are on the medium."""
        sync_directory(directory)

    def listdir(self, directory: Path) -> list[str]:
        """Return the names in a directory, sorted."""
        return sorted(os.listdir(directory))  # noqa: PTH208 - names are what is asked for

    def free_bytes(self, directory: Path) -> int:
        """Return what an unprivileged process may still write there."""
        room = os.statvfs(directory)
        return room.f_bavail * room.f_frsize


class ReadOnlyDisk(RealDisk):
    """The file systems of this machine for somebody who only looks: whoever owns them goes on."""

    def make_directory(self, directory: Path) -> None:
        """Do nothing: what is not there holds nothing."""

    def listdir(self, directory: Path) -> list[str]:
        """Return the names in a directory, sorted; none where it is not there."""
        try:
            return super().listdir(directory)
        except FileNotFoundError:
            return []

    def open_append(self, path: Path) -> int:
        """Refuse."""
        raise _read_only(path)

    def truncate(self, path: Path, size_bytes: int) -> None:  # noqa: ARG002
        """Refuse."""
        raise _read_only(path)

    def rename(self, old: Path, new: Path) -> None:  # noqa: ARG002
        """Refuse."""
        raise _read_only(old)

    def unlink(self, path: Path) -> None:
        """Refuse."""
        raise _read_only(path)


def log_error(action: str, path: Path, error: OSError) -> LogError:
    """Return the error to raise when a file operation failed: what, why and what to do."""
    reason = error.strerror or str(error)
    return LogError(f"Cannot {action} {path}: {reason}.", _remedy(error.errno, path))


def _read_only(path: Path) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def _remedy(code: int | None, path: Path) -> str:
    if code in (errno.ENOSPC, errno.EDQUOT):
        return f"Free space on the file system of {path}, or make it larger."
    if code == errno.EROFS:
        return f"Make the file system of {path} writable again (mount -o remount,rw)."
    if code in (errno.EACCES, errno.EPERM):
        return f"Give {path} to the user that runs stt-edge."
    if code in (errno.EMFILE, errno.ENFILE):
        return "Raise the limit of open files (LimitNOFILE= in the unit)."
    if code == errno.EIO:
        return f"Check the medium that holds {path} (dmesg names the fault)."
    return f"Check {path}."
