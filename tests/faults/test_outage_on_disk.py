"""While the provider is away, what is being said is on the disk before it has been said."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from scripts.lib.fault_kit.house import House, service_of

from stt_edge.clock import SystemClock
from stt_edge.utterance.log import UtteranceLog
from tests.service.providers_room import sentence
from tests.simulators.core import Faults
from tests.utterance.making import head, tail, tone

pytest.importorskip("stt_edge.utterance.copies", reason="nothing goes to the disk here")


async def test_in_an_outage_speech_is_on_the_disk_while_it_is_still_spoken(tmp_path: Path) -> None:
    refusing = service_of(faults=Faults(http_status=401))
    async with refusing as service, House(tmp_path / "house") as house:
        house.furnish(service, spool={"keep_free_mb": 0})
        await house.launch()
        await house.ready()
        await house.voice.say(sentence([0]))
        await house.until_status(lambda status: status["provider"]["state"] == "blocked")

        def copies() -> list[Path]:
            return list((house.directory / "state" / "spool").glob("*.seg"))

        await house.until(lambda: len(copies()) == 1)
        # Twelve seconds: what is unacknowledged for twenty would go there anyway.
        saying = asyncio.create_task(house.voice.say(sentence(list(range(8)) * 5)))
        await house.until(lambda: len(copies()) == 2 or saying.done())
        assert not saying.done()
        await saying
        await house.stop()


def test_at_the_end_what_was_said_a_moment_ago_goes_to_the_disk_too(tmp_path: Path) -> None:
    from stt_edge.service.spool_thread import SpoolThread
    from stt_edge.utterance.spool import SpoolRules

    log = UtteranceLog(tmp_path / "hot", cold=tmp_path / "cold")
    log.recover()
    begun = replace(head(0), started_mono_ns=time.monotonic_ns())
    log.start(begun)
    log.append(begun.id, tone(0, 1600))
    log.end(begun.id, tail(1600))
    thread = SpoolThread(log, SpoolRules(keep_free_bytes=0), SystemClock(), report=lambda _: None)
    thread.start()
    thread.leave()
    assert thread.join(20)
    log.close()
    assert [path.name[:36] for path in (tmp_path / "cold").iterdir()] == [begun.id]
