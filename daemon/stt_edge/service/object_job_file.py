"""What is known of an object job, on disk before the next step begins.

One JSON file in the job's directory, replaced as a whole (write, fsync, rename, fsync of the
directory): after a crash it says what was known before a step or after it, never half of it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from stt_edge.durable import sync_directory
from stt_edge.errors import InputError, UnavailableError
from stt_edge.frozen import frozen

_VERSION_KEY: Final = "object-job-1"
_NAME: Final = "job.json"


@frozen
class UploadedSound:
    """The object that was made of the recording."""

    bucket: str
    name: str
    generation: int
    ours: bool
    """The job made it, and deletes it."""


@frozen
class JobState:
    """How far a job is; what is None has not happened."""

    id: str
    """Marks the object the job uploads."""
    subject: str
    """What the job is about; another subject needs another directory."""
    sound_name: str | None = None
    """The name the converted recording is to have in the bucket."""
    samples: int | None = None
    """Of the converted recording."""
    warning: str = ""
    """What is wrong with the recording though it can be used."""
    uploaded: UploadedSound | None = None
    submitting: bool = False
    """A submission is under way, or its answer was never learnt."""
    known: tuple[str, ...] | None = None
    """Operations about the object from before that submission; None is 'could not be asked'."""
    operation: str | None = None
    response: dict[str, Any] | None = None
    """The LongRunningRecognizeResponse."""
    deleted: bool = False
    """The uploaded object has been deleted, or was never ours."""


class JobFile:
    """The file; ``state`` is what is on disk."""

    def __init__(self, directory: Path, fresh: JobState) -> None:
        """Read the file, or begin with ``fresh``.

        Raises InputError when the directory is another job's or the file is damaged, and
        UnavailableError when the directory cannot be used.
        """
        self._directory = directory
        self._path = directory / _NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            text = self._path.read_bytes()
        except FileNotFoundError:
            self.state = fresh
            return
        except OSError as error:
            raise self._unusable(error) from error
        self.state = self._parsed(text)
        if self.state.subject != fresh.subject:
            raise InputError(
                f"{directory} belongs to another job.", "Give this one a directory of its own."
            )

    def save(self, **changes: Any) -> JobState:
        """Change fields of ``state``, and return when that is on disk. Raises UnavailableError."""
        state = replace(self.state, **changes)
        text = json.dumps({_VERSION_KEY: True, **asdict(state)}, ensure_ascii=False).encode()
        try:
            self._write(text)
        except OSError as error:
            raise self._unusable(error) from error
        self.state = state
        return state

    def _write(self, text: bytes) -> None:
        fresh = self._path.with_suffix(".tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(fresh, flags, 0o600), "wb") as file:  # noqa: PTH123  private from the start
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_directory(self._directory)

    def _parsed(self, text: bytes) -> JobState:
        try:
            values = json.loads(text)
            values.pop(_VERSION_KEY)  # another version has another name for it
            if values["uploaded"] is not None:
                values["uploaded"] = UploadedSound(**values["uploaded"])
            if values["known"] is not None:
                values["known"] = tuple(values["known"])
            return JobState(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{self._path} is damaged, or of another version of stt-edge.",
                "Delete its directory to begin the job anew; what it has submitted is paid for.",
            ) from error

    def _unusable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"Cannot use {self._path}: {error.strerror or error}.",
            f"Make {self._directory} writable, with room for the recording.",
        )
