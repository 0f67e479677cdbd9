"""A recording as a file of 16 kHz mono s16le, and that file as it is read by an upload.

Both block, belong into a thread, and end at the next piece once they are told to stop.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stt_edge.durable import sync_directory
from stt_edge.ear.decode import open_recording
from stt_edge.errors import UnavailableError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from stt_edge.providers.google_storage import UploadStoppedError

_PIECE_SAMPLES: Final = 10 * SAMPLE_RATE


@frozen
class Sound:
    """A converted recording."""

    sha256: str
    """Of its samples."""
    samples: int
    warning: str
    """What is wrong with the recording though it can be used."""


def convert(recording: Path, channel: int | str, target: Path, stop: threading.Event) -> Sound:
    """Write the samples of a recording to ``target``, which is there once they are on disk.

    Raises InputError for what is no recording, UnavailableError where ``target`` cannot be
    written, UploadStoppedError once ``stop`` is set.
    """
    source = open_recording(str(recording), channel)
    fresh = target.with_suffix(".tmp")
    digest, samples = hashlib.sha256(), 0
    try:
        with fresh.open("wb") as file:
            while pcm := source.read(_PIECE_SAMPLES):
                if stop.is_set():
                    raise UploadStoppedError
                file.write(pcm)
                digest.update(pcm)
                samples += len(pcm) // SAMPLE_BYTES
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise UnavailableError(
            f"Cannot write {target}: {error.strerror or error}.",
            "An hour of sound takes 115 MB there until it is uploaded.",
        ) from error
    finally:
        source.close()
    return Sound(digest.hexdigest(), samples, source.warning)


class WatchedFile(io.FileIO):
    """A file that says how far it has been read, and can be told to give no more."""

    def __init__(self, path: Path, stop: threading.Event, read_to: Callable[[int], None]) -> None:
        """Open for reading; ``read_to`` gets the position in bytes after each piece."""
        super().__init__(path, "rb")
        self._stop = stop
        self._read_to = read_to

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes. Raises UploadStoppedError once ``stop`` is set."""
        if self._stop.is_set():
            raise UploadStoppedError
        data = super().read(-1 if size is None else size)
        self._read_to(self.tell())
        return data
