"""Recordings by way of object storage: nothing is uploaded or paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import stt_edge
from stt_edge.errors import (
    FailureKind,
    InputError,
    PermissionDeniedError,
    ProviderError,
    TemporaryError,
    UnavailableError,
)
from stt_edge.providers.google_rest import Options
from stt_edge.service.object_job_file import JobFile
from stt_edge.service.object_jobs import (
    ObjectJob,
    ObjectProgress,
    ObjectResult,
    ObjectStep,
    run_object_job,
)
from stt_edge.store.lock import StateLock
from tests.simulators.core import Faults
from tests.simulators.google_http import Request
from tests.simulators.google_rest import Simulator
from tests.simulators.google_storage import BUCKET, StoredObject
from tests.simulators.google_storage import Simulator as StorageSimulator
from tests.simulators.speech import say, text_of

pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage")

WORDS = tuple(range(14))
TEXTS = [text_of(WORDS[:12]), text_of(WORDS[12:])]
SUBMISSION = "/v1/speech:longrunningrecognize"


NO_FAULTS = Faults()


class KilledError(BaseException):
    """The process was ended here."""


@dataclass
class Cloud:
    """Both services, and a job that uses them."""

    speech: Simulator
    storage: StorageSimulator
    job: ObjectJob
    steps: list[ObjectProgress] = field(default_factory=list)

    async def run(self, **changes: Any) -> ObjectResult:
        return await run_object_job(replace(self.job, **changes), on_progress=self.steps.append)

    def paid_once(self, result: ObjectResult) -> None:
        assert [part.text for part in result.parts] == TEXTS
        assert (self.storage.finished_uploads, self.speech.submissions) == (1, 1)
        assert self.storage.objects == {}

    def options(self, **changes: Any) -> Options:
        return replace(self.job.options, **changes)


@asynccontextmanager
async def cloud(
    directory: Path, speech: Faults = NO_FAULTS, storage: Faults = NO_FAULTS
) -> AsyncIterator[Cloud]:
    async with (
        StorageSimulator(storage) as bucket,
        Simulator(speech, storage=bucket) as recogniser,
    ):
        recogniser.looks = 1
        options = Options(url=recogniser.url, poll_s=0.05, **bucket.options(directory))
        sound = directory / "talk.wav"
        write_wav(sound, say(WORDS))
        job = ObjectJob(options, directory / "job", recording=sound, bucket=BUCKET, give_up_s=5.0)
        yield Cloud(recogniser, bucket, job)


def write_wav(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)


def faults(*names: str) -> Faults:
    return Faults(other=frozenset(names))


# The way of a job


async def test_a_recording_is_uploaded_transcribed_and_deleted(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        result = await google.run()
        google.paid_once(result)
        assert google.speech.sessions[0].pcm == say(WORDS)
        assert google.speech.sessions[0].texts[0].startswith(f"gs://{BUCKET}/stt-edge/")
        first = result.parts[0].words[0]
        assert (first.text, first.start_s, first.end_s, first.confidence) == ("the", 0.05, 0.3, 0.9)
        assert (result.parts[1].start_s, result.parts[1].end_s) == (3.65, 4.2)
        assert (result.duration_s, result.billed_s, result.warning) == (4.25, 5.0, "")
        assert not (google.job.directory / "sound.raw").exists()
        assert google.job.directory.stat().st_mode & 0o777 == 0o700


async def test_progress_is_told_step_by_step_and_never_goes_back(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        await google.run()
        assert list(dict.fromkeys(told.step for told in google.steps)) == list(ObjectStep)
        for step in ObjectStep:
            percents = [told.percent for told in google.steps if told.step is step]
            assert percents == sorted(percents)
        assert ObjectProgress(ObjectStep.TRANSCRIBE, 50) in google.steps
        assert ObjectProgress(ObjectStep.UPLOAD, 100) in google.steps


async def test_a_recording_of_another_kind_is_converted(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="writes the FLAC file of the test")
    async with cloud(tmp_path) as google:
        pcm, rate = soundfile.read(google.job.recording, dtype="int16")
        soundfile.write(tmp_path / "talk.flac", pcm, rate)
        result = await google.run(recording=tmp_path / "talk.flac")
        google.paid_once(result)
        assert google.speech.sessions[0].pcm == say(WORDS)


async def test_a_long_upload_goes_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", 1)
    monkeypatch.setattr("stt_edge.providers.google_storage.PIECE_BYTES", 1 << 18)
    async with cloud(tmp_path) as google:
        pcm = say(WORDS) + bytes(600_000)
        write_wav(tmp_path / "talk.wav", pcm)
        google.paid_once(await google.run())
        pieces = [told for told in google.storage.requests if told.startswith("PUT /upload/")]
        assert len(pieces) == 3
        assert google.speech.sessions[0].pcm == pcm


@pytest.mark.parametrize("name", ["talk.wav", "talk.flac", "talk.raw"])
async def test_an_object_of_the_users_own_is_transcribed_and_left_alone(
    tmp_path: Path, name: str
) -> None:
    async with cloud(tmp_path) as google:
        if name == "talk.flac":
            soundfile = pytest.importorskip("soundfile", reason="writes the FLAC file of the test")
            soundfile.write(tmp_path / name, *soundfile.read(tmp_path / "talk.wav", dtype="int16"))
        elif name == "talk.raw":
            (tmp_path / name).write_bytes(say(WORDS))
        stored = StoredObject((tmp_path / name).read_bytes(), 1, {}, "audio/x")
        google.storage.objects[BUCKET, name] = stored
        result = await google.run(uri=f"gs://{BUCKET}/{name}", recording=None, bucket=None)
        assert [part.text for part in result.parts] == TEXTS
        assert google.storage.objects == {(BUCKET, name): stored}
        assert (google.storage.finished_uploads, result.duration_s) == (0, None)


async def test_an_object_can_be_transcribed_with_an_api_key(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        google.storage.objects[BUCKET, "a.raw"] = StoredObject(say([1]), 1, {}, "audio/x")
        (tmp_path / "key").write_text(google.speech.key)
        options = google.options(credentials_file=None, api_key_file=str(tmp_path / "key"))
        job = {"uri": f"gs://{BUCKET}/a.raw", "recording": None, "bucket": None}
        result = await google.run(options=options, **job)
        assert [part.text for part in result.parts] == [text_of([1])]


async def test_silence_gives_no_parts(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        write_wav(tmp_path / "talk.wav", bytes(32_000))
        assert (await google.run()).parts == ()


# Runs that die


async def test_a_job_that_is_done_answers_from_its_directory(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        first = await google.run()
    (tmp_path / "talk.wav").unlink()
    assert await google.run() == first


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_dies_at_any_write_neither_uploads_nor_submits_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write: Callable[[JobFile, bytes], None] = JobFile._write
    died, unknown = 0, 0
    while True:
        directory = tmp_path / str(died)
        directory.mkdir()
        writes = 0

        def mortal(file: JobFile, text: bytes, at: int = died) -> None:
            nonlocal writes
            writes += 1
            if moment == "after" or writes <= at:
                write(file, text)
            if writes == at + 1:
                raise KilledError

        async with cloud(directory) as google:
            with monkeypatch.context() as patch:
                patch.setattr(JobFile, "_write", mortal)
                try:
                    google.paid_once(await google.run())
                    break
                except KilledError:
                    died += 1
            try:
                result = await google.run()
            except TemporaryError:
                unknown += 1  # it was not submitted, and that cannot be known
                result = await google.run(submit_again=True)
            google.paid_once(result)
    assert died == 6
    assert unknown == (1 if moment == "after" else 0)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_dies_at_any_request_neither_uploads_nor_submits_twice(
    tmp_path: Path, moment: str
) -> None:
    died = 0
    while True:
        directory = tmp_path / str(died)
        directory.mkdir()
        async with cloud(directory) as google:
            run = asyncio.ensure_future(google.run())
            asked = 0

            async def hook(when: str, request: Request, run: Any = run, at: int = died) -> None:
                nonlocal asked
                of_the_client = request.path == f"/storage/v1/b/{BUCKET}"  # for its telemetry
                if when == moment and not of_the_client:
                    asked += 1
                    if asked == at + 1:
                        run.cancel()

            google.speech.hook = google.storage.hook = hook
            try:
                google.paid_once(await run)
                break
            except asyncio.CancelledError:
                died += 1
            google.speech.hook = google.storage.hook = None
            google.paid_once(await google.run())
    assert died == 7  # token, upload, list, submission, two questions, delete


CHILD = """
import asyncio, json, sys
from pathlib import Path
from stt_edge.providers.google_rest import Options
from stt_edge.service.object_jobs import ObjectJob, run_object_job
told = json.loads(sys.argv[1])
job = ObjectJob(Options(**told["options"]), Path(told["directory"]),
                recording=Path(told["recording"]), bucket=told["bucket"])
