"""The cold directory: copies of hot files that outlive a power cut.

A copy is the same bytes under the same name. The first one is written under another name, put on
the medium, and renamed; what the hot file grows by is appended and put on the medium after that,
so what is there is the beginning of the hot file at any moment. Only when a file that is complete
has been copied whole is the hot one deleted: until then it can be read, and copied again.

A copy that could not be put on the medium is never trusted again (what the kernel then keeps in
memory may not be what is on the disk): the file is copied anew, and takes the place of the old copy
at once or not at all.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stt_edge.utterance.contents import Segment, Utterance
from stt_edge.utterance.disk import Disk

TEMPORARY_SUFFIX: Final = ".tmp"
_CHUNK_BYTES: Final = 128 * 1024


class ColdCopies:
    """Copies the files of utterances; used by one thread. Methods raise OSError."""

    def __init__(self, directory: Path, disk: Disk, lock: threading.Lock) -> None:
        """Copy into ``directory``; ``lock`` guards what utterances hold."""
        self.directory = directory
        self._disk = disk
        self._lock = lock
        self._made = False
        self._condemned: list[Path] = []

    def catch_up(self, utterance: Utterance) -> None:
        """Bring the copy level with what there is, and delete hot files that are not needed.

        On return all audio that was there at the call is on the medium.
        """
        if not self._made:
            self._disk.make_directory(self.directory)
            self._disk.fsync_dir(self.directory.parent)
            self._made = True
        with self._lock:
            hot = [segment for segment in utterance.segments if segment.hot]
        for segment in hot:
            self._catch_up(utterance, segment)

    def free_bytes(self) -> int:
        """Return the room there is for copies."""
        try:
            return self._disk.free_bytes(self.directory)
        except FileNotFoundError:
            return self._disk.free_bytes(self.directory.parent)

    def condemn(self, segments: Iterable[Segment]) -> None:
        """Have the copies of files deleted by the next ``tidy``; returns at once, on any thread."""
        with self._lock:
            self._condemned += (self.directory / segment.path.name for segment in segments)

    def tidy(self) -> None:
        """Delete what was condemned."""
        while True:
            with self._lock:
                if not self._condemned:
                    return
                path = self._condemned[-1]
            for each in (path, _temporary(path)):
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(each)
            with self._lock:
                self._condemned.remove(path)

    def _catch_up(self, utterance: Utterance, segment: Segment) -> None:
        copy = self.directory / segment.path.name
        with self._lock:  # closed first: what is closed does not grow any more
            closed, size_bytes = utterance.is_closed(segment), segment.size_bytes
        if segment.copied_bytes is None:
            self._copy_whole(segment, copy, size_bytes)
        elif segment.copied_bytes < size_bytes:
            self._copy_rest(segment, copy, size_bytes)
        if closed:
            with self._lock:
                original, segment.path, segment.hot = segment.path, copy, False
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(original)

    def _copy_whole(self, segment: Segment, copy: Path, size_bytes: int) -> None:
        temporary = _temporary(copy)
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(temporary)
        try:
            handle = self._disk.open_append(temporary)
            try:
                self._transfer(segment.path, handle, 0, size_bytes)
                self._disk.fsync(handle)
            finally:
                self._disk.close(handle)
            self._disk.rename(temporary, copy)
            self._disk.fsync_dir(self.directory)
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                self._disk.unlink(temporary)
            raise
        segment.copied_bytes = size_bytes

    def _copy_rest(self, segment: Segment, copy: Path, size_bytes: int) -> None:
        done = segment.copied_bytes
        assert done is not None
        segment.copied_bytes = None  # until it is known to be on the medium
        handle = self._disk.open_append(copy)
        try:
            try:
                self._transfer(segment.path, handle, done, size_bytes)
            except OSError:
                self._disk.truncate(copy, done)
                segment.copied_bytes = done
                raise
            self._disk.fsync(handle)
        finally:
            self._disk.close(handle)
        segment.copied_bytes = size_bytes

    def _transfer(self, source: Path, handle: int, start: int, end: int) -> None:
        while start < end:
            data = self._disk.read(source, start, min(_CHUNK_BYTES, end - start))
            if not data:
                raise FileNotFoundError(2, "The file is shorter than it was", str(source))
            start += len(data)
            while data:
                data = data[self._disk.write(handle, data) :]


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + TEMPORARY_SUFFIX)
