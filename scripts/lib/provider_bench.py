"""What providers on a network are given, how soon, and how soon their results are records.

``PYTHONPATH=.:daemon .venv/bin/python -m scripts.lib.provider_bench [--data DIR] [--only NAME]``:
each provider through the real session and transport against its simulator on this machine. Every
figure stands beside its limit, with MISSED where it is over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import operator
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from tests.service.providers_room import Room, WordSpotter, entry, sentence, text
from tests.session.scripted import EchoRemote, MemoryAudio, MemoryListener, MemoryResults
from tests.session.scripted import head as head_of
from tests.session.scripted import tail as tail_of
from tests.shared_data import DATA
from tests.simulators.core import Faults, Simulator
from tests.simulators.registry import names, provider_of, simulator_class
from tests.simulators.speech import TimedRecogniser

from stt_edge.clock import SystemClock
from stt_edge.config.loader import loads
from stt_edge.config.settings import Config
from stt_edge.ear.decode import open_recording
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import GateSettings
from stt_edge.errors import InputError
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, AudioSpan, Record
from stt_edge.providers import registry
from stt_edge.providers.base import Provider
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader
from stt_edge.service.intake import Losses, UtteranceEnded, UtteranceGrew, UtteranceOpened
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.transcription import Transcription
from stt_edge.session.chain import SessionRules
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.sinks import registry as sinks
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog

FIRST_BYTE_MS: Final = 120
OURS_MS: Final = 300
HANDSHAKE_S: Final = 3.0
OUTAGE_S: Final = 60.0
CORRELATION: Final = 0.99
QUICK: Final = {"rate": 50}
"""Pacing with which a recording need not last as long as it is."""
PACED: Final = frozenset({"aws", "deepgram", "google", "iapp", "assemblyai", "assemblyai_v2"})
WHOLE: Final = frozenset({"google_rest", "openai"})
"""They are given an utterance when it has ended."""
FASTER: Final = {"openai_realtime": 24_000}
SHORT_WORDS: Final = partial(TimedRecogniser, word_ms=100)
OUTAGES: Final = ("tiro", "deepgram", "openai", "wyoming")
_PATIENCE_S: Final = 60.0
_PAUSES_MS: Final = 700.0
"""The pause that ends an utterance, and the block in which it ends."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance as the gate cut it out of a recording."""

    recording: str
    start: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside its limit; None is 'there is none'."""

    provider: str
    what: str
    measured: str
    limit: str
    met: bool | None


def figure(provider: str, what: str, measured: float, most: float, unit: str = "ms") -> Figure:
    """Return a figure that may be as high as ``most``."""
    shown = f"{measured:.1f} {unit}"
    return Figure(provider, what, shown, f"{most:g} {unit}", measured <= most)


# --- what all measurements share ---


def build(name: str, options: dict[str, Any], folder: Path) -> Provider:
    """Return a provider as the daemon builds it from a file."""
    listed = {"providers": [{"name": provider_of(name), **options}]}
    config = loads(yaml.safe_dump(listed).encode(), folder / "x.yaml", registry, sinks)
    (one,) = config.providers
    return registry.build(one.name, one.kind, one.options)


def received(simulator: Simulator) -> bytes:
    """Return all audio a simulator was given, connection by connection."""
    return b"".join(session.pcm for session in simulator.sessions)


def chunk_times(simulator: Simulator) -> list[float]:
    """Return when each piece of audio came, in seconds of the monotonic clock."""
    return sorted(session.opened + at for session in simulator.sessions for _, at in session.chunks)


def decoded(path: Path) -> bytes:
    """Return a recording as the ear hears it."""
    recording = open_recording(str(path))
    try:
        return b"".join(iter(lambda: recording.read(SAMPLE_RATE), b""))
    finally:
        recording.close()


async def cut_recordings(data: Path) -> tuple[int, list[Cut]]:
    """Return how many recordings were usable, and their utterances as the gate cuts them."""
    remote = EchoRemote()
    job = Transcription(Config(node="b"), remote.provider, give_up_s=5, progress=lambda _: None)
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    found: list[Cut] = []
    usable = 0
    async with job.open():
        for row in rows:
            path = data / row["file"]
            try:
                records = await job.transcribe(str(path))
            except InputError:
                continue  # damaged on purpose
            usable += 1
            source = decoded(path)
            found += [
                Cut(row["id"], record.start_sample, source[2 * record.start_sample :][: 2 * length])
                for record in records
                if (length := record.end_sample - record.start_sample)
            ]
    return usable, found


# --- (a) what arrives ---


@dataclass(slots=True)
class Exactness:
    """How what arrived compares with what was said."""

    records: int = 0
    samples: int = 0
    lost: int = 0
    """Samples too few or too many."""
    wrong: int = 0
    """Utterances that arrived otherwise than they were said."""
    least_correlation: float = 1.0

    def take(self, said: bytes, came: bytes, rate: int) -> None:
        """Compare one utterance."""
        self.samples += len(said) // SAMPLE_BYTES
        expected = len(said) // SAMPLE_BYTES * rate // SAMPLE_RATE
        difference = abs(len(came) // SAMPLE_BYTES - expected)
        if rate == SAMPLE_RATE:
            self.lost += difference
            self.wrong += came != said
            return
        self.lost += max(0, difference - 1)
        alike = correlation(array("h", said)[::2], array("h", came)[::3])
        self.least_correlation = min(self.least_correlation, alike)
        self.wrong += alike <= CORRELATION or difference > 1


def correlation(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the normalised correlation of two signals, as far as both go."""
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    energy = sum(map(operator.mul, one, one)) * sum(map(operator.mul, other, other))
    return sum(map(operator.mul, one, other)) / math.sqrt(energy) if energy else 1.0


