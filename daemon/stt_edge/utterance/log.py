"""The utterance log: the only way from the ear to a provider.

One thread appends what the ear hears; any thread reads an utterance from an address on and follows
it while it grows. Speech from before a crash is an utterance that has ended: there is one way to
read. An utterance is an ordered list of segment files in the hot directory, which is a tmpfs where
the machine has one, so nothing is synchronised: it outlives the process, not the power. What is to
outlive the power is copied to the cold directory (``copies.py``) by another thread, so that whoever
appends never waits for a medium.

A failed write costs what it was to write and nothing else: the file is let go, and the next append
begins another one of the same utterance; between them lies a gap that a reader sees.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from stt_edge.errors import LogError
from stt_edge.model import SAMPLE_BYTES, AudioSpan, EndReason, UtteranceEnd, UtteranceStart
from stt_edge.utterance.contents import Holding, LogInfo, Place, Segment, Utterance
from stt_edge.utterance.copies import ColdCopies
from stt_edge.utterance.disk import Disk, RealDisk, log_error
from stt_edge.utterance.heads import encode_end, encode_start
from stt_edge.utterance.reading import join, read_places
from stt_edge.utterance.recovery import LogWarning, Recovery, segment_name
from stt_edge.utterance.segment import FILE_HEADER, Kind, encode_audio, encode_block, split

SEGMENT_BYTES: Final = 1 << 20
"""A file that has grown so large (33 s) is closed: once copied, it can leave the hot directory."""


class UtteranceLog:
    """Audio of utterances, from SpeechStart until its owner deletes it."""

    def __init__(
        self,
        hot: Path,
        disk: Disk | None = None,
        on_change: Callable[[str], None] = lambda _: None,
        *,
        cold: Path | None = None,
    ) -> None:
        """Use ``hot`` for files; ``on_change(id)`` is called by the thread that appends or deletes.

        Without ``cold`` nothing can be copied to a medium.
        """
        self._hot = hot
        self._cold = cold
        self._disk: Disk = disk or RealDisk()
        self.on_change = on_change
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._utterances: dict[str, Utterance] = {}
        self._warnings: list[LogWarning] = []
        self._copies = None if cold is None else ColdCopies(cold, self._disk, self._lock)
        self.keep_audio = False
        """Whether ``done`` keeps audio."""

    def recover(self) -> list[LogInfo]:
        """Take over what an earlier run left in the hot directory, all ended now, oldest first.

        To be called once, before anything is appended. What was damaged is in
        ``take_warnings``. Raises LogError when the directory cannot be used.
        """
        with _translated("use", self._hot):
            self._disk.make_directory(self._hot)
        recovery = Recovery(self._disk, self._hot, self._cold)
        return self._take_over(recovery.run(), recovery.warnings)

    def recover_cold(self) -> list[LogInfo]:
        """Take over what else there is in the cold directory, all ended now, oldest first.

        To be called once after ``recover``, on any thread; reads through all of it, which may be
        hours of audio; ``close`` cuts it short. Raises LogError.
        """
        if self._cold is None:
            return []
        recovery = Recovery(self._disk, self._hot, self._cold)
        return self._take_over(
            recovery.run_cold(self.ids(), self._closed.is_set), recovery.warnings
        )

    def arrange(self, order: Iterable[str]) -> None:
        """Put utterances into an order, oldest first; those it does not name come behind."""
        with self._lock:
            known = [id_ for id_ in order if id_ in self._utterances]
            first = {id_: self._utterances.pop(id_) for id_ in known}
            self._utterances = {**first, **self._utterances}

    def take_warnings(self) -> list[LogWarning]:
        """Return and forget what has been found wrong since the last call."""
        with self._lock:
            warnings, self._warnings = self._warnings, []
        return warnings

    def start(self, head: UtteranceStart) -> None:
        """Open an utterance. After LogError it is open all the same: a later append may succeed."""
        utterance = Utterance(head)
        with self._lock:
            if head.id in self._utterances:
                raise LogError(f"Utterance {head.id} is in the log already.")
            self._utterances[head.id] = utterance
        try:
            with _translated("write", self._hot):
                self._writable(utterance)
        finally:
            self.on_change(head.id)

    def append(self, utterance_id: str, span: AudioSpan) -> None:
        """Append audio that lies behind all there is. Raises LogError; the span is then lost."""
        utterance = self._open(utterance_id)
        if span.sample < utterance.end:
            raise LogError(
                f"Audio at {span.sample} does not follow {utterance.end} in {utterance_id}."
            )
        if len(span.pcm) % SAMPLE_BYTES:
            raise LogError(f"{len(span.pcm)} bytes of audio are no whole number of samples.")
        if not span.pcm:
            return
        with _translated("write", self._hot):
            segment = self._writable(utterance)
            places, blocks = _encode(span, segment.size_bytes)
            self._put(segment, blocks)
        with self._lock:
            for place in places:
                utterance.add(segment, place)
        self.on_change(utterance_id)

    def end(self, utterance_id: str, tail: UtteranceEnd) -> UtteranceEnd:
        """End an utterance; returns its tail, with what could not be written counted as lost.

        After LogError it has ended all the same, but a run after this one takes it for crashed.
        """
        utterance = self._open(utterance_id)
        with self._lock:
            tail = utterance.close(tail)
        try:
            with _translated("write", self._hot):
                segment = self._writable(utterance)
                payload = encode_end(tail)
                self._put(segment, encode_block(Kind.TAIL, payload, segment.size_bytes))
                self._let_go(segment)
        finally:
            utterance.sealed = True
            self.on_change(utterance_id)
        return tail

    def ids(self) -> list[str]:
        """Return the ids of the utterances there are, oldest first."""
        with self._lock:
            return list(self._utterances)

    def info(self, utterance_id: str) -> LogInfo:
        """Return what is known of an utterance now. Raises LogError when it is not here."""
        with self._lock:
            return self._utterance(utterance_id).info()

    def read(self, utterance_id: str, from_sample: int, max_samples: int) -> list[AudioSpan]:
        """Return the first ``max_samples`` samples there are at or after an address.

        The addresses of the spans reveal what is missing before and between them. Nothing
        returned means that nothing is to be had up to the ``end_so_far`` that was seen before
        the call. Raises LogError when the utterance is not here or cannot be read.
        """
        while found := self._find(utterance_id, from_sample, max_samples):
            try:
                spans = [read_places(self._disk, path, places) for path, places in found]
                joined = join(chain.from_iterable(spans), from_sample, max_samples)
            except OSError as error:
                paths = [path for path, _ in found]
                if isinstance(error, FileNotFoundError) and paths != [
                    path for path, _ in self._find(utterance_id, from_sample, max_samples)
                ]:
                    continue  # a hot file was deleted meanwhile; its copy is read now
                raise log_error("read", paths[0].parent, error) from error
            if joined:
                return joined
            # All of it is damaged: what lies behind it must not seem to be missing too.
            from_sample = found[-1][1][-1].end
        return []

    def delete(self, utterance_id: str) -> None:
        """Delete an ended utterance; one that is not here is no error. Raises LogError."""
        with self._lock:
            utterance = self._utterances.get(utterance_id)
            if utterance is None:
                return
            if utterance.tail is None:
                raise LogError(f"Utterance {utterance_id} is still open.", "End it first.")
            del self._utterances[utterance_id]
            hot = [segment.path for segment in utterance.segments if segment.hot]
        if self._copies is not None and utterance.cold:
            self._copies.condemn(utterance.segments)
            self.on_change(utterance_id)
        for path in hot:
            with _translated("delete", path), contextlib.suppress(FileNotFoundError):
                self._disk.unlink(path)

    def done(self, utterance_id: str) -> None:
        """Take that the audio is not needed any more: deletes it, unless it is kept."""
        if not self.keep_audio:
            self.delete(utterance_id)
            return
        with self._lock:
            if (utterance := self._utterances.get(utterance_id)) is not None:
                utterance.done = True

    def acknowledged(self, utterance_id: str, sample: int) -> None:
        """Take that audio before ``sample`` is not needed any more."""
        with self._lock:
            if (utterance := self._utterances.get(utterance_id)) is not None:
                utterance.acked = max(utterance.acked, sample)

    def reopen(self, utterance_id: str, acked: int) -> None:
        """Take that audio from a sample on is needed again, although it was done."""
        with self._lock:
            if (utterance := self._utterances.get(utterance_id)) is not None:
                utterance.done, utterance.acked = False, acked

    # --- for the thread that manages the room (spool.py says what and when) ---

    def holdings(self) -> list[Holding]:
        """Return what there is of each utterance, oldest first."""
        with self._lock:
            return [utterance.holding() for utterance in self._utterances.values()]

    def go_cold(self, utterance_id: str) -> None:
        """Have an utterance copied to the cold directory from now on."""
        with self._lock:
            if (utterance := self._utterances.get(utterance_id)) is not None:
                utterance.cold = True

    def copy(self, utterance_id: str) -> None:
        """Put what there is of a cold utterance on the medium. Raises LogError."""
        assert self._copies is not None, "there is a cold directory"
        with self._lock:
            utterance = self._utterances.get(utterance_id)
        if utterance is None:
            return
        try:
            self._copies.catch_up(utterance)
        except OSError as error:
            if utterance_id in self.ids():
                raise log_error("write", self._copies.directory, error) from error

    def tidy(self) -> None:
        """Delete the copies of utterances that were deleted. Raises LogError."""
        if self._copies is not None:
            with _translated("delete from", self._copies.directory):
                self._copies.tidy()

    def free_bytes(self) -> int:
        """Return the room left where the copies are. Raises LogError."""
        assert self._copies is not None, "there is a cold directory"
        with _translated("use", self._copies.directory):
            return self._copies.free_bytes()

    def close(self) -> None:
        """Let go of every file. An utterance still open is found as crashed by the next run."""
        self._closed.set()
        with self._lock:
            segments = [segment for each in self._utterances.values() for segment in each.segments]
        for segment in segments:
            with _translated("close", segment.path):
                self._let_go(segment)

    def _take_over(self, found: list[Utterance], warnings: list[LogWarning]) -> list[LogInfo]:
        for utterance in found:
            if utterance.tail is None:
                self._end_crashed(utterance)
        with self._lock:
            self._warnings += warnings
            self._utterances.update((utterance.start.id, utterance) for utterance in found)
        return [utterance.info() for utterance in found]

    def _utterance(self, utterance_id: str) -> Utterance:
        utterance = self._utterances.get(utterance_id)
        if utterance is None:
            raise LogError(f"Utterance {utterance_id} is not in the log.")
        return utterance

    def _find(
        self, utterance_id: str, from_sample: int, max_samples: int
    ) -> list[tuple[Path, list[Place]]]:
        with self._lock:
            return self._utterance(utterance_id).find(from_sample, max_samples)

    def _open(self, utterance_id: str) -> Utterance:
        with self._lock:
            utterance = self._utterance(utterance_id)
        if utterance.tail is not None:
            raise LogError(f"Utterance {utterance_id} has ended.")
        return utterance

    def _end_crashed(self, utterance: Utterance) -> None:
        """End an utterance nobody ended: what is there is all there is."""
        tail = utterance.close(
            UtteranceEnd(
                end=utterance.end,
                reason=EndReason.CRASH,
                speech_end=utterance.end,
                speech_samples=utterance.samples,
            )
        )
        segment = utterance.segments[-1]
        try:
            segment.handle = self._disk.open_append(segment.path)
            self._put(segment, encode_block(Kind.TAIL, encode_end(tail), segment.size_bytes))
            self._let_go(segment)
            if not segment.hot:
                segment.copied_bytes = segment.size_bytes
        except OSError as error:
            message = str(log_error("write", segment.path, error))
            self._warnings.append(LogWarning(utterance.start.id, segment.path, message))

    def _writable(self, utterance: Utterance) -> Segment:
        """Return a segment that is open for appending, a fresh one where need be."""
        segment = utterance.segments[-1] if utterance.segments else None
        if segment is not None and segment.handle is not None:
            if segment.size_bytes < SEGMENT_BYTES:
                return segment
            self._let_go(segment)
        if segment is None or len(segment):
            number = len(utterance.segments)
            segment = Segment(self._hot / segment_name(utterance.start.id, number))
            with self._lock:
                utterance.segments.append(segment)
        self._disk.make_directory(self._hot)
        segment.handle = self._disk.open_append(segment.path)
        with self._let_go_on_error(segment):
            # Not always 0: an attempt before this one may have left a torn beginning.
            segment.size_bytes = self._disk.size(segment.path)
        self._put(segment, _beginning(utterance.start, segment.size_bytes))
        return segment

    def _put(self, segment: Segment, data: bytes) -> None:
        """Write all of ``data``; after a failure the file is let go. Raises OSError."""
        assert segment.handle is not None
        with self._let_go_on_error(segment):
            written = 0
            while written < len(data):
                written += self._disk.write(segment.handle, data[written:])
        segment.size_bytes += len(data)

    @contextmanager
    def _let_go_on_error(self, segment: Segment) -> Iterator[None]:
        try:
            yield
        except OSError:
            # The first error is the one to tell.
            with contextlib.suppress(OSError):
                self._let_go(segment)
            raise

    def _let_go(self, segment: Segment) -> None:
        handle, segment.handle = segment.handle, None
        if handle is not None:
            self._disk.close(handle)


def _beginning(start: UtteranceStart, offset: int) -> bytes:
    """Return what a segment file begins with: its header, and the head of the utterance twice."""
    payload = encode_start(start)
    first = FILE_HEADER + encode_block(Kind.HEAD, payload, offset + len(FILE_HEADER))
    return first + encode_block(Kind.HEAD, payload, offset + len(first))


def _encode(span: AudioSpan, offset: int) -> tuple[list[Place], bytes]:
    """Return the blocks of a span that will lie at ``offset``, and the place of each."""
    places: list[Place] = []
    blocks: list[bytes] = []
    for piece in split(span):
        places.append(Place(piece.sample, piece.end, offset))
        blocks.append(encode_audio(piece, offset))
        offset += len(blocks[-1])
    return places, b"".join(blocks)


@contextmanager
def _translated(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError into the LogError a person can act on."""
    try:
        yield
    except OSError as error:
        raise log_error(action, path, error) from error
