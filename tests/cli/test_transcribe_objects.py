"""``stt-edge transcribe`` by way of a bucket, with both of Google's services simulated."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.cli.transcribe_objects import records_of
from stt_edge.service.object_jobs import ObjectPart, ObjectResult, ObjectWord
from tests.simulators.core import Faults
from tests.simulators.google_rest import Simulator
from tests.simulators.google_storage import BUCKET
from tests.simulators.google_storage import Simulator as StorageSimulator
from tests.simulators.speech import say, text_of

pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage")

WORDS = tuple(range(14))
TEXTS = [text_of(WORDS[:12]), text_of(WORDS[12:])]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@dataclass
class Cloud:
    """Both services, a configuration that knows them, and a recording."""

    speech: Simulator
    storage: StorageSimulator
    config: Path
    sound: Path

    async def run(self, *words: str) -> int:
        return await asyncio.to_thread(main, ["transcribe", "-c", str(self.config), *words])


@asynccontextmanager
async def cloud(directory: Path, speech: Faults | None = None) -> AsyncIterator[Cloud]:
    async with (
        StorageSimulator() as bucket,
        Simulator(speech or Faults(), storage=bucket) as recogniser,
    ):
        recogniser.looks = 1
        options = {"url": recogniser.url, "poll_s": 0.05, **bucket.options(directory)}
        config = directory / "config.yaml"
        config.write_text(json.dumps({"providers": [{"name": "google_rest", **options}]}))
        sound = directory / "talk.wav"
        with wave.open(str(sound), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(say(WORDS))
        yield Cloud(recogniser, bucket, config, sound)


async def test_a_recording_goes_by_the_bucket_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cloud(tmp_path) as google:
        assert await google.run("--bucket", BUCKET, "--json", str(google.sound)) == 0
        assert (google.storage.finished_uploads, google.speech.submissions) == (1, 1)
        assert google.storage.objects == {}
    told = capsys.readouterr()
    first, second = (json.loads(line) for line in told.out.splitlines())
    assert [first["text"], second["text"]] == TEXTS
    assert (first["file"], first["provider"]) == (str(google.sound), "google_rest")
    assert (second["start"], second["end"]) == (3.65, 4.2)
    assert first["words"][0] == {"text": "the", "start": 0.0, "end": 0.25, "confidence": 0.9}
    assert told.err == ""
    assert not list((tmp_path / "state" / "stt-edge" / "transcribe").iterdir())


async def test_one_named_twice_is_paid_for_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cloud(tmp_path) as google:
        assert await google.run("--bucket", BUCKET, *[str(google.sound)] * 2) == 0
        assert google.speech.submissions == 1
    assert len(capsys.readouterr().out.splitlines()) == 4


async def test_an_object_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cloud(tmp_path) as google:
        address = f"gs://{BUCKET}/nothing.flac"
        assert await google.run("--bucket", BUCKET, address, str(google.sound)) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"stt-edge: {address}: ")
    assert f"1 of 2 files could not be used: {address}" in told.err
    assert len(told.out.splitlines()) == 2


async def test_a_service_that_stays_away_is_given_up_and_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--bucket", BUCKET, "--give-up", "0.2s")
    async with cloud(tmp_path) as google:
        google.speech.faults = Faults(http_status=503)
        assert await google.run(*words, str(google.sound)) == 75
        google.speech.faults = Faults()
        assert await google.run(*words, str(google.sound)) == 0
        assert (google.storage.finished_uploads, google.speech.submissions) == (1, 1)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_has_no_times_of_its_own_lies_behind_the_one_before() -> None:
    word = ObjectWord("c", 3.0, 3.5)
    parts = (
        ObjectPart("a", 0.5, 1.0),
        ObjectPart("b", None, 2.0),
        ObjectPart("c", None, None, (word,)),
        ObjectPart("d", None, None),
    )
    records = records_of(ObjectResult(parts, "operations/1", 10.0), "google", "here")
    places = [(record.start_sample / 16_000, record.end_sample / 16_000) for record in records]
    assert places == [(0.5, 1.0), (1.0, 2.0), (3.0, 3.5), (3.5, 10.0)]
