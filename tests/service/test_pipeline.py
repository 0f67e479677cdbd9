"""Log, session and store joined: what is taken up after a crash, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stt_edge.clock import SystemClock
from stt_edge.model import EndReason, Record, UtteranceState
from stt_edge.service.intake import UtteranceEnded, UtteranceGrew, UtteranceOpened
from stt_edge.service.pipeline import Pipeline
from stt_edge.session.chain import SessionRules
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from tests.service.bench import PCM, SAMPLES, A, audio, head_of, part, tail_of
from tests.session.scripted import MemoryListener, Remote, Wire
from tests.session.test_dispatcher import final


class Plant:
    """A pipeline with a real log and a real store, and a provider played by the test."""

    def __init__(self, directory: Path, store: StoreThread, log: UtteranceLog) -> None:
        self.log = log
        self.store = store
        self.remote = Remote()
        self.pipeline = Pipeline(
            log,
            store,
            [self.remote.provider],
            MemoryListener(),
            SystemClock(),
            node="here",
            rules=SessionRules(),
            on_record=lambda: None,
        )

    async def wire(self, number: int) -> Wire:
        async with asyncio.timeout(5):
            while (
                len(self.remote.wires) <= number or "goodbye" not in self.remote.wires[number].words
            ):
                await asyncio.sleep(0.002)
        return self.remote.wires[number]

    async def records(self) -> list[Record]:
        assert await self.pipeline.dispatcher.drain(5)
        assert await self.pipeline.results.drain(5)
        return [record for _, record in await self.store.call(Store.records_after, 0, 99)]


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    log = UtteranceLog(tmp_path / "utterances")
    store = await StoreThread.open(tmp_path / "store.db")
    made = Plant(tmp_path, store, log)
    task = asyncio.create_task(made.pipeline.results.run())
    yield made
    await made.pipeline.dispatcher.aclose()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.close()
    log.close()


def left_behind(tmp_path: Path, name: str = A, *, end: bool = True) -> None:
    """Leave an utterance in the log, as a run that is gone would."""
    log = UtteranceLog(tmp_path / "utterances")
    log.recover()
    audio(log, name, end=end)
    log.close()


async def test_speech_becomes_a_record_and_its_audio_goes(plant: Plant) -> None:
    plant.log.recover()
    head = audio(plant.log, A)
    plant.pipeline.take(UtteranceOpened(head, 0))
    plant.pipeline.take(UtteranceGrew(A))
    plant.pipeline.take(UtteranceEnded(A, tail_of(head)))
    wire = await plant.wire(0)
    assert wire.pcm == PCM
    wire.say(final("hello", 0, SAMPLES))
    wire.hang_up()
    (record,) = await plant.records()
    assert (record.text, record.end_sample) == ("hello", SAMPLES)
    assert plant.log.ids() == []


async def test_what_a_crash_left_is_transcribed_and_marked(plant: Plant, tmp_path: Path) -> None:
    left_behind(tmp_path, end=False)
    assert await plant.pipeline.recover(plant.log.recover()) == 1
    wire = await plant.wire(0)
    wire.say(final("hello", 0, SAMPLES))
    wire.hang_up()
    (record,) = await plant.records()
    assert record.truncated
    assert record.delayed
    assert record.latency_ms is None


async def test_after_a_crash_only_what_is_not_acknowledged_is_sent(
    plant: Plant, tmp_path: Path
) -> None:
    left_behind(tmp_path)
    head = head_of(A)
    await plant.store.call(Store.add_utterance, head)
    await plant.store.call(Store.end_utterance, A, tail_of(head))
    await plant.store.call(Store.commit_part, part(head, "one"), 1000)
    await plant.pipeline.recover(plant.log.recover())
    wire = await plant.wire(0)
    assert wire.pcm == PCM[2000:]
    wire.say(final("two", 0, SAMPLES - 1000))
    wire.hang_up()
    (record,) = await plant.records()
    assert record.text == "one two"


async def test_what_was_finished_is_not_transcribed_again(plant: Plant, tmp_path: Path) -> None:
    left_behind(tmp_path)
    await plant.store.call(Store.add_utterance, head_of(A))
    await plant.store.call(Store.finish, A, UtteranceState.DONE, None)
    assert await plant.pipeline.recover(plant.log.recover()) == 0
    assert plant.remote.wires == []
    assert plant.log.ids() == []


async def test_parts_of_an_utterance_whose_audio_is_gone_become_its_record(plant: Plant) -> None:
    head = head_of(A)
    await plant.store.call(Store.add_utterance, head)
    await plant.store.call(Store.end_utterance, A, tail_of(head))
    await plant.store.call(Store.commit_part, part(head, "one"), 1000)
    await plant.pipeline.recover(plant.log.recover())
    (record,) = await plant.records()
    assert (record.text, record.truncated) == ("one", True)
    assert plant.remote.wires == []


async def test_an_utterance_with_neither_audio_nor_parts_is_dropped(plant: Plant) -> None:
    await plant.store.call(Store.add_utterance, head_of(A))
    await plant.pipeline.recover(plant.log.recover())
    assert await plant.records() == []
    assert (await plant.store.call(Store.counts))[UtteranceState.DROPPED] == 1


async def test_closing_leaves_what_is_unfinished_in_the_log(plant: Plant) -> None:
    plant.log.recover()
    head = audio(plant.log, A)
    plant.pipeline.take(UtteranceOpened(head, 0))
    plant.pipeline.take(UtteranceEnded(A, tail_of(head)))
    await plant.wire(0)
    assert not await plant.pipeline.close(0.05, asyncio.Event())
    assert plant.log.ids() == [A]


async def test_a_second_signal_does_not_wait_for_the_provider(plant: Plant) -> None:
    plant.log.recover()
    head = audio(plant.log, A)
    plant.pipeline.take(UtteranceOpened(head, 0))
    plant.pipeline.take(UtteranceEnded(A, tail_of(head)))
    hurry = asyncio.Event()
    hurry.set()
    async with asyncio.timeout(5):
        assert not await plant.pipeline.close(60, hurry)


def test_reasons_that_truncate_are_those_that_cut_somebody_short() -> None:
    assert {reason for reason in EndReason if reason.truncates} == {
        EndReason.DEVICE,
        EndReason.GAP,
        EndReason.CRASH,
    }