async def measure_exactness(name: str, cuts: Sequence[Cut], folder: Path) -> list[Figure]:
    """Say every utterance to a provider, as fast as it may be sent."""
    faults = Faults(other=frozenset({"unpaced"}))
    result, begun = Exactness(), time.monotonic()
    # Words so short that every utterance holds a whole one, wherever on a held connection it lies.
    async with simulator_class(name)(faults, recogniser=SHORT_WORDS) as simulator:
        options = {**simulator.options(folder), **(QUICK if name in PACED else {})}
        provider = build(name, options, folder)
        audio, results = MemoryAudio(), MemoryResults()
        dispatcher = Dispatcher(
            [provider], audio, results, MemoryListener(), SystemClock(), node="bench"
        )
        for number, cut in enumerate(cuts):
            before = len(received(simulator))
            utterance = f"{number:06d}"
            audio.spans[utterance] = [AudioSpan(cut.start, cut.pcm)]
            dispatcher.opened(head_of(utterance, cut.start))
            dispatcher.ended(utterance, tail_of(cut.start + len(cut.pcm) // SAMPLE_BYTES))
            if not await dispatcher.drain(_PATIENCE_S):
                break
            came = received(simulator)[before:]
            result.take(cut.pcm, came, FASTER.get(name, SAMPLE_RATE))
            for session in simulator.sessions:  # heard and compared: not kept
                if session.closed_code is not None:
                    session.audio.clear()
        result.records = len(results.records)
        await dispatcher.aclose()
        if provider.aclose is not None:
            await provider.aclose()
    return _exactness_figures(name, result, len(cuts), time.monotonic() - begun)


def _exactness_figures(name: str, found: Exactness, said: int, took_s: float) -> list[Figure]:
    exact = name not in FASTER
    rest = "equal" if exact else f"correlation ≥ {found.least_correlation:.4f}"
    measured = (
        f"{found.records} records of {said}, {found.samples} samples, {found.lost} lost or "
        f"doubled, {found.wrong} not as said, {rest} ({took_s:.0f} s)"
    )
    met = found.records == said and not found.lost and not found.wrong
    limit = "all, 0, 0" if exact else f"all, 0 (±1 a piece), 0; > {CORRELATION}"
    return [Figure(name, "audio over all recordings", measured, limit, met)]


# --- (b) and (c): how soon ---


@dataclass(slots=True)
class Hearing:
    """What happened while a recording was heard in real time; times are monotonic seconds."""

    opened: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


@contextlib.asynccontextmanager
async def store_in(folder: Path) -> AsyncIterator[StoreThread]:
    store = await StoreThread.open(folder / "store.db")
    try:
        yield store
    finally:
        await store.close()


async def hear(recording: Path, folder: Path, provider: Provider) -> Hearing:
    """Let a real ear hear a recording in real time, and the provider transcribe it."""
    loop, gone, found = asyncio.get_running_loop(), asyncio.Event(), Hearing()
    log = UtteranceLog(folder / "utterances")
    log.recover()
    async with store_in(folder) as store:
        pipeline = Pipeline(
            log,
            store,
            [provider],
            MemoryListener(),
            SystemClock(),
            node="bench",
            rules=SessionRules(),
            on_record=lambda: found.committed.append(time.monotonic()),
        )
        writing = asyncio.create_task(pipeline.results.run())

        def take(reader: EarReader, event: EarEvent) -> None:
            match event:
                case EarGone():
                    gone.set()
                case UtteranceOpened():
                    found.opened.append(event.decided_mono_ns / 1e9)
                case UtteranceEnded():
                    found.ended.append(time.monotonic())
                case UtteranceGrew():
                    reader.growth_seen()
            pipeline.take(event)  # type: ignore[arg-type]

        def emit(reader: EarReader, event: EarEvent) -> None:
            loop.call_soon_threadsafe(take, reader, event)

        source = SourceSettings(file=str(recording), pace="realtime")
        ear = EarProcess()
        ear.begin(EarSettings(source, GateSettings()))
        limiter = LineLimiter()
        EarReader(ear, log, clock=SystemClock(), losses=Losses(), limiter=limiter, emit=emit)
        await gone.wait()
        await pipeline.close(_PATIENCE_S, asyncio.Event())
        writing.cancel()
        found.records = [
            record for _, record in await store.call(partial(Store.records_after, seq=0, limit=99))
        ]
    log.close()
    return found


async def measure_delays(name: str, recording: Path, folder: Path) -> list[Figure]:
    """Return how soon the first byte comes, how soon the record, and what a slow handshake does."""
    simulator, found = await _heard_by(name, recording, folder / "quick", Faults())
    from_s = found.ended if name in WHOLE else found.opened
    chunks = chunk_times(simulator)
    waits = [
        1000 * (next((at for at in chunks if at >= since), math.inf) - since) for since in from_s
    ]
    since = "end of the utterance" if name in WHOLE else "the gate's decision"
    latencies = [float(one.latency_ms or 0) for one in found.records]
    allowed_ms = _PAUSES_MS + OURS_MS
    after = [
        1000 * (committed - ended)
        for committed, ended in zip(sorted(found.committed), found.ended, strict=False)
    ]
    return [
        figure(name, f"{since} to first byte", max(waits, default=math.inf), FIRST_BYTE_MS),
        figure(name, "end of utterance to record", max(after, default=math.inf), OURS_MS),
        figure(name, "end of speech to record (700: pause, block)", max(latencies), allowed_ms),
        await _measure_slow_handshake(name, recording, folder / "slow"),
    ]


async def _measure_slow_handshake(name: str, recording: Path, folder: Path) -> Figure:
    simulator, found = await _heard_by(name, recording, folder, Faults(connect_s=HANDSHAKE_S))
    source = decoded(recording)
    said = [source[2 * one.start_sample : 2 * one.end_sample] for one in found.records]
    came = received(simulator)
    if name in FASTER:
        expected = sum(map(len, said)) * FASTER[name] // SAMPLE_RATE
        complete = abs(len(came) - expected) <= 2 * SAMPLE_BYTES * len(said)
    else:
        complete = len(came) == sum(map(len, said)) and all(one in came for one in said)
    counted = len(found.records) == len(found.opened)
    wait_s = min(chunk_times(simulator), default=math.inf) - found.opened[0]
    measured = f"{'complete' if complete else 'NOT complete'}, first byte after {wait_s:.1f} s"
    what = f"onset with a handshake of {HANDSHAKE_S:g} s"
    return Figure(name, what, measured, "complete", complete and counted)


async def _heard_by(
    name: str, recording: Path, folder: Path, faults: Faults
) -> tuple[Simulator, Hearing]:
    _make(folder)
    async with simulator_class(name)(faults, recogniser=TimedRecogniser) as simulator:
        provider = build(name, simulator.options(folder), folder)
        found = await hear(recording, folder, provider)
        if provider.aclose is not None:
            await provider.aclose()
    return simulator, found


# --- (d) an outage ---


async def measure_outage(name: str, folder: Path) -> list[Figure]:
    """Say five things to a daemon whose provider is gone for a minute."""
    _make(folder)
    service = simulator_class(name)(Faults(), recogniser=WordSpotter)
    await service.start()
    async with Room(folder) as room:
        room.configure(entry(name, service.options(folder)))
        await room.start()
        await service.stop()
        begun = time.monotonic()
        for number in range(5):
            await room.voice.say(sentence([number]))
        await asyncio.sleep(begun + OUTAGE_S - time.monotonic())
        async with service:
            back = time.monotonic()
            with contextlib.suppress(AssertionError):
                await room.until(lambda: len(room.records) >= 5, 2 * _PATIENCE_S)
            took_s = time.monotonic() - back
            await asyncio.sleep(1)  # for one too many
            await room.stop()
        records = room.records
    right = [record["text"] for record in records] == [text([number]) for number in range(5)]
    delayed = sum(record["delayed"] for record in records)
    reconnects = max((record["reconnects"] for record in records), default=0)
    measured = (
        f"{len(records)} records, {'in order, once' if right else 'NOT in order, once'}, {delayed} "
        f"delayed, {took_s:.0f} s after it was back, at most {reconnects} reconnects"
    )
    met = right and delayed == 5
    what = f"gone {OUTAGE_S:.0f} s, 5 utterances"
    return [Figure(name, what, measured, "5, in order, once, 5", met)]


# --- all of it ---


async def measure(
    data: Path, recording: Path | None, folder: Path, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Return every figure, and why what was left out was; ``recording`` has spoken sentences."""
    chosen = [name for name in names() if not only or name in only]
    figures: list[Figure] = []
    left_out: list[str] = []
    if (data / "manifest.jsonl").is_file():
        usable, cuts = await cut_recordings(data)
        _progress(f"{usable} recordings, {len(cuts)} utterances")
        for name in chosen:
            _progress(f"{name}: audio over all recordings")
            figures += await measure_exactness(name, cuts, folder)
    else:
        left_out.append(f"audio over all recordings: there is no {data / 'manifest.jsonl'}")
    if recording is None:
        left_out.append("delays: nothing can be spoken, because flite is not installed")
    else:
        for name in chosen:
            _progress(f"{name}: delays")
            figures += await measure_delays(name, recording, folder / name)
    outages = [name for name in OUTAGES if name in chosen]
    if outages:
        _progress("a provider that is gone for a minute")
        found = await asyncio.gather(
            *(measure_outage(name, folder / f"{name}-outage") for name in outages)
        )
        figures += [one for several in found for one in several]
    return {"figures": [_row(one) for one in figures], "left_out": left_out}


def _row(one: Figure) -> dict[str, Any]:
    verdict = {None: "", True: "met", False: "MISSED"}[one.met]
    return {
        "provider": one.provider,
        "what": one.what,
        "measured": one.measured,
        "limit": one.limit,
        "verdict": verdict,
    }


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)


def _progress(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print a table; the exit code is 1 where a limit was missed."""
    from scripts.lib.bench import speak_sentences
    from scripts.lib.report import providers_as_markdown

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--only", action="append", default=[], choices=names())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stt-edge-providers-") as name:
        folder = Path(name)
        recording = speak_sentences(folder)
        found = asyncio.run(measure(arguments.data, recording, folder, arguments.only))
    print(providers_as_markdown(found))
    return int(any(row["verdict"] == "MISSED" for row in found["figures"]))


if __name__ == "__main__":
    sys.exit(main())
