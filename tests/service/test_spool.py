"""Audio that waits, as the daemon deals with it: given up, counted, listed, done again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stt_edge.clock import SystemClock
from stt_edge.config.settings import SpoolSection
from stt_edge.errors import InputError
from stt_edge.ids import uuid7
from stt_edge.model import AudioSpan, UtteranceState
from stt_edge.service import spool as module
from stt_edge.service.intake import UtteranceEnded, UtteranceOpened
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.spool import Spool
from stt_edge.session.chain import SessionRules
from stt_edge.session.standing import Health
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.spool import Excess
from tests.service.bench import PCM, SAMPLES, head_of, part, tail_of
from tests.session.scripted import MemoryListener, Remote
from tests.session.test_dispatcher import final

PATIENCE_S = 20.0


class House:
    """A pipeline with a spool, and a provider that takes what it is given and says nothing."""

    def __init__(self, directory: Path, store: StoreThread) -> None:
        self.cold = directory / "state" / "spool"
        self.cold.parent.mkdir()
        self.log = UtteranceLog(directory / "hot", cold=self.cold)
        self.log.recover()
        self.store = store
        self.remote = Remote()
        self.spool = Spool(self.log, SpoolSection(keep_free_mb=0), SystemClock())
        self.pipeline = Pipeline(
            self.log,
            store,
            [self.remote.provider],
            MemoryListener(),
            SystemClock(),
            node="here",
            rules=SessionRules(),
            on_record=lambda: None,
        )
        self.ask: dict[str, Callable[..., Any]] = self.spool.commands()

    def say(self, *, end: bool = True) -> str:
        clock = SystemClock()
        head = replace(
            head_of(uuid7()), started_at=clock.now(), started_mono_ns=clock.monotonic_ns()
        )
        self.log.start(head)
        self.pipeline.take(UtteranceOpened(head, 0))
        self.log.append(head.id, AudioSpan(0, PCM))
        if end:
            self.log.end(head.id, tail_of(head))
            self.pipeline.take(UtteranceEnded(head.id, tail_of(head)))
        return head.id

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await asyncio.sleep(0.01)

    async def state_of(self, utterance_id: str) -> UtteranceState | None:
        await self.pipeline.results.drain(PATIENCE_S)
        row = await self.store.call(Store.utterance, utterance_id)
        return None if row is None else row.state

    async def listed(self) -> dict[str, str]:
        return {entry["id"]: entry["state"] for entry in await self.ask["spool-ls"]({})}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await StoreThread.open(tmp_path / "store.db")
    made = House(tmp_path, store)
    task = asyncio.create_task(made.pipeline.results.run())
    made.spool.start(made.pipeline)
    yield made
    await made.pipeline.dispatcher.aclose()
    made.spool.leave()
    await made.spool.finish(PATIENCE_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.close()
    made.log.close()


async def in_hand_and_waiting(house: House) -> tuple[str, list[str]]:
    """Return an utterance a provider has in hand, and three that wait behind it."""
    dispatcher = house.pipeline.dispatcher
    ids = [house.say() for _ in range(dispatcher._chain.first.max_connections + 3)]
    await house.until(lambda: dispatcher.status().waiting == 3)
    return ids[-4], ids[-3:]


async def test_the_oldest_that_waits_is_given_up_and_counted_and_told_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    held, waiting = await in_hand_and_waiting(house)
    house.spool._take(Excess(bytes=2 * len(PCM) + 100))
    assert await house.state_of(held) is UtteranceState.ENDED
    assert [await house.state_of(each) for each in waiting] == [
        UtteranceState.DROPPED,
        UtteranceState.DROPPED,
        UtteranceState.ENDED,
    ]
    assert house.log.ids()[-2:] == [held, waiting[2]]
    status = house.spool.status()
    assert (status.dropped, status.dropped_s) == (2, round(2 * SAMPLES / 16_000, 1))
    (told,) = (record.message for record in caplog.records if "given up" in record.message)
    assert "because there is no room for it, the oldest first" in told


async def test_the_end_of_an_episode_is_told_with_what_it_cost(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EPISODE_S", 0.01)
    _, waiting = await in_hand_and_waiting(house)
    house.spool._take(Excess(expired=tuple(waiting)))
    await house.until(lambda: "it was 3 utterances" in caplog.text)
    assert "because it is too old" in caplog.text


async def test_what_was_committed_of_an_utterance_that_is_given_up_becomes_its_record(
    house: House,
) -> None:
    held, (first, *_) = await in_hand_and_waiting(house)
    del held
    head = house.log.info(first).start
    progress = house.pipeline.dispatcher._known[first]
    await house.pipeline.results.drain(PATIENCE_S)
    await house.store.call(Store.commit_part, part(head, "half a"), 100)
    progress.resume([part(head, "half a")], 100)
    assert [each.id for each in house.spool.drop([first])] == [first]
    await house.pipeline.results.drain(PATIENCE_S)
    ((_, record),) = await house.store.call(Store.records_after, 0, 9)
    assert (record.text, record.truncated) == ("half a", True)


async def test_speech_in_the_mouth_of_somebody_is_never_given_up(house: House) -> None:
    open_ = house.say(end=False)
    house.spool._take(Excess(bytes=1 << 40))
    assert house.log.ids() == [open_]
    answer = await house.ask["spool-purge"]({})
    assert (answer["purged"], house.log.ids()) == ([], [open_])
    house.log.end(open_, tail_of(house.log.info(open_).start))
    house.pipeline.take(UtteranceEnded(open_, tail_of(house.log.info(open_).start)))


async def test_purge_deletes_what_waits_and_names_what_it_does_not(house: House) -> None:
    held, waiting = await in_hand_and_waiting(house)
    answer = await house.ask["spool-purge"]({"ids": [held, waiting[1], "nobody"]})
    assert answer == {"purged": [waiting[1]], "refused": sorted([held, "nobody"])}
    assert await house.state_of(waiting[1]) is UtteranceState.DROPPED
    with pytest.raises(InputError):
        await house.ask["spool-purge"]({"ids": "all"})


async def test_audio_that_is_kept_is_listed_and_can_be_done_again(house: House) -> None:
    house.spool.configure(SpoolSection(keep_free_mb=0, keep_audio=True))
    utterance_id = house.say()
    await house.until(lambda: house.remote.wires and "goodbye" in house.remote.wires[0].words)
    house.remote.wires[0].say(final("first", 0, SAMPLES))
    house.remote.wires[0].hang_up()
    await house.until(lambda: house.spool.status().kept == 1)
    assert await house.listed() == {utterance_id: "kept"}
    assert house.spool.status().utterances == 0

    assert (await house.ask["spool-replay"]({"ids": [utterance_id]}))["replayed"] == [utterance_id]
    await house.until(
        lambda: len(house.remote.wires) > 1 and "goodbye" in house.remote.wires[1].words
    )
    assert house.remote.wires[1].pcm == PCM
    house.remote.wires[1].say(final("second", 0, SAMPLES))
    house.remote.wires[1].hang_up()
    await house.until(lambda: house.spool.status().kept == 1)
    await house.pipeline.results.drain(PATIENCE_S)
    (_, old), (_, new) = await house.store.call(Store.records_after, 0, 9)
    assert (old.text, new.text, new.supersedes) == ("first", "second", old.id)

    house.spool._take(Excess(bytes=1))
    assert house.log.ids() == []
    assert house.spool.status().dropped == 0  # it was only kept


async def test_what_was_set_aside_can_be_replayed(house: House) -> None:
    utterance_id = uuid7()
    head = replace(head_of(utterance_id), started_at=SystemClock().now())
    house.log.start(head)
    house.log.append(utterance_id, AudioSpan(0, PCM))
    house.log.end(utterance_id, tail_of(head))
    await house.store.call(Store.add_utterance, head)
    await house.store.call(Store.end_utterance, utterance_id, tail_of(head))
    await house.store.call(Store.finish, utterance_id, UtteranceState.POISONED, None)
    assert await house.listed() == {utterance_id: "poisoned"}
    assert (await house.ask["spool-replay"]({}))["replayed"] == [utterance_id]
    await house.until(lambda: house.remote.wires and house.remote.wires[0].pcm == PCM)


async def test_in_an_outage_what_is_said_goes_to_the_disk_at_once(house: House) -> None:
    lane = house.pipeline.dispatcher._chain.first
    lane.standing = replace(lane.standing, health=Health.BLOCKED, due_s=1e12)
    open_ = house.say(end=False)
    house.spool.look()
    await house.until(lambda: list(house.cold.glob(f"{open_}*.seg")))
    house.log.end(open_, tail_of(house.log.info(open_).start))
    house.pipeline.take(UtteranceEnded(open_, tail_of(house.log.info(open_).start)))
    await house.until(lambda: house.spool.status().on_disk_bytes > len(PCM))
