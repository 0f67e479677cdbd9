"""Why utterances had to go on with another connection, counted where it happens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import AudioSpan, EndReason, UtteranceEnd
from stt_edge.providers.base import Farewell
from stt_edge.service.intake import UtteranceEnded, UtteranceOpened
from stt_edge.service.status import CountersStatus
from tests.service.bench import PCM, SAMPLES, A, head_of
from tests.service.test_pipeline import Plant, plant
from tests.session.test_dispatcher import final

__all__ = ["plant"]

LONG = 10 * SAMPLES


def status(plant: Plant) -> CountersStatus:
    return plant.pipeline.results.counters.status()


def speak(plant: Plant) -> None:
    plant.log.recover()
    head = head_of(A)
    tail = UtteranceEnd(LONG, EndReason.SILENCE, LONG, LONG)
    plant.log.start(head)
    plant.log.append(A, AudioSpan(0, PCM * 10))
    plant.log.end(A, tail)
    plant.pipeline.take(UtteranceOpened(head, 0))
    plant.pipeline.take(UtteranceEnded(A, tail))


async def test_a_record_counts_for_its_provider_with_the_time_it_took(plant: Plant) -> None:
    speak(plant)
    wire = await plant.wire(0)
    wire.say(final("hello", 0, LONG))
    wire.hang_up()
    await plant.records()
    found = status(plant)
    assert (found.finals, found.speech_s, found.reconnects) == ({"scripted": 1}, 2.0, {})
    assert found.latency.count == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (ProviderError(FailureKind.LOST, "reset"), "lost"),
        (ProviderError(FailureKind.SERVER, "oh dear"), "server"),
        (Farewell(confirmed=False), "unconfirmed"),
    ],
)
async def test_an_utterance_that_is_sent_once_more_is_counted_by_why(
    plant: Plant, end: Exception | Farewell, reason: str
) -> None:
    speak(plant)
    wire = await plant.wire(0)
    if isinstance(end, Farewell):
        wire.say(end)
    else:
        wire.hang_up(end)
    async with asyncio.timeout(10):
        while not status(plant).reconnects:
            await asyncio.sleep(0.005)
    plant.pipeline.dispatcher.hint()  # no wait before the next attempt
    wire = await plant.wire(1)
    wire.say(final("hello", 0, LONG))
    wire.hang_up()
    (record,) = await plant.records()
    assert status(plant).reconnects == {reason: record.reconnects}


async def test_speech_an_earlier_run_left_is_counted_there_and_not_again(
    plant: Plant, tmp_path: Path
) -> None:
    speak(plant)
    assert status(plant).speech_s == 2.0
    await plant.pipeline.recover([plant.log.info(A)])
    assert status(plant).speech_s == 2.0
