"""Recordings too long for inline audio, transcribed by Google Speech from object storage.

``run_object_job`` takes a ``gs://`` object as it is, or converts a recording, uploads it, has it
transcribed and deletes it. Each step is on the disk of the job's directory before the next begins,
so that a run with the same directory goes on where a killed one was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from stt_edge.errors import (
    FailureKind,
    InputError,
    PermissionDeniedError,
    ProviderError,
    TemporaryError,
)
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE, samples_to_s
from stt_edge.providers.base import Final
from stt_edge.providers.google_auth import GoogleAccount
from stt_edge.providers.google_requests import Options, recognition_config
from stt_edge.providers.google_results import billed_s, read_results
from stt_edge.providers.google_storage import ObjectStorage, StoredObject
from stt_edge.providers.json_fields import Fields
from stt_edge.service.object_job_file import JobFile, JobState, UploadedSound
from stt_edge.service.object_recognition import Patience, Recognition, passing
from stt_edge.service.object_sound import WatchedFile, convert
from stt_edge.store.lock import StateLock

T = TypeVar("T")

_ADDRESS = re.compile(r"gs://[a-z0-9._-]{3,222}/.{1,1024}", re.DOTALL)
_ENCODINGS = {
    ".amr": "AMR",
    ".awb": "AMR_WB",
    ".flac": "FLAC",
    ".mp3": "MP3",
    ".ogg": "OGG_OPUS",
    ".opus": "OGG_OPUS",
    ".pcm": "LINEAR16",
    ".raw": "LINEAR16",
    ".webm": "WEBM_OPUS",
}
"""What an object's name says of its content; nothing is said of what has a header."""


class ObjectStep(StrEnum):
    """What a job is doing; the steps come in this order, and a step may be left out."""

    CONVERT = "convert"
    UPLOAD = "upload"
    SUBMIT = "submit"
    TRANSCRIBE = "transcribe"
    DELETE = "delete"
    DONE = "done"


@frozen
class ObjectJob:
    """A recording to be transcribed: ``uri``, or ``recording`` together with ``bucket``."""

    options: Options
    """Of the provider ``google_rest``: credentials, language, model."""
    directory: Path
    """The job's own, made private (0700) where it is missing. One job, one directory: the same
    one goes on with the job, another one starts it anew. Its owner deletes it."""
    uri: str | None = None
    """``gs://bucket/object``; the object is left as it is."""
    recording: Path | None = None
    """Any file ``ear.decode`` can read."""
    bucket: str | None = None
    """The name of the bucket the recording is uploaded to, for as long as the job takes."""
    channel: int | str = 0
    """Of the recording, counted from 0, or ``mix``."""
    sample_rate_hz: int | None = None
    """Of the object named by ``uri``, where its format does not say (raw, MP3, Opus)."""
    give_up_s: float = 600.0
    """How long a service may be away before the run ends with TemporaryError."""
    submit_again: bool = False
    """Submit even where an earlier run may have done so without learning the answer."""


@frozen
class ObjectProgress:
    """How far a step is, 0 to 100."""

    step: ObjectStep
    percent: int


@frozen
class ObjectWord:
    """One recognised word, in seconds since the start of the recording."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


@frozen
class ObjectPart:
    """One final result, in seconds since the start of the recording; no text is ever empty."""

    text: str
    start_s: float | None
    end_s: float | None
    words: tuple[ObjectWord, ...] = ()
    confidence: float | None = None
    language: str | None = None


@frozen
class ObjectResult:
    """What was recognised, in the order of the recording."""

    parts: tuple[ObjectPart, ...]
    operation: str
    """The service's name for the job."""
    duration_s: float | None = None
    """Of the recording; None for an object that was not uploaded by the job."""
    billed_s: float | None = None
    """What the service says it charges for."""
    model: str | None = None
    warning: str = ""
    """What is wrong with the recording though it could be used."""


OnProgress = Callable[[ObjectProgress], None]


