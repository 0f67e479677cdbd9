"""What an earlier run left in the hot and the cold directory, put together again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

from stt_edge.errors import LogError
from stt_edge.frozen import frozen
from stt_edge.model import UtteranceEnd, UtteranceStart
from stt_edge.utterance.contents import Place, Segment, Utterance
from stt_edge.utterance.copies import TEMPORARY_SUFFIX
from stt_edge.utterance.disk import Disk, log_error
from stt_edge.utterance.heads import decode_end, decode_start
from stt_edge.utterance.segment import Damage, Kind, scan

DAMAGED_SUFFIX: Final = ".damaged"
"""Added to the name of a file nothing can be done with; it is kept for a person to look at."""

_CHUNK_BYTES: Final = 128 * 1024
_NAME: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9]{4,})\.seg")


@frozen
class LogWarning:
    """Something a person may want to know of; written to the journal by whoever asked."""

    utterance_id: str
    path: Path
    message: str
    lost_samples: int = 0


def segment_name(utterance_id: str, number: int) -> str:
    """Return the name of an utterance's n-th file, counted from 0."""
    return f"{utterance_id}.{number:04d}.seg"


class _Content:
    """What one file holds."""

    def __init__(self, segment: Segment) -> None:
        """Start with nothing found."""
        self.segment = segment
        self.start: UtteranceStart | None = None
        self.tail: UtteranceEnd | None = None
        self.found: list[Place | Damage] = []

    @property
    def samples(self) -> int:
        """Samples that can be read."""
        return sum(item.end - item.start for item in self.found if isinstance(item, Place))

    @property
    def torn_at(self) -> int | None:
        """Where valid content ends, when something invalid follows."""
        last = self.found[-1] if self.found else None
        if isinstance(last, Damage) and last.end >= self.segment.size_bytes:
            return last.offset
        return None


