"""Recordings through the daemon's own gate, log, session and store.

Each recording is a job with a directory of its own (``transcription_job``); one dispatcher places
the utterances of all of them. The service's store and sinks never see them.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from stt_edge.clock import SystemClock
from stt_edge.config.settings import Config
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.errors import (
    InputError,
    PermissionDeniedError,
    TemporaryError,
    UnavailableError,
)
from stt_edge.extras import install_command
from stt_edge.model import Record, UtteranceEnd, UtteranceStart
from stt_edge.providers.base import Provider
from stt_edge.service.transcription_job import (
    FileJob,
    Known,
    job_key,
    make_private,
    refusals,
    remove_job,
    remove_unused,
)
from stt_edge.service.transcription_job_hearing import Surroundings, hear_gated, hear_whole
from stt_edge.service.transcription_job_router import Router, Window
from stt_edge.session.chain import SessionRules
from stt_edge.session.connection_terms import Phase
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.overview import LaneStatus

_LOOK_S: Final = 0.2
_AT_WORK: Final = frozenset((Phase.STREAMING.value, Phase.DRAINING.value))
_LEAST_WINDOW: Final = 16
_WINDOW_PER_CONNECTION: Final = 4


class PartlyTranscribedError(InputError):
    """A recording could not be heard, or transcribed, to its end; carries what could."""

    def __init__(self, error: InputError, records: list[Record]) -> None:
        """Take over what was wrong, and keep the records there are."""
        super().__init__(error.message, error.remedy)
        self.records = records


class Transcription:
    """One run: any number of recordings with one provider."""

    def __init__(
        self,
        config: Config,
        provider: Provider,
        *,
        give_up_s: float,
        progress: Callable[[str], None],
        warn: Callable[[str], None] = lambda _: None,
        connections: int | None = None,
        gated: bool = True,
        jobs: Path | None = None,
        fresh: bool = False,
    ) -> None:
        """Use the gate and node of ``config``; ``open`` makes it ready.

        ``give_up_s`` is how long the provider may be away; ``progress`` gets a line of text now
        and then, ``warn`` what is wrong with a recording that can be used. ``connections`` is how
        many at a time (None: what the provider says). Not ``gated`` is each recording whole.
        ``jobs`` is the directory in which a killed run is found again, None for none; ``fresh``
        forgets what is found.
        """
        self._config = config
        self._give_up_s = give_up_s
        self._progress = progress
        self._warn = warn
        self._gated = gated
        self._directory = jobs
        self._fresh = fresh
        self._clock = SystemClock()
        self._provider = provider
        self.connections = connections or provider.capabilities.max_connections
        """How many at a time."""
        self._window = Window(max(_LEAST_WINDOW, _WINDOW_PER_CONNECTION * self.connections))
        self._router = Router(self._window)
        self._transcribing: dict[str, asyncio.Task[list[Record]]] = {}
        self._away_since: float | None = None
        self._finished = 0
        self._hearing = ""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the provider for as long as the context lasts.

        What has been done is forgotten in the end, unless that is an exception: then another run
        goes on from there. Raises StoreError when the directory of the jobs cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._one_ear = asyncio.Lock()
        self._dispatcher = Dispatcher(
            [self._with_connections()],
            self._router,
            self._router,
            self,
            self._clock,
            node=self._config.node,
            rules=SessionRules(connect_early=False, live=False),
        )
        with self._jobs_directory() as self._jobs:
            try:
                yield
            finally:
                await self._close()
            for key in self._transcribing:
                remove_job(self._jobs / key)

    async def transcribe(self, path: str) -> list[Record]:
        """Return the records of a recording in the order of their start.

        May be called again while it runs: recordings are heard in the order of the calls. Raises
        InputError when it cannot be used (PartlyTranscribedError with what there is of it),
        UnavailableError when another run works on it, PermissionDeniedError when the provider
        refuses, TemporaryError when it stays away for too long.
        """
        key = job_key(path, self._config, self._provider, gated=self._gated)
        if key not in self._transcribing:
            self._transcribing[key] = asyncio.create_task(self._transcribe(path, key))
        return await self._transcribing[key]

    def partial(self, utterance_id: str, text: str) -> None:
        """Take a partial; who reads a file waits for finals."""

    def standing(self, provider: str, health: str, message: str) -> None:
        """Take a change of the provider's standing; ``_look`` asks for it."""

    def budget(self, *, spent: bool) -> None:
        """Take that a budget is used up; a run has none."""

    async def _transcribe(self, path: str, key: str) -> list[Record]:
        directory = self._jobs / key
        if self._fresh:
            remove_job(directory)
        job = await FileJob.open(path, key, directory, self._clock)
        self._router.add(job)
        problem = await self._hear(job)
        while not await job.done(_LOOK_S):
            self._look()
        records = await job.records()
        self._router.remove(job)
        await job.close()
        if problem is None and job.refused:
            problem = InputError(
                f"{path}: {len(job.refused)} utterances could not be transcribed "
                f"(at {refusals(job.refused)})."
            )
        if problem is not None:
            raise PartlyTranscribedError(problem, records)
        return records

    async def _hear(self, job: FileJob) -> InputError | None:
        """Hear a recording; returns why that was not possible, or not to its end."""
        around = Surroundings(
            window=self._window,
            take=partial(self._take, job),
            heard=partial(self._heard, job.path),
            warn=self._warn,
            look=self._look,
        )
        channel = self._config.audio.channel
        async with self._one_ear:
            try:
                if self._gated:
                    source = SourceSettings(file=job.path, pace="fast", channel=channel)
                    await hear_gated(job, EarSettings(source, self._config.vad.gate()), around)
                else:
                    await hear_whole(job, channel, self._longest_s(), around)
            except InputError as error:
                return error
            finally:
                self._hearing = ""
        return None

    def _longest_s(self) -> float | None:
        capabilities = self._provider.capabilities
        if capabilities.whole_file:
            return None
        return capabilities.max_utterance_s or capabilities.max_session_s

    def _take(self, job: FileJob, head: UtteranceStart, tail: UtteranceEnd, known: Known) -> None:
        """Have an utterance transcribed. It is backlog: none gives way to a later one."""
        self._router.belongs(head.id, job)
        job.take(head, tail)
        acked = max(head.start, known.acked)
        self._dispatcher.recovered(head, tail, known.parts, acked, job=known.job)

    def _with_connections(self) -> Provider:
        capabilities = replace(self._provider.capabilities, max_connections=self.connections)
        return replace(self._provider, capabilities=capabilities)

    def _heard(self, path: str, seconds: float) -> None:
        self._hearing = f"{path}: {seconds:.0f} s heard, "
        self._show()

    def _show(self, trouble: str = "") -> None:
        left = self._dispatcher.status().unfinished
        trouble = f", {trouble}" if trouble else ""
        self._progress(f"{self._hearing}{left} utterances under way{trouble}")

    def _look(self) -> None:
        """Show how far it is. Raises what makes waiting any longer pointless."""
        (lane,) = self._dispatcher.status().lanes
        if lane.health == "blocked":
            raise PermissionDeniedError(f"Provider {lane.provider}: {lane.message}")
        trouble = self._trouble(lane)
        self._show(trouble)
        if not trouble:
            self._away_since = None
            return
        now_s = self._loop.time()
        if self._away_since is None or self._finished != self._router.finished:
            self._away_since, self._finished = now_s, self._router.finished
        if now_s - self._away_since > self._give_up_s:
            raise TemporaryError(trouble, "Try again later: the same command goes on from here.")

    def _trouble(self, lane: LaneStatus) -> str:
        """Return why nothing gets on, in one line; empty while something does."""
        if self._router.trouble:
            return f"Results cannot be stored: {self._router.trouble}"
        if lane.health == "up":  # a failure it has then is what it says of one utterance
            return lane.message and f"Provider {lane.provider} refuses speech: {lane.message}"
        if _AT_WORK.isdisjoint(lane.connections):
            return f"Provider {lane.provider} did not come back: {lane.message}"
        return ""

    async def _close(self) -> None:
        """End whatever is under way; first the connections, which read what jobs hold."""
        tasks = list(self._transcribing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.aclose()
        if self._provider.aclose is not None:
            await self._provider.aclose()
        for job in self._router.jobs():
            self._router.remove(job)
            await job.close()

    @contextlib.contextmanager
    def _jobs_directory(self) -> Iterator[Path]:
        if self._directory is None:
            with tempfile.TemporaryDirectory(prefix="stt-edge-") as name:
                yield Path(name)
            return
        make_private(self._directory)
        remove_unused(self._directory)
        yield self._directory


def choose(config: Config, name: str | None) -> Config:
    """Return the configuration with the named provider, else the first, as the only one.

    One that the file does not name is used with default options. Raises InputError, or
    UnavailableError when there is none at all.
    """
    from stt_edge.config.settings import ProviderEntry
    from stt_edge.providers import registry

    if name is None and not config.providers:
        raise UnavailableError(
            "No provider is configured, and the default one is not installed.",
            f"Name one with --provider, or: {install_command('pocketsphinx')}",
        )
    if name is None:
        return replace(config, providers=config.providers[:1])
    for entry in config.providers:
        if entry.name == name:
            return replace(config, providers=(entry,))
    options = registry.options(name)
    if options is None:
        known = sorted({*registry.names(), *(entry.name for entry in config.providers)})
        raise InputError(f"There is no provider {name!r}.", f"There are: {', '.join(known)}.")
    return replace(config, providers=(ProviderEntry(name, name, options()),))