asyncio.run(run_object_job(job, on_progress=lambda progress: None))
"""


@pytest.mark.parametrize("place", ["/upload/", SUBMISSION])
async def test_a_process_killed_before_it_hears_the_answer_goes_on_where_it_was(
    tmp_path: Path, place: str
) -> None:
    async with cloud(tmp_path) as google:
        job = google.job
        options = {
            "url": job.options.url,
            "poll_s": job.options.poll_s,
            "storage_url": job.options.storage_url,
            "credentials_file": job.options.credentials_file,
        }
        told = {"options": options, "directory": str(job.directory)}
        told |= {"recording": str(job.recording), "bucket": job.bucket}
        sources = str(Path(stt_edge.__file__).parents[1])
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD, json.dumps(told)),
            env={**os.environ, "PYTHONPATH": sources},
        )

        async def hook(when: str, request: Request) -> None:
            if when == "after" and request.path.startswith(place):
                google.speech.hook = google.storage.hook = None
                child.send_signal(signal.SIGKILL)
                await child.wait()

        google.speech.hook = google.storage.hook = hook
        assert await child.wait() == -signal.SIGKILL
        google.paid_once(await google.run())


async def test_two_runs_do_not_work_on_one_job(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        with StateLock.acquire(google.job.directory), pytest.raises(UnavailableError):
            await google.run()


# Answers that are lost


@pytest.mark.parametrize("fault", ["lost_submission", "poll_503", "poll_lost"])
async def test_a_speech_service_that_stumbles_is_paid_once(tmp_path: Path, fault: str) -> None:
    async with cloud(tmp_path, speech=faults(fault)) as google:
        google.paid_once(await google.run())


@pytest.mark.parametrize("pieces", [False, True])
async def test_a_lost_answer_to_an_upload_is_no_second_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: bool
) -> None:
    if pieces:
        monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", 1)
    async with cloud(tmp_path, storage=faults("lost_upload")) as google:
        google.paid_once(await google.run())


async def test_a_job_begun_anew_takes_up_its_old_upload_and_deletes_it(tmp_path: Path) -> None:
    async with cloud(tmp_path, speech=faults("lost_submission", "no_list")) as google:
        with pytest.raises(TemporaryError):
            await google.run()
        (google.job.directory / "job.json").unlink()
        result = await google.run(submit_again=True)
        assert [part.text for part in result.parts] == TEXTS
        assert (google.storage.finished_uploads, google.storage.objects) == (1, {})


async def test_where_jobs_cannot_be_listed_a_lost_answer_is_for_the_user_to_decide(
    tmp_path: Path,
) -> None:
    async with cloud(tmp_path, speech=faults("lost_submission", "no_list")) as google:
        for _ in range(2):
            with pytest.raises(TemporaryError, match="unknown whether") as caught:
                await google.run()
            assert "--fresh" in caught.value.remedy
        assert google.speech.submissions == 1
        result = await google.run(submit_again=True)
        assert [part.text for part in result.parts] == TEXTS
        assert google.speech.submissions == 2


async def test_a_job_the_service_has_forgotten_is_not_submitted_again_by_itself(
    tmp_path: Path,
) -> None:
    async with cloud(tmp_path, speech=faults("expired")) as google:
        with pytest.raises(TemporaryError, match="knows the job no longer"):
            await google.run()
        with pytest.raises(TemporaryError, match="unknown whether"):
            await google.run()
        assert google.speech.submissions == 1


async def test_a_service_that_stays_away_ends_the_run_and_not_the_job(tmp_path: Path) -> None:
    async with cloud(tmp_path, speech=Faults(http_status=503)) as google:
        with pytest.raises(TemporaryError, match="for too long"):
            await google.run(give_up_s=0.2)
        assert google.storage.finished_uploads == 1
        google.speech.faults = Faults()
        google.paid_once(await google.run())


# What is refused


async def test_a_job_that_ends_in_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    async with cloud(tmp_path, speech=faults("operation_error=3")) as google:
        with pytest.raises(ProviderError, match="It went wrong") as caught:
            await google.run()
        assert caught.value.kind is FailureKind.UTTERANCE
        assert google.storage.objects == {}
        google.speech.faults = Faults()
        assert [part.text for part in (await google.run()).parts] == TEXTS


async def test_a_job_that_ends_by_the_services_fault_is_submitted_again_not_uploaded(
    tmp_path: Path,
) -> None:
    async with cloud(tmp_path, speech=faults("operation_error=13")) as google:
        with pytest.raises(ProviderError) as caught:
            await google.run()
        assert caught.value.kind is FailureKind.SERVER
        google.speech.faults = Faults()
        result = await google.run()
        assert [part.text for part in result.parts] == TEXTS
        assert (google.storage.finished_uploads, google.speech.submissions) == (1, 2)


async def test_what_another_job_has_uploaded_is_used_and_not_deleted(tmp_path: Path) -> None:
    async with cloud(tmp_path, storage=faults("delete_403")) as google:
        await google.run()
        ((place, stored),) = google.storage.objects.items()
        stored.metadata = {"stt-edge-job": "another"}
        result = await google.run(directory=tmp_path / "second")
        assert [part.text for part in result.parts] == TEXTS
        assert (google.storage.finished_uploads, result.warning) == (1, "")
        assert list(google.storage.objects) == [place]


async def test_a_transcript_is_given_out_though_the_object_cannot_be_deleted(
    tmp_path: Path,
) -> None:
    async with cloud(tmp_path, storage=faults("delete_403")) as google:
        result = await google.run()
        assert [part.text for part in result.parts] == TEXTS
        assert f"gs://{BUCKET}/stt-edge/" in result.warning
        assert "could not be deleted" in result.warning


async def test_a_bucket_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        with pytest.raises(ProviderError) as caught:
            await google.run(bucket="elsewhere")
        assert caught.value.kind is FailureKind.REQUEST
        assert "elsewhere" in caught.value.remedy
        assert "upload_id" not in str(caught.value)


async def test_an_object_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        with pytest.raises(ProviderError, match="not found") as caught:
            await google.run(uri=f"gs://{BUCKET}/none.flac", recording=None, bucket=None)
        assert caught.value.kind is FailureKind.REQUEST
        assert f"gs://{BUCKET}/none.flac" in caught.value.remedy


async def test_credentials_that_are_refused_are_a_matter_of_permission(tmp_path: Path) -> None:
    async with cloud(tmp_path, storage=faults("invalid_grant")) as google:
        with pytest.raises(PermissionDeniedError, match="no access token"):
            await google.run()
        assert google.storage.finished_uploads == 0


async def test_an_api_key_does_not_open_a_bucket(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        (tmp_path / "key").write_text(google.speech.key)
        options = google.options(credentials_file=None, api_key_file=str(tmp_path / "key"))
        with pytest.raises(InputError, match="API key"):
            await google.run(options=options)


async def test_an_emulator_of_the_storage_needs_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud(tmp_path) as google:
        google.storage.anonymous = True
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.storage.url.rstrip("/"))
        (tmp_path / "key").write_text(google.speech.key)
        key = {"credentials_file": None, "api_key_file": str(tmp_path / "key")}
        google.paid_once(await google.run(options=google.options(storage_url=None, **key)))


async def test_a_directory_belongs_to_one_job(tmp_path: Path) -> None:
    async with cloud(tmp_path) as google:
        await google.run()
        with pytest.raises(InputError, match="another job"):
            await google.run(options=google.options(language="is-IS"))
        (google.job.directory / "job.json").write_text("{")
        with pytest.raises(InputError, match="damaged"):
            await google.run()


@pytest.mark.parametrize(
    "changes",
    [
        {"uri": "gs://recordings/a.wav"},
        {"recording": None},
        {"recording": None, "uri": "http://recordings/a.wav"},
        {"bucket": None},
    ],
)
async def test_a_job_that_makes_no_sense_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with cloud(tmp_path) as google:
        with pytest.raises(InputError):
            await google.run(**changes)
        assert google.storage.requests == google.speech.requests == []