async def run_object_job(job: ObjectJob, *, on_progress: OnProgress) -> ObjectResult:
    """Return what is said in the recording; a job that is done answers from its directory.

    ``on_progress`` is called in the event loop. Cancelling ends the run once the piece of sound in
    hand is written or sent. Raises InputError for a recording or address that cannot be used,
    ProviderError or PermissionDeniedError when a service refuses, TemporaryError when one stays
    away for ``give_up_s`` or when it is unknown whether an earlier run has submitted the job,
    UnavailableError when the directory cannot be used or another run is at work in it.
    """
    _check(job)
    with StateLock.acquire(job.directory):
        file = JobFile(job.directory, JobState(_mark(job), _subject(job)))
        try:
            return await _Run(job, file, on_progress).run()
        except ProviderError as failure:
            if failure.kind is FailureKind.DENIED:
                raise PermissionDeniedError(failure.message, failure.remedy) from failure
            raise


class _Run:
    """One attempt at a job, from where the one before it was."""

    def __init__(self, job: ObjectJob, file: JobFile, on_progress: OnProgress) -> None:
        self._job = job
        self._file = file
        self._on_progress = on_progress
        self._account = GoogleAccount("google_rest", job.options)
        self._account.check()
        self._patience = Patience(job.give_up_s, job.options.poll_s)
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._sound = job.directory / "sound.raw"

    async def run(self) -> ObjectResult:
        if self._file.state.response is None:
            await self._transcribe()
        result = _result(self._job, self._file.state)
        try:
            await self._delete()
        except (ProviderError, TemporaryError) as failure:
            # What was understood is worth more than order in the bucket.
            trouble = f"{self._name()} could not be deleted: {failure.message}"
            result = replace(result, warning=f"{result.warning} {trouble}".strip())
        self._report(ObjectStep.DONE, 100)
        return result

    async def _transcribe(self) -> None:
        uri = self._job.uri
        if uri is None:
            uri = await self._upload()
        recognition = Recognition(
            self._job.options, self._account, self._file, self._patience, _encoding(self._job)
        )
        self._report(ObjectStep.SUBMIT, 0)
        await recognition.submit(uri, again=self._job.submit_again)
        self._report(ObjectStep.SUBMIT, 100)
        try:
            await recognition.wait(
                self._limit_s(), lambda percent: self._report(ObjectStep.TRANSCRIBE, percent)
            )
        except ProviderError as failure:
            if not passing(failure):
                await self._delete()
                self._file.save(uploaded=None, deleted=False)
            raise

    async def _upload(self) -> str:
        """Return the address of the converted recording, which is uploaded once."""
        state = self._file.state
        assert self._job.bucket is not None
        assert self._job.recording is not None
        if state.uploaded is None:
            storage = ObjectStorage(self._job.options, self._account, self._job.bucket)
            if state.sound_name is None or not self._sound.exists():
                await self._convert(self._job.recording)
            stored = await self._patiently(partial(self._send, storage))
            uploaded = UploadedSound(stored.bucket, stored.name, stored.generation, stored.ours)
            self._file.save(uploaded=uploaded)
        self._sound.unlink(missing_ok=True)
        return self._name()

    async def _convert(self, recording: Path) -> None:
        self._report(ObjectStep.CONVERT, 0)
        work = partial(convert, recording, self._job.channel, self._sound, self._stop)
        sound = await self._in_thread(work)
        digest = hashlib.sha256(f"{sound.sha256} {self._file.state.subject}".encode()).hexdigest()
        name = f"stt-edge/{digest}.raw"
        self._file.save(sound_name=name, samples=sound.samples, warning=sound.warning)
        self._report(ObjectStep.CONVERT, 100)

    def _send(self, storage: ObjectStorage) -> StoredObject:
        """Upload, in a thread."""
        state, size = self._file.state, self._sound.stat().st_size
        assert state.sound_name is not None

        def read_to(position: int) -> None:
            percent = 100 * position // size
            self._loop.call_soon_threadsafe(self._report, ObjectStep.UPLOAD, percent)

        with WatchedFile(self._sound, self._stop, read_to) as sound:
            return storage.upload(sound, size, state.sound_name, state.id)

    async def _delete(self) -> None:
        """Delete what was uploaded; an object that was there before is left."""
        uploaded = self._file.state.uploaded
        if uploaded is None or self._file.state.deleted:
            return
        if uploaded.ours:
            self._report(ObjectStep.DELETE, 0)
            storage = ObjectStorage(self._job.options, self._account, uploaded.bucket)
            stored = StoredObject(uploaded.bucket, uploaded.name, uploaded.generation, ours=True)
            await self._patiently(partial(storage.delete, stored))
        self._file.save(deleted=True)

    async def _patiently(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns in a thread; tried again while that may help."""
        while True:
            try:
                done = await self._in_thread(work)
            except ProviderError as failure:
                await self._patience.wait(failure)
                continue
            self._patience.answered()
            return done

    async def _in_thread(self, work: Callable[[], T]) -> T:
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.wait([task])  # nobody else may touch the directory before it has ended
            task.exception()  # whatever it was, nobody waits for it
            raise

    def _name(self) -> str:
        """Return the address of what was uploaded."""
        uploaded = self._file.state.uploaded
        assert uploaded is not None
        return f"gs://{uploaded.bucket}/{uploaded.name}"

    def _limit_s(self) -> float | None:
        """Return after how long to stop asking; unknown for an object of unknown length."""
        samples = self._file.state.samples
        return None if samples is None else 2 * samples_to_s(samples) + 60

    def _report(self, step: ObjectStep, percent: int) -> None:
        self._on_progress(ObjectProgress(step, percent))


def _check(job: ObjectJob) -> None:
    if (job.uri is None) == (job.recording is None):
        raise InputError("A job is about one of an object and a recording.")
    if job.uri is not None and not _ADDRESS.fullmatch(job.uri):
        raise InputError(f"{job.uri!r} is no address of an object.", "It is gs://bucket/object.")
    if job.recording is not None and not job.bucket:
        raise InputError(f"{job.recording}: no bucket to upload it to.", "Name one with --bucket.")


def _subject(job: ObjectJob) -> str:
    """Return a fingerprint of what is to be transcribed and how."""
    parts = [job.uri, job.bucket, job.channel, _encoding(job), recognition_config(job.options)]
    if job.recording is not None:
        parts.append(str(job.recording.absolute()))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _mark(job: ObjectJob) -> str:
    """Return what marks an object as the job's, also where its directory was emptied meanwhile."""
    parts = [os.uname().nodename, str(job.directory.absolute()), _subject(job)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _encoding(job: ObjectJob) -> dict[str, Any]:
    """Return the fields of RecognitionConfig for an object; WAV and FLAC say it themselves."""
    if job.uri is None:
        return {"encoding": "LINEAR16", "sampleRateHertz": SAMPLE_RATE}
    encoding = _ENCODINGS.get(PurePosixPath(job.uri).suffix.lower())
    rate = job.sample_rate_hz
    if rate is None and encoding == "LINEAR16":
        rate = SAMPLE_RATE
    known = {"encoding": encoding, "sampleRateHertz": rate}
    return {name: value for name, value in known.items() if value is not None}


def _result(job: ObjectJob, state: JobState) -> ObjectResult:
    response = Fields(state.response or {})
    assert state.operation is not None
    return ObjectResult(
        parts=tuple(_part(final) for final in read_results(response)),
        operation=state.operation,
        duration_s=None if state.samples is None else samples_to_s(state.samples),
        billed_s=billed_s(response),
        model=job.options.model,
        warning=state.warning,
    )


def _part(final: Final) -> ObjectPart:
    return ObjectPart(
        text=final.text.strip(),
        start_s=None if final.start is None else samples_to_s(final.start),
        end_s=None if final.end is None else samples_to_s(final.end),
        words=tuple(
            ObjectWord(word.text, samples_to_s(word.start), samples_to_s(word.end), word.confidence)
            for word in final.words
        ),
        confidence=final.confidence,
        language=final.language,
    )