class Recovery:
    """Reads the utterances in two directories; files that are not the log's are left alone."""

    def __init__(self, disk: Disk, hot: Path, cold: Path | None = None) -> None:
        """Do nothing yet; without ``cold`` there is nothing but ``hot``."""
        self._disk = disk
        self._hot = hot
        self._cold = cold
        self.warnings: list[LogWarning] = []

    def run(self) -> list[Utterance]:
        """Return the utterances that have a file in the hot directory, with all their files.

        Oldest first, open or ended. Raises LogError.
        """
        hot = self._files(self._hot)
        # A UUIDv7 sorts by the time it was made, within a run also across steps of the clock.
        return self._utterances(sorted(hot), hot, self._cold_files())

    def run_cold(
        self, known: Collection[str], stopped: Callable[[], bool] = lambda: False
    ) -> list[Utterance]:
        """Return the utterances of the cold directory but those that are known, oldest first.

        Reads all their audio, which takes a while; ``stopped`` is asked whether to stop early.
        """
        cold = self._cold_files()
        self._remove_unfinished_copies()
        wanted = [id_ for id_ in cold if id_ not in known]
        return self._utterances(takewhile(lambda _: not stopped(), sorted(wanted)), {}, cold)

    def _utterances(
        self, ids: Iterable[str], hot: dict[str, set[int]], cold: dict[str, set[int]]
    ) -> list[Utterance]:
        found = (self._utterance(id_, hot.get(id_, set()), cold.get(id_, set())) for id_ in ids)
        return [utterance for utterance in found if utterance is not None]

    def _files(self, directory: Path) -> dict[str, set[int]]:
        """Return the numbers of the files there are of each utterance. Raises LogError."""
        try:
            names = self._disk.listdir(directory)
        except OSError as error:
            raise log_error("read", directory, error) from error
        files: dict[str, set[int]] = {}
        for match in filter(None, map(_NAME.fullmatch, names)):
            files.setdefault(match[1], set()).add(int(match[2]))
        return files

    def _cold_files(self) -> dict[str, set[int]]:
        if self._cold is None:
            return {}
        try:
            return self._files(self._cold)
        except LogError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                self._warn("", self._cold, str(error))
            return {}

    def _remove_unfinished_copies(self) -> None:
        assert self._cold is not None
        with contextlib.suppress(OSError):  # they are in nobody's way
            for name in self._disk.listdir(self._cold):
                if _NAME.fullmatch(name.removesuffix(TEMPORARY_SUFFIX)) and not _NAME.fullmatch(
                    name
                ):
                    self._disk.unlink(self._cold / name)

    def _utterance(self, utterance_id: str, hot: set[int], cold: set[int]) -> Utterance | None:
        contents = [
            content
            for number in sorted(hot | cold)
            if (content := self._best(utterance_id, number, number in hot, number in cold))
            is not None
        ]
        starts = [content.start for content in contents if content.start is not None]
        if not starts or not any(
            isinstance(item, Place) for content in contents for item in content.found
        ):
            self._clear(utterance_id, contents)
            return None
        utterance = Utterance(starts[0])
        utterance.sealed = utterance.recovered = True
        utterance.cold = bool(cold)
        for content in contents:
            self._add(utterance, content)
            if content.torn_at is not None:
                self._truncate(utterance, content.segment, content.torn_at)
            if content.tail is not None:
                utterance.close(content.tail)
        return utterance

    def _best(self, utterance_id: str, number: int, in_hot: bool, in_cold: bool) -> _Content | None:
        """Read a file where it is; where it is in both directories, the one with more in it."""
        name = segment_name(utterance_id, number)
        hot = self._content(utterance_id, Segment(self._hot / name)) if in_hot else None
        if not in_cold:
            return hot
        assert self._cold is not None
        copy = Segment(self._cold / name)
        copy.hot = False
        if hot is not None and self._is_beginning(copy.path, hot.segment):
            return hot
        cold = self._content(utterance_id, copy)
        if cold is None or (hot is not None and hot.samples >= cold.samples):
            return hot
        if hot is not None:
            with contextlib.suppress(OSError):  # it is found again, and worse again
                self._disk.unlink(hot.segment.path)
        copy.copied_bytes = copy.size_bytes
        return cold

    def _is_beginning(self, copy: Path, original: Segment) -> bool:
        """Return whether a copy holds the beginning of its original; notes how much it is."""
        try:
            size_bytes = self._disk.size(copy)
            if size_bytes > original.size_bytes:
                return False
            for offset in range(0, size_bytes, _CHUNK_BYTES):
                length = min(_CHUNK_BYTES, size_bytes - offset)
                data = self._disk.read(copy, offset, length)
                if data != self._disk.read(original.path, offset, length):
                    return False
        except OSError:
            return False
        original.copied_bytes = size_bytes
        return True

    def _content(self, utterance_id: str, segment: Segment) -> _Content | None:
        path = segment.path
        try:
            segment.size_bytes = self._disk.size(path)
            content = _Content(segment)
            for item in scan(partial(self._disk.read, path), segment.size_bytes):
                if isinstance(item, Damage):
                    content.found.append(item)
                elif (span := item.audio()) is not None:
                    content.found.append(Place(span.sample, span.end, item.offset))
                elif item.kind == Kind.HEAD:
                    start = decode_start(item.payload)
                    if start is not None and start.id == utterance_id:
                        content.start = start
                elif item.kind == Kind.TAIL:
                    content.tail = decode_end(item.payload) or content.tail
        except OSError as error:
            self._warn(utterance_id, path, f"{log_error('read', path, error)} It is left there.")
            return None
        return content

    def _add(self, utterance: Utterance, content: _Content) -> None:
        """Take over a file's audio, in order, and report what is missing from it."""
        segment = content.segment
        utterance.segments.append(segment)
        damages: list[Damage] = []
        for item in content.found:
            if isinstance(item, Damage):
                damages.append(item)
            elif item.end > item.start >= utterance.end:
                self._report(utterance, segment, damages, item.start)
                utterance.add(segment, item)
                damages = []
        end = content.tail.end if content.tail is not None else utterance.end
        self._report(utterance, segment, damages, end)

    def _report(
        self, utterance: Utterance, segment: Segment, damages: list[Damage], resumed_at: int
    ) -> None:
        lost = max(resumed_at - utterance.end, 0)
        for damage in damages:
            message = f"{damage.size_bytes} bytes at {damage.offset} of {segment.path} are damaged."
            self._warn(utterance.start.id, segment.path, message, lost)
            lost = 0

    def _truncate(self, utterance: Utterance, segment: Segment, size_bytes: int) -> None:
        try:
            self._disk.truncate(segment.path, size_bytes)
        except OSError as error:
            # A tail written behind the damage is found as well.
            message = str(log_error("truncate", segment.path, error))
            self._warn(utterance.start.id, segment.path, message)
        else:
            segment.size_bytes = size_bytes
            if segment.copied_bytes is not None and segment.copied_bytes > size_bytes:
                segment.copied_bytes = None if segment.hot else size_bytes

    def _clear(self, utterance_id: str, contents: list[_Content]) -> None:
        """Delete files without audio, or put them aside when there may have been some."""
        damaged = any(content.found for content in contents)
        for content in contents:
            path = content.segment.path
            aside = path.with_name(path.name + DAMAGED_SUFFIX)
            try:
                if damaged:
                    self._disk.rename(path, aside)
                    self._warn(utterance_id, aside, f"Nothing in {path} is of use: now {aside}.")
                else:
                    self._disk.unlink(path)
            except OSError as error:
                self._warn(utterance_id, path, str(log_error("put aside", path, error)))

    def _warn(self, utterance_id: str, path: Path, message: str, lost_samples: int = 0) -> None:
        self.warnings.append(LogWarning(utterance_id, path, message, lost_samples))
