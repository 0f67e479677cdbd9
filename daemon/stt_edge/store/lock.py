"""One daemon a state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stt_edge.errors import StoreError, UnavailableError

_NAME: Final = "lock"


class StateLock:
    """An exclusive flock on a state directory, held until ``release`` or the end of the process."""

    def __init__(self, handle: int) -> None:
        """Take over an open file that is locked."""
        self._handle: int | None = handle

    @classmethod
    def acquire(cls, directory: Path) -> StateLock:
        """Lock ``directory``, creating it (0700) if need be.

        Raises UnavailableError naming the process that holds it, StoreError when the directory
        cannot be used.
        """
        path = directory / _NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Never deleted: a process that waits for the old file would lock nothing.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(
                f"Cannot use the state directory {directory}: {error.strerror}.",
                f"Give {directory} to the user that runs stt-edge, on a writable file system.",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            os.close(handle)
            raise UnavailableError(
                f"Another stt-edge ({holder}) works on {directory}.",
                "Stop it first, or give this one a state directory of its own.",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        return cls(handle)

    def release(self) -> None:
        """Let go; may be called twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __enter__(self) -> Self:
        """Return the lock itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go."""
        self.release()


def _holder(handle: int) -> str:
    text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdigit() else "its process is just starting"
