"""Deleting utterances with all there is of them: first the audio, then what the store has.

In that order because audio the store does not know is taken for speech that a crash cut off, and
would be transcribed by the next run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, Protocol

from stt_edge.clock import rfc3339
from stt_edge.errors import InputError, LogError, TemporaryError
from stt_edge.frozen import frozen
from stt_edge.service.paths import Paths
from stt_edge.service.results import ResultWriter
from stt_edge.store.lock import StateLock
from stt_edge.store.retention import Forgotten
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.log import UtteranceLog

_log = logging.getLogger(__name__)

BATCH: Final = 200
"""So many utterances a transaction: commits of results wait for a few milliseconds."""
ANSWER_S: Final = 3.0
"""A request is answered after this, also when there is more to do; who asks then asks again."""
_SETTLE_S: Final = 5.0
_ATTEMPTS: Final = 5
_AGAIN_S: Final = 0.2


class KeptAudio(Protocol):
    """The audio of utterances, as those see it who delete utterances. Used on the loop."""

    def ids(self) -> list[str]:
        """Return the ids of all utterances that audio is kept of."""

    def said_before(self, before: datetime | None) -> list[str]:
        """Return the ids of those that have ended and began before a moment; None is all."""

    def drop(self, ids: Sequence[str]) -> list[str]:
        """Delete audio, whoever still waits for it; returns the ids there is none of any more.

        One that a provider has in hand is taken away from it first: ask again in a moment.
        """


class LogAudio:
    """The audio in the utterance log."""

    def __init__(self, log: UtteranceLog, let_go: Callable[[str], bool] = lambda _: True) -> None:
        """Delete from ``log`` what ``let_go(id)`` says that nobody needs any more."""
        self._log = log
        self._let_go = let_go

    def ids(self) -> list[str]:
        """Return the ids of all utterances that audio is kept of."""
        return self._log.ids()

    def said_before(self, before: datetime | None) -> list[str]:
        """Return the ids of those that have ended and began before a moment; None is all."""
        found = (self._log.info(id_) for id_ in self._log.ids())
        return [
            info.id
            for info in found
            if info.tail is not None and (before is None or info.start.started_at < before)
        ]

    def drop(self, ids: Sequence[str]) -> list[str]:
        """Delete audio; returns the ids there is none of any more."""
        gone = []
        for id_ in ids:
            if not self._let_go(id_):
                continue
            try:
                self._log.delete(id_)
            except LogError as error:
                _log.warning("audio of utterance %s stays: %s", id_, error)
            else:
                gone.append(id_)
        return gone


async def delete(
    store: StoreThread, audio: KeptAudio, ids: Sequence[str]
) -> tuple[list[str], Forgotten]:
    """Delete a batch of finished utterances; returns the ids whose audio could be deleted.

    The others keep their rows too. Raises StoreError.
    """
    gone = audio.drop(ids)
    return gone, await store.call(lambda store: store.retention.forget(gone))


@frozen
class ForgetAnswer:
    """What was deleted, or would be."""

    utterances: int = 0
    records: int = 0
    waiting: int = 0
    """Of the utterances, those that audio was kept of."""
    kept: int = 0
    """Utterances that stay because their audio cannot be deleted; the log says why."""
    more: bool = False
    """There is more to delete than there was time for: ask again."""
    erased: bool = True
    """What was deleted is in no file of the store any more. Otherwise somebody is reading it."""
    aside: tuple[str, ...] = ()
    """Damaged files that were set aside; nobody knows what is in them, and they stay."""


class Forgetting:
    """What ``stt-edge forget`` does, in the daemon and without one."""

    def __init__(
        self,
        store: StoreThread,
        audio: KeptAudio,
        paths: Paths,
        results: ResultWriter | None = None,
        *,
        batch: int = BATCH,
        answer_s: float = ANSWER_S,
    ) -> None:
        """Delete from these; ``results`` is None where no daemon runs and nothing can be open."""
        self._store = store
        self._audio = audio
        self._paths = paths
        self._results = results
        self._batch = batch
        self._answer_s = answer_s

    async def command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the command ``forget`` of the control socket.

        ``before`` is a moment in RFC 3339 or null for everything; with ``count`` nothing is
        deleted. Raises InputError, TemporaryError and StoreError.
        """
        before = _moment(request)
        if request.get("count") is True:
            return asdict(await self.count(before))
        return asdict(await self.forget(before))

    async def count(self, before: datetime | None) -> ForgetAnswer:
        """Return what ``forget`` would delete."""
        await self._settle()
        with_open = self._results is None
        counted = await self._store.call(
            lambda store: store.retention.count_before(before, with_open=with_open)
        )
        heard = self._audio.said_before(before)
        unknown = await self._store.call(
            lambda store: sum(store.utterance(id_) is None for id_ in heard)
        )
        return ForgetAnswer(
            utterances=counted.utterances + unknown,
            records=counted.records,
            waiting=len(heard),
            aside=self._aside(),
        )

    async def forget(self, before: datetime | None) -> ForgetAnswer:
        """Delete what was said before a moment, as far as there is time."""
        await self._settle()
        end_s = asyncio.get_running_loop().time() + self._answer_s
        total, gone, waiting = Forgotten(), 0, 0
        stuck, attempts = set[str](), Counter[str]()
        has_time = True
        while has_time and (ids := await self._next(before, stuck)):
            attempts.update(ids)
            stuck |= {id_ for id_ in ids if attempts[id_] >= _ATTEMPTS}
            heard = set(self._audio.ids())
            await self._give_up(ids)
            dropped, forgotten = await delete(self._store, self._audio, ids)
            waiting += len(heard.intersection(dropped))
            total, gone = total + forgotten, gone + len(dropped)
            if len(dropped) < len(ids):
                await asyncio.sleep(_AGAIN_S)
            has_time = asyncio.get_running_loop().time() < end_s
        erased = await self._store.call(lambda store: store.retention.truncate_log())
        if gone:
            _log.info("%d utterances with %d records were forgotten", gone, total.records)
        return ForgetAnswer(
            utterances=gone,
            records=total.records,
            waiting=waiting,
            kept=len(stuck),
            more=not has_time,
            erased=erased,
            aside=self._aside(),
        )

    async def _give_up(self, ids: Sequence[str]) -> None:
        """See to it that nothing comes of utterances any more, in this run or the next."""
        if self._results is not None:
            self._results.forget(ids)
        await self._store.call(lambda store: store.retention.give_up(ids))

    async def _next(self, before: datetime | None, stuck: Collection[str]) -> list[str]:
        """Return the ids of the next batch: what the store knows, then audio that it does not."""
        limit, with_open = self._batch + len(stuck), self._results is None
        known = await self._store.call(
            lambda store: store.retention.said_before(before, limit, with_open=with_open)
        )
        found = [id_ for id_ in known if id_ not in stuck]
        if not found:
            found = [id_ for id_ in self._audio.said_before(before) if id_ not in stuck]
        return found[: self._batch]

    async def _settle(self) -> None:
        """Wait until the store knows what there is."""
        if self._results is not None and not await self._results.drain(_SETTLE_S):
            raise TemporaryError(
                "The store does not take results now, so nothing can be deleted from it.",
                "See stt-edge status for why.",
            )

    def _aside(self) -> tuple[str, ...]:
        found = [
            *self._paths.database.parent.glob(f"{self._paths.database.name}.damaged-*"),
            *self._paths.hot_audio.glob("*.damaged"),
            *self._paths.cold_audio.glob("*.damaged"),
        ]
        return tuple(sorted(map(str, found)))


async def forget_without_daemon(paths: Paths, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what the command ``forget`` does, on the files of a daemon that does not run.

    Raises UnavailableError when one does, StoreError, LogError and what ``command`` raises.
    """
    with StateLock.acquire(paths.state):
        store = await StoreThread.open(paths.database)
        log = UtteranceLog(paths.hot_audio, cold=paths.cold_audio)
        try:
            if paths.hot_audio.is_dir():
                log.recover()
            log.recover_cold()
            return await Forgetting(store, LogAudio(log), paths, answer_s=inf).command(request)
        finally:
            log.tidy()
            log.close()
            await store.close()


def _moment(request: Mapping[str, Any]) -> datetime | None:
    text = request.get("before")
    if text is None and "before" in request:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(
            "forget needs before: a moment with its zone, or null for everything.",
            f"Such as {rfc3339(datetime(2026, 11, 20, tzinfo=UTC))}.",
        )
    return moment
