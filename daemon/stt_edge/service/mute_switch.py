"""The mute switch: remembers across restarts that nobody wants to be heard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from stt_edge.durable import sync_directory
from stt_edge.errors import PermissionDeniedError, UnavailableError

_NAME: Final = "muted"


class MuteSwitch:
    """A file in the state directory whose presence means muted. It survives a power cut."""

    def __init__(self, state_directory: Path) -> None:
        """Use a file of the state directory; nothing is read yet."""
        self._path = state_directory / _NAME

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def is_on(self) -> bool:
        """Return whether muted. Raises UnavailableError or PermissionDeniedError."""
        try:
            self._path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failure("read", error) from error
        return True

    def set(self, *, on: bool) -> None:
        """Make it last. Raises UnavailableError or PermissionDeniedError."""
        try:
            if on:
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            else:
                self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:
            raise self._failure("write", error) from error

    def _failure(self, action: str, error: OSError) -> UnavailableError | PermissionDeniedError:
        message = f"Cannot {action} {self._path}: {error.strerror}."
        if isinstance(error, PermissionError):
            return PermissionDeniedError(
                message, "Run it as the user the service runs as, or root."
            )
        return UnavailableError(message, "Make the state directory writable.")
