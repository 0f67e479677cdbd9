"""From the gate's decision to the first byte at the provider, also while another still drains.

``PYTHONPATH=. .venv/bin/python -m scripts.lib.first_byte RECORDING``: a real ear hears it in real
time; the provider takes eight seconds over every goodbye.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.provider import Behaviour, FakeServer, Utterance
from tests.session.scripted import MemoryListener

from stt_edge.clock import SystemClock
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.providers.base import Provider
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader
from stt_edge.service.intake import Losses, UtteranceGrew, UtteranceOpened
from stt_edge.service.pipeline import Pipeline
from stt_edge.session.chain import SessionRules
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog

GOODBYE_S = 8.0


async def measure(recording: Path, folder: Path) -> list[dict[str, float]]:
    """Return a row for each utterance: when it was decided, and how long until its first byte."""
    loop = asyncio.get_running_loop()
    decided: list[int] = []
    first: dict[int, int] = {}
    gone = asyncio.Event()

    def watch(_what: str, _connection: int, utterance: Utterance | None) -> None:
        if utterance is not None and utterance.samples:
            first.setdefault(utterance.number, time.monotonic_ns())

    server = FakeServer(Behaviour(text="said", goodbye_s=GOODBYE_S), watch=watch)
    provider = server.provider("slow", finalize=False, max_connections=2)
    log = UtteranceLog(folder / "utterances")
    log.recover()
    store = await StoreThread.open(folder / "store.db")
    pipeline = make_pipeline(log, store, provider)
    writing = asyncio.create_task(pipeline.results.run())

    def take(reader: EarReader, event: EarEvent) -> None:
        match event:
            case EarGone():
                gone.set()
            case UtteranceOpened():
                decided.append(event.decided_mono_ns)
            case UtteranceGrew():
                reader.growth_seen()
        pipeline.take(event)  # type: ignore[arg-type]

    def emit(reader: EarReader, event: EarEvent) -> None:
        loop.call_soon_threadsafe(take, reader, event)

    ear = EarProcess()
    ear.begin(EarSettings(SourceSettings(file=str(recording), pace="realtime")))
    EarReader(
        ear,
        log,
        clock=SystemClock(),
        losses=Losses(),
        limiter=LineLimiter(),
        emit=emit,
    )
    await gone.wait()
    await pipeline.close(2 * GOODBYE_S, asyncio.Event())
    writing.cancel()
    await store.close()
    begun = sorted(first.values())
    return [
        {
            "decided_s": round((decision - decided[0]) / 1e9, 3),
            "first_byte_ms": round((byte - decision) / 1e6, 1),
        }
        for decision, byte in zip(decided, begun, strict=True)
    ]


def make_pipeline(log: UtteranceLog, store: StoreThread, provider: Provider) -> Pipeline:
    return Pipeline(
        log,
        store,
        [provider],
        MemoryListener(),
        SystemClock(),
        node="bench",
        rules=SessionRules(),
        on_record=lambda: None,
    )


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="stt-edge-first-byte-") as folder:
        rows = asyncio.run(measure(Path(sys.argv[1]), Path(folder)))
    for row in rows:
        print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
