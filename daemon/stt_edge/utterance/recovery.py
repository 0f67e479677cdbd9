"""What an earlier run left in a directory, put together again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from stt_edge.model import UtteranceEnd, UtteranceStart
from stt_edge.utterance.contents import Place, Segment, Utterance
from stt_edge.utterance.disk import Disk, log_error
from stt_edge.utterance.heads import decode_end, decode_start
from stt_edge.utterance.segment import Damage, Kind, scan

DAMAGED_SUFFIX: Final = ".damaged"
"""Added to the name of a file nothing can be done with; it is kept for a person to look at."""

_NAME: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9]{4,})\.seg")


@dataclass(frozen=True, slots=True)
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
    def torn_at(self) -> int | None:
        """Where valid content ends, when something invalid follows."""
        last = self.found[-1] if self.found else None
        if isinstance(last, Damage) and last.end >= self.segment.size_bytes:
            return last.offset
        return None


class Recovery:
    """Reads the utterances in a directory; files that are not the log's are left alone."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        """Do nothing yet."""
        self._disk = disk
        self._directory = directory
        self.warnings: list[LogWarning] = []

    def run(self) -> list[Utterance]:
        """Return what is there, oldest first, open or ended. Raises LogError."""
        try:
            names = self._disk.listdir(self._directory)
        except OSError as error:
            raise log_error("read", self._directory, error) from error
        files: dict[str, list[int]] = {}
        for match in filter(None, map(_NAME.fullmatch, names)):
            files.setdefault(match[1], []).append(int(match[2]))
        # A UUIDv7 sorts by the time it was made, within a run also across steps of the clock.
        found = (self._utterance(id_, sorted(files[id_])) for id_ in sorted(files))
        return [utterance for utterance in found if utterance is not None]

    def _utterance(self, utterance_id: str, numbers: list[int]) -> Utterance | None:
        contents = [
            content
            for number in numbers
            if (content := self._content(utterance_id, number)) is not None
        ]
        starts = [content.start for content in contents if content.start is not None]
        if not starts or not any(
            isinstance(item, Place) for content in contents for item in content.found
        ):
            self._clear(utterance_id, contents)
            return None
        utterance = Utterance(starts[0])
        for content in contents:
            self._add(utterance, content)
            if content.torn_at is not None:
                self._truncate(utterance, content.segment, content.torn_at)
            if content.tail is not None:
                utterance.close(content.tail)
        return utterance

    def _content(self, utterance_id: str, number: int) -> _Content | None:
        path = self._directory / segment_name(utterance_id, number)
        try:
            content = _Content(Segment(path, self._disk.size(path)))
            for item in scan(partial(self._disk.read, path), content.segment.size_bytes):
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
