"""Recordings through the daemon's own gate, log, session and store, one after the other.

A job has a directory of its own, which goes with it; the service's store and sinks never see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from stt_edge.clock import SystemClock
from stt_edge.config.settings import Config
from stt_edge.ear import wire
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.errors import InputError, PermissionDeniedError, TemporaryError
from stt_edge.model import Record, samples_to_s
from stt_edge.providers.base import Provider
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader, EarSaid
from stt_edge.service.intake import Losses, UtteranceGrew
from stt_edge.service.pipeline import Pipeline, SessionRules
from stt_edge.service.supervisor import Supervisor
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog

_BATCH: Final = 256
_LOOK_S: Final = 0.2


class Transcription:
    """One job: any number of recordings with one provider."""

    def __init__(
        self,
        config: Config,
        provider: Provider,
        *,
        give_up_s: float,
        progress: Callable[[str], None],
    ) -> None:
        """Use the gate and node of ``config``; ``open`` makes it ready.

        ``give_up_s`` is how long the provider may be away; ``progress`` gets a line of text now
        and then.
        """
        self._config = config
        self._provider = provider
        self._give_up_s = give_up_s
        self._progress = progress
        self._clock = SystemClock()
        self._limiter = LineLimiter()
        self._seq = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the job's directory, store and provider for as long as the context lasts."""
        directory = Path(tempfile.mkdtemp(prefix="stt-edge-job-"))
        self._loop = asyncio.get_running_loop()
        supervisor = Supervisor()
        try:
            log = UtteranceLog(directory / "utterances")
            log.recover()
            store = await StoreThread.open(directory / "store.db")
            self._pipeline = Pipeline(
                log,
                store,
                self._provider,
                self,
                self._clock,
                node=self._config.node,
                rules=SessionRules(connect_early=False),
                on_record=lambda: None,
            )
            supervisor.start("results", self._pipeline.results.run())
            try:
                yield
            finally:
                await self._pipeline.dispatcher.aclose()
                if self._provider.aclose is not None:
                    await self._provider.aclose()
                await supervisor.stop()
                await store.close()
                log.close()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def transcribe(self, path: str) -> list[Record]:
        """Return the records of a recording in the order of their start.

        Raises InputError when it cannot be heard, PermissionDeniedError when the provider refuses,
        TemporaryError when it stays away for too long.
        """
        source = SourceSettings(file=path, pace="fast", channel=self._config.audio.channel)
        await self._hear(EarSettings(source, self._config.vad.gate()), path)
        await self._wait_for_provider(path)
        await self._pipeline.results.drain(None)
        found: list[Record] = []
        while batch := await self._pipeline.store.call(Store.records_after, self._seq, _BATCH):
            found += [record for _, record in batch]
            self._seq = batch[-1][0]
        return sorted(found, key=lambda record: record.start_sample)

    def partial(self, utterance_id: str, text: str) -> None:
        """Take a partial; a file's reader waits for finals."""

    def standing(self, provider: str, health: str, message: str) -> None:
        """Take a change of the provider's standing; ``_wait_for_provider`` asks for it."""

    async def _hear(self, settings: EarSettings, path: str) -> None:
        """Let an ear of its own hear the recording; returns when all of it is in the log."""
        gone = asyncio.Event()
        faults: list[wire.Fault] = []
        finished: list[wire.Finished] = []
        last_words: list[str] = []

        def take(reader: EarReader, event: EarEvent) -> None:
            match event:
                case EarGone(how):
                    last_words.append(how)
                    gone.set()
                case EarSaid(line):
                    last_words.append(line)
                case wire.Fault():
                    faults.append(event)
                case wire.Finished():
                    finished.append(event)
                case wire.Health():
                    self._progress(f"{path}: {samples_to_s(event.samples):.0f} s heard")
                case _:
                    if isinstance(event, UtteranceGrew):
                        reader.growth_seen()
                    self._pipeline.take(event)

        def emit(reader: EarReader, event: EarEvent) -> None:
            self._loop.call_soon_threadsafe(take, reader, event)

        process = EarProcess(settings)
        try:
            EarReader(
                process,
                self._pipeline.log,
                clock=self._clock,
                losses=Losses(),  # nothing was said between two recordings
                limiter=self._limiter,
                emit=emit,
            )
            await gone.wait()
        finally:
            process.kill()
        if faults:
            raise InputError(faults[0].message, faults[0].remedy)
        if not finished:
            raise InputError(f"{path}: the ear ended by itself ({'; '.join(last_words[-3:])}).")

    async def _wait_for_provider(self, path: str) -> None:
        """Wait until every utterance is finished, or the provider not worth waiting for."""
        dispatcher = self._pipeline.dispatcher
        away_since: float | None = None
        while not await dispatcher.drain(_LOOK_S):
            status = dispatcher.status()
            if status.health == "blocked":
                raise PermissionDeniedError(f"Provider {status.provider}: {status.message}")
            left = f"{status.unfinished} utterances left"
            if status.health == "up":
                away_since = None
                self._progress(f"{path}: {left}")
                continue
            away_since = away_since or self._loop.time()
            if self._loop.time() - away_since > self._give_up_s:
                raise TemporaryError(
                    f"Provider {status.provider} did not come back: {status.message}",
                    "Try again later, or name another with --provider.",
                )
            self._progress(f"{path}: {left}, provider away: {status.message}")


def choose(config: Config, name: str | None) -> Config:
    """Return the configuration with the named provider as the only one.

    One that the file does not name is used with default options. Raises InputError.
    """
    from stt_edge.config.settings import ProviderEntry
    from stt_edge.providers import registry

    if name is None:
        return config
    for entry in config.providers:
        if entry.name == name:
            return replace(config, providers=(entry,))
    options = registry.options(name)
    if options is None:
        known = sorted({*registry.names(), *(entry.name for entry in config.providers)})
        raise InputError(f"There is no provider {name!r}.", f"There are: {', '.join(known)}.")
    return replace(config, providers=(ProviderEntry(name, name, options()),))
