"""What the log keeps in memory of an utterance: its files in order, and where their audio lies."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from stt_edge.frozen import frozen
from stt_edge.model import UtteranceEnd, UtteranceStart


@frozen
class LogInfo:
    """What is known of an utterance in the log at the moment of asking."""

    start: UtteranceStart
    end_so_far: int
    """The first sample not in the log yet; the end of its audio once it has ended."""
    tail: UtteranceEnd | None
    """None while it is open. ``lost`` counts what the log itself is missing as well."""
    size_bytes: int
    """Room its files take."""

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.start.id


class Place(NamedTuple):
    """Samples ``[start, end)`` are in the block at ``offset``."""

    start: int
    end: int
    offset: int


@frozen
class Holding:
    """An utterance as whoever decides what goes to the disk, or is given up, sees it."""

    start: UtteranceStart
    end_so_far: int
    """The first sample not in the log yet."""
    acked: int
    """Audio before this sample is not needed any more."""
    ended: bool
    done: bool
    """Its record is committed; the audio is kept because somebody wants to have it."""
    recovered: bool
    """It was left by an earlier run, so monotonic times of it may mean nothing now."""
    cold: bool
    """It is, or is being, copied to the cold directory."""
    copied: bool
    """All there is of it is on the medium."""
    hot_bytes: int
    cold_bytes: int

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.start.id

    @property
    def size_bytes(self) -> int:
        """Room it takes, in memory and on the disk."""
        return self.hot_bytes + self.cold_bytes

    @property
    def waiting_samples(self) -> int:
        """Samples that are still to be transcribed."""
        return 0 if self.done else max(0, self.end_so_far - max(self.acked, self.start.start))


class Segment:
    """One file of an utterance and an index of its audio, 24 bytes a block."""

    __slots__ = (
        "_ends",
        "_offsets",
        "_starts",
        "copied_bytes",
        "handle",
        "hot",
        "path",
        "size_bytes",
    )

    def __init__(self, path: Path, size_bytes: int = 0) -> None:
        """Start with no audio known, in the hot directory."""
        self.path = path
        """Where it is read: the hot file while there is one, else its copy."""
        self.size_bytes = size_bytes
        self.hot = True
        self.copied_bytes: int | None = None
        """How much of it is on the medium of the cold directory; None for no copy to rely on."""
        self.handle: int | None = None
        """Open for appending; None when nothing more is to be written to this file."""
        self._starts = array("Q")
        self._ends = array("Q")
        self._offsets = array("Q")

    def __len__(self) -> int:
        """Return the number of audio blocks."""
        return len(self._starts)

    def add(self, place: Place) -> None:
        """Note a block that lies behind all others, in the file and in time."""
        self._starts.append(place.start)
        self._ends.append(place.end)
        self._offsets.append(place.offset)

    def find(self, from_sample: int, max_samples: int) -> list[Place]:
        """Return the blocks that hold the first ``max_samples`` samples from an address on."""
        places: list[Place] = []
        for at in range(bisect_right(self._ends, from_sample), len(self)):
            if max_samples <= 0:
                break
            place = Place(self._starts[at], self._ends[at], self._offsets[at])
            places.append(place)
            max_samples -= place.end - max(place.start, from_sample)
        return places


class Utterance:
    """An utterance as an ordered list of files. Guarded by the log's lock."""

    __slots__ = (
        "acked",
        "cold",
        "done",
        "end",
        "recovered",
        "samples",
        "sealed",
        "segments",
        "start",
        "tail",
    )

    def __init__(self, start: UtteranceStart) -> None:
        """Start open, with no file and no audio."""
        self.start = start
        self.segments: list[Segment] = []
        self.tail: UtteranceEnd | None = None
        self.end = start.start
        """The first sample after the audio there is."""
        self.samples = 0
        """Samples there are, which is fewer than ``end - start`` where some are missing."""
        self.acked = start.start
        self.sealed = False
        """Nothing more will be written to any of its files."""
        self.cold = False
        self.done = False
        self.recovered = False

    def add(self, segment: Segment, place: Place) -> None:
        """Note a block of audio that was written."""
        segment.add(place)
        self.end = place.end
        self.samples += place.end - place.start

    def close(self, tail: UtteranceEnd) -> UtteranceEnd:
        """End the utterance; returns the tail with all that is missing counted as lost."""
        missing = tail.end - self.start.start - self.samples
        self.tail = replace(tail, lost=max(tail.lost, missing))
        return self.tail

    def find(self, from_sample: int, max_samples: int) -> list[tuple[Path, list[Place]]]:
        """Return, for each file in order, the blocks a reader needs."""
        found: list[tuple[Path, list[Place]]] = []
        for segment in self.segments:
            if max_samples <= 0:
                break
            if places := segment.find(from_sample, max_samples):
                found.append((segment.path, places))
                max_samples -= sum(end - max(start, from_sample) for start, end, _ in places)
        return found

    def info(self) -> LogInfo:
        """Return what is known now."""
        size_bytes = sum(segment.size_bytes for segment in self.segments)
        return LogInfo(self.start, self.end, self.tail, size_bytes)

    def is_closed(self, segment: Segment) -> bool:
        """Return whether nothing more will be written to a file of it."""
        return segment.handle is None and (self.sealed or len(segment) > 0)

    def holding(self) -> Holding:
        """Return what is known now to whoever manages the room it takes."""
        hot = [segment for segment in self.segments if segment.hot]
        return Holding(
            start=self.start,
            end_so_far=self.end,
            acked=self.acked,
            ended=self.tail is not None,
            done=self.done,
            recovered=self.recovered,
            cold=self.cold,
            copied=not hot,
            hot_bytes=sum(segment.size_bytes for segment in hot),
            cold_bytes=sum(segment.copied_bytes or 0 for segment in self.segments),
        )
