"""Audio that waits, as the daemon deals with it: what is given up, done again, or shown.

Runs on the loop; ``spool_thread.py`` puts audio on the medium.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from stt_edge.clock import Clock, rfc3339
from stt_edge.config.settings import SpoolSection
from stt_edge.errors import InputError, LogError
from stt_edge.frozen import frozen
from stt_edge.message_ids import MessageId
from stt_edge.model import UtteranceState, samples_to_s
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.spool_thread import SpoolThread
from stt_edge.service.status import SpoolStatus
from stt_edge.store.store import Store
from stt_edge.utterance.contents import Holding
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.spool import Excess, SpoolRules, oldest_first

_log = logging.getLogger(__name__)

EPISODE_S: Final = 600.0
"""So long after the last loss of its kind, another one is told of again."""


def spool_rules(section: SpoolSection) -> SpoolRules:
    """Return what the configuration says of audio that waits."""
    return SpoolRules(
        max_bytes=section.max_mb << 20,
        max_age_s=section.max_age_h * 3600,
        keep_free_bytes=section.keep_free_mb << 20,
        always=section.durable == "always",
    )


@frozen
class SpoolEntry:
    """One utterance whose audio is there, as ``stt-edge spool ls`` has it."""

    id: str
    start: str
    """RFC 3339."""
    seconds: float
    waiting_s: float
    """How much of it is still to be transcribed."""
    state: str
    """``open``, ``waiting``, ``poisoned`` (set aside) or ``kept`` (transcribed)."""
    on_disk: bool
    """It would outlive a power cut."""
    bytes: int


class Spool:
    """Gives up what is too much, and counts it; brings back what was set aside."""

    def __init__(self, log: UtteranceLog, section: SpoolSection, clock: Clock) -> None:
        """Prepare; ``start`` begins."""
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._thread = SpoolThread(log, spool_rules(section), clock, report=self._reported)
        log.on_change = self._thread.grew
        log.keep_audio = section.keep_audio
        self._pipeline: Pipeline | None = None
        self._dropped_samples = 0
        self._dropped = 0
        self._episode: _Episode | None = None
        self._trouble_told = False

    def start(self, pipeline: Pipeline) -> None:
        """Begin to put audio on the medium, and to give up what is too much."""
        self._pipeline = pipeline
        self._thread.start()

    def look(self) -> None:
        """Find out whether what is said can be transcribed now."""
        if self._pipeline is not None:
            self._thread.set_offline(offline=self._pipeline.dispatcher.offline)

    def configure(self, section: SpoolSection) -> None:
        """Use other settings from now on."""
        self._log.keep_audio = section.keep_audio
        self._thread.configure(spool_rules(section))

    def leave(self) -> None:
        """Put everything on the medium from now on: the daemon is about to end."""
        self._thread.leave()

    async def finish(self, timeout_s: float) -> None:
        """Wait, after ``leave``, until all is on the medium; nothing is appended any more."""
        if self._pipeline is None:
            return
        if not await asyncio.to_thread(self._thread.join, timeout_s):
            _log.warning("the disk takes too long: some audio that waits is in memory only")
        elif self._thread.trouble:
            _log.warning("some audio that waits is in memory only: %s", self._thread.trouble)

    def status(self) -> SpoolStatus:
        """Return what the status document says of audio that waits."""
        holdings = self._log.holdings()
        waiting = sum(holding.waiting_samples for holding in holdings)
        return SpoolStatus(
            utterances=sum(not holding.done for holding in holdings),
            seconds=round(samples_to_s(waiting), 1),
            bytes=sum(holding.size_bytes for holding in holdings),
            on_disk_bytes=sum(holding.cold_bytes for holding in holdings),
            kept=sum(holding.done for holding in holdings),
            dropped=self._dropped,
            dropped_s=round(samples_to_s(self._dropped_samples), 1),
            trouble=self._thread.trouble,
        )

    # --- what the command line asks for ---

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return the commands of the control socket."""
        return {"spool-ls": self._ls, "spool-replay": self._replay, "spool-purge": self._purge}

    async def _ls(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert self._pipeline is not None
        states = await self._pipeline.store.call(Store.states, self._log.ids())
        return [asdict(entry_of(each, states.get(each.id))) for each in self._log.holdings()]

    async def _replay(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have utterances transcribed again; by default those that were set aside."""
        assert self._pipeline is not None
        ids = _ids_of(request)
        if ids is None:
            states = await self._pipeline.store.call(Store.states, self._log.ids())
            ids = [id_ for id_, state in states.items() if state is UtteranceState.POISONED]
        replayed = [id_ for id_ in ids if await self._pipeline.replay(id_)]
        return {"replayed": replayed, "refused": [id_ for id_ in ids if id_ not in replayed]}

    async def _purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Delete audio for good; by default all of it."""
        ids = _ids_of(request)
        purged = self.drop(self._log.ids() if ids is None else ids)
        return {
            "purged": [holding.id for holding in purged],
            "refused": [] if ids is None else sorted({*ids} - {each.id for each in purged}),
        }

    def drop(self, ids: Sequence[str]) -> list[Holding]:
        """Delete the audio of utterances nobody has in hand; returns what it was."""
        wanted = set(ids)
        return [each for each in self._log.holdings() if each.id in wanted and self._drop(each)]

    # --- what is too much ---

    def _reported(self, excess: Excess) -> None:
        """Take, on the thread's side, what a pass has found."""
        try:
            self._loop.call_soon_threadsafe(self._take, excess)
        except RuntimeError:  # the loop has ended, and all is kept as it is
            return

    def _take(self, excess: Excess) -> None:
        self.look()
        self._tell_trouble()
        freed_bytes = 0
        for holding in oldest_first(self._log.holdings()) if excess else ():
            expired = holding.id in excess.expired
            if (expired or freed_bytes < excess.bytes) and self._drop(holding):
                freed_bytes += holding.size_bytes
                self._count(holding, "it is too old" if expired else "there is no room for it")

    def _drop(self, holding: Holding) -> bool:
        assert self._pipeline is not None
        if not holding.ended or not self._pipeline.dispatcher.drop(holding.id):
            return False
        try:
            self._log.delete(holding.id)
        except LogError as error:
            _log.warning("audio that was given up stays behind: %s", error)
        return True

    def _count(self, holding: Holding, why: str) -> None:
        if holding.done:  # it was only kept
            return
        if self._episode is None:
            _log.warning(
                "speech that waited is given up because %s, the oldest first: %.1f s of %s",
                why,
                samples_to_s(holding.waiting_samples),
                rfc3339(holding.start.started_at),
                extra={"message_id": MessageId.SPOOL_FULL},
            )
            self._episode = _Episode(self._dropped, self._dropped_samples)
        self._dropped += 1
        self._dropped_samples += holding.waiting_samples
        if self._episode.end is not None:
            self._episode.end.cancel()
        self._episode.end = self._loop.call_later(EPISODE_S, self._end_episode)

    def _end_episode(self) -> None:
        assert self._episode is not None
        _log.warning(
            "no more speech is given up; it was %d utterances, %.1f s",
            self._dropped - self._episode.utterances,
            samples_to_s(self._dropped_samples - self._episode.samples),
        )
        self._episode = None

    def _tell_trouble(self) -> None:
        trouble = self._thread.trouble
        if trouble and not self._trouble_told:
            _log.error(
                "audio that waits is kept in memory only: %s",
                trouble,
                extra={"message_id": MessageId.SPOOL_TROUBLE},
            )
        elif self._trouble_told and not trouble:
            _log.info("audio that waits is on the disk again")
        self._trouble_told = bool(trouble)


class _Episode:
    """A time in which speech is given up again and again; told of at its beginning and end."""

    def __init__(self, utterances: int, samples: int) -> None:
        """Begin with what had been given up before."""
        self.utterances = utterances
        self.samples = samples
        self.end: asyncio.TimerHandle | None = None


def entry_of(holding: Holding, state: UtteranceState | None) -> SpoolEntry:
    """Return how an utterance is listed; ``state`` is what the store has of it."""
    shown = "waiting" if holding.ended else "open"
    if holding.done or state is UtteranceState.DONE:
        shown = "kept"
    elif state is UtteranceState.POISONED:
        shown = "poisoned"
    return SpoolEntry(
        id=holding.id,
        start=rfc3339(holding.start.started_at),
        seconds=round(samples_to_s(holding.end_so_far - holding.start.start), 2),
        waiting_s=0.0 if shown == "kept" else round(samples_to_s(holding.waiting_samples), 2),
        state=shown,
        on_disk=holding.copied,
        bytes=holding.size_bytes,
    )


def _ids_of(request: Mapping[str, Any]) -> list[str] | None:
    ids = request.get("ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise InputError('"ids" is a list of ids.')
    return ids
