"""Twenty minutes of speech while no provider can be reached, and a disk that holds four of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.fakes.disk import run_on_small_disk

DISK_KIB = 8192

SPEAKER = """
import asyncio, json, logging, sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from stt_edge.clock import SystemClock
from stt_edge.config.settings import SpoolSection
from stt_edge.model import AudioSpan, EndReason, UtteranceEnd, UtteranceStart
from stt_edge.ids import uuid7
from stt_edge.service.spool import Spool
from stt_edge.utterance.log import UtteranceLog

SECONDS, UTTERANCES = 30, 40
BLOCK = bytes(range(256)) * 12 + bytes(128)
disk, hot = Path(sys.argv[1]), Path(sys.argv[1] + "-hot")
(disk / "filler").write_bytes(bytes(3 << 20))
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


class Unreachable:
    offline = True

    def drop(self, utterance_id):
        return True


async def until(true, patience_s=30):
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.05)


async def main():
    clock = SystemClock()
    log = UtteranceLog(hot, cold=disk / "spool")
    log.recover()
    spool = Spool(log, SpoolSection(keep_free_mb=0), clock)
    spool.start(SimpleNamespace(dispatcher=Unreachable()))
    spool.look()
    spoken = []
    most_hot = 0
    for _ in range(UTTERANCES):
        head = UtteranceStart(uuid7(), "s", 0, clock.now(), clock.monotonic_ns())
        log.start(head)
        for at in range(SECONDS * 10):
            log.append(head.id, AudioSpan(at * 1600, BLOCK))
            if at % 10 == 0:
                await asyncio.sleep(0.01)
        log.end(head.id, UtteranceEnd(SECONDS * 16000, EndReason.SILENCE, 0, 0))
        spoken.append(head.id)
        most_hot = max(most_hot, sum(each.hot_bytes for each in log.holdings()))
    await until(lambda: spool.status().trouble)
    await until(lambda: spool.status().dropped)
    dropped = spool.status()
    left = log.ids()
    whole = all(
        sum(span.end - span.sample for span in log.read(each, 0, 1 << 30)) == SECONDS * 16000
        for each in left
    )
    (disk / "filler").unlink()
    before = spool.status().on_disk_bytes
    begun = asyncio.get_running_loop().time()
    await until(lambda: spool.status().on_disk_bytes > before + (2 << 20))
    print(json.dumps({
        "trouble": dropped.trouble,
        "dropped": dropped.dropped,
        "dropped_s": dropped.dropped_s,
        "left_are_the_newest": left == spoken[-len(left):],
        "left": len(left),
        "whole": whole,
        "most_hot": most_hot,
        "back_after_s": round(asyncio.get_running_loop().time() - begun, 1),
    }))
    spool.leave()
    await spool.finish(10)


asyncio.run(main())
"""


def test_the_oldest_is_given_up_the_rest_is_whole_and_the_daemon_goes_on(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    said = json.loads(run_on_small_disk(SPEAKER, tmp_path / "disk", DISK_KIB))
    record_property(
        "figure",
        f"{said['dropped_s']:.0f} s of 1200 given up, counted exactly; the rest whole; on the disk "
        f"again {said['back_after_s']} s after there was room",
    )
    assert "No space left" in said["trouble"]
    assert said["dropped"] > 0
    assert said["dropped_s"] == 30.0 * said["dropped"]
    assert said["dropped"] + said["left"] == 40
    assert said["left_are_the_newest"]
    assert said["whole"]
    # Memory holds its share, and what came until the next look.
    assert 16 << 20 < said["most_hot"] < 32 << 20
