"""The daemon: puts the parts together, runs them, and takes them apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final

from stt_edge import __version__
from stt_edge.clock import SystemClock
from stt_edge.config.loader import default_sinks
from stt_edge.config.settings import Config, SinkEntry
from stt_edge.ear import wire
from stt_edge.errors import ConfigError, ExitCode, FaultKind, SttEdgeError
from stt_edge.message_ids import MessageId
from stt_edge.model import NS_PER_SAMPLE, EndReason, UtteranceStart
from stt_edge.providers.base import Provider
from stt_edge.service.control import ControlServer
from stt_edge.service.daemon_status import DaemonStatus
from stt_edge.service.device_watch import DeviceWatch
from stt_edge.service.ear_keeper import EarKeeper, pace_of
from stt_edge.service.ear_notices import log_notice
from stt_edge.service.ear_process import EAR_COMMAND
from stt_edge.service.ear_reader import EarEvent, EarGone, EarSaid
from stt_edge.service.ear_starter import EarStarter
from stt_edge.service.forgetting import LogAudio
from stt_edge.service.intake import Losses, UtteranceEnded, UtteranceOpened
from stt_edge.service.keeper_terms import Announce
from stt_edge.service.mute import MuteCommands
from stt_edge.service.mute_switch import MuteSwitch
from stt_edge.service.notify import Notifier
from stt_edge.service.paths import Paths
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.provider_set import ProviderSet, session_rules
from stt_edge.service.return_watch import ReturnWatch
from stt_edge.service.sink_set import SinkSet, StoreFeed
from stt_edge.service.spool import Spool
from stt_edge.service.status import StatusDocument, status_line
from stt_edge.service.supervisor import Supervisor
from stt_edge.service.upkeep import Upkeep
from stt_edge.service.watchdog import Watchdog
from stt_edge.sinks import registry as sinks
from stt_edge.sinks.base import SinkContext
from stt_edge.store.lock import StateLock
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from stt_edge.utterance.contents import LogInfo
from stt_edge.utterance.log import UtteranceLog

_log = logging.getLogger(__name__)

DRAIN_S: Final = 12.0
"""At a stop, what was said may take this long to become a record; the unit allows 20 s in all."""
_SINKS_S: Final = 3.0
_SPOOL_S: Final = 3.0
_PRIVILEGED: Final = ("forget", "spool-purge", "spool-replay")
_RESTART_NS: Final = 600 * 1_000_000_000
"""A crash longer ago than this was not followed by the restart we are."""


class Daemon:
    """One run of ``stt-edge run``."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        paths: Paths,
        *,
        ear_command: Sequence[str] = EAR_COMMAND,
        ear_starter: EarStarter | None = None,
    ) -> None:
        """Prepare. ``load`` reads the configuration again, for a reload; it may raise.

        ``ear_starter`` may have an ear that hears already.
        """
        self._ear_command = ear_command
        self._ear_starter = ear_starter
        self._config = config
        self._load = load
        self._paths = paths
        self._clock = SystemClock()
        self._notifier = Notifier()
        self._mute_switch = MuteSwitch(paths.state)
        self._losses = Losses()
        self._providers = ProviderSet()
        identity = StatusDocument(
            version=__version__, pid=os.getpid(), node=config.node, config=config.path
        )
        self._status = DaemonStatus(identity, self._clock)
        self._early: list[EarEvent] | None = []
        self._failure: SttEdgeError | None = None
        self._ready = False

    async def run(self) -> int:
        """Run until a signal, or the end of a recording; returns the exit code.

        Raises SttEdgeError when it cannot even begin.
        """
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._supervisor = Supervisor()
        self._paths.create()
        async with AsyncExitStack() as stack:
            stack.enter_context(StateLock.acquire(self._paths.state))
            stack.push_async_callback(self._supervisor.stop)
            # Before everything that takes its time to open and to close: a second SIGTERM hurries
            # a stop, and a SIGHUP must not end what is being transcribed.
            self._catch_signals(stack)
            await self._open(stack)
            self._watchdog = self._make_watchdog()
            self._supervisor.start("ready", self._announce_ready())
            self._supervisor.start("source", self._watch_source())
            self._supervisor.start("reload", self._reload_when_told())
            self._supervisor.start("watchdog", self._watchdog.run())
            await self._stopping.wait()
            self._notifier.stopping()
        if self._failure is not None:
            raise self._failure
        return ExitCode.OK

    # --- putting together: the ear first, because what is said before it hears is lost ---

    async def _open(self, stack: AsyncExitStack) -> None:
        config, paths = self._config, self._paths
        entries = self._sink_entries(config)
        self._providers.apply(config)
        log = UtteranceLog(paths.hot_audio, cold=paths.cold_audio)
        self._spool = self._status.spool = Spool(log, config.spool, self._clock)
        left_behind = log.recover()
        stack.callback(log.close)
        self._account_for_crash(left_behind)
        self._keeper = self._make_keeper(log)
        self._status.keeper = self._keeper
        self._mute = MuteCommands(self._mute_switch, self._keeper)
        stack.push_async_callback(self._keeper.stop)
        self._keeper.start(muted=self._mute_switch.is_on())
        watch = DeviceWatch(self._keeper.devices_changed)
        stack.callback(watch.close)
        store = await StoreThread.open(paths.database)
        stack.push_async_callback(store.close)
        _tell_opening(store)
        self._pipeline = self._make_pipeline(log, store)
        self._status.pipeline = self._pipeline
        self._pipeline.results.last_seq = await store.call(Store.last_seq)
        self._return_watch = ReturnWatch(self._pipeline.dispatcher)
        self._supervisor.start("results", self._pipeline.results.run())
        self._supervisor.start("return-watch", self._return_watch.run())
        self._sinks = SinkSet(StoreFeed(store), self._sink_context(), self._supervisor)
        self._status.sinks = self._sinks
        self._upkeep = Upkeep(
            config,
            self._pipeline,
            LogAudio(log, partial(self._pipeline.dispatcher.drop, interrupt=True)),
            self._sinks,
            paths=paths,
            clock=self._clock,
            document=self._status.document,
        )
        self._status.upkeep = self._upkeep
        stack.push_async_callback(self._finish)
        await self._pipeline.load_ledger()
        self._spool.start(self._pipeline)
        self._recovery = self._supervisor.start("recovery", self._recover(left_behind))
        await self._sinks.apply(entries)
        self._take_early()
        control = ControlServer(paths.control_socket, self._handlers(), privileged=_PRIVILEGED)
        await control.start()
        stack.push_async_callback(control.close)

    async def _recover(self, left_behind: list[LogInfo]) -> None:
        """Take up what an earlier run left; what is said meanwhile does not wait for it."""
        await self._pipeline.recover(left_behind)

    def _account_for_crash(self, left_behind: list[LogInfo]) -> None:
        """Have what was said since a crash cut somebody short counted as lost."""
        for info in left_behind:
            if info.tail is not None and info.tail.reason is EndReason.CRASH:
                heard_ns = (info.tail.end - info.start.start) * NS_PER_SAMPLE
                cut_ns = info.start.started_mono_ns + heard_ns
                # Otherwise it was another boot, whose monotonic clock says nothing about this one.
                if 0 < self._clock.monotonic_ns() - cut_ns < _RESTART_NS:
                    self._losses.heard(cut_ns)

    def _make_keeper(self, log: UtteranceLog) -> EarKeeper:
        audio = self._config.audio
        return EarKeeper(
            self._config.ear(),
            pace_of(audio.source(), audio.first_block_s),
            log,
            clock=self._clock,
            losses=self._losses,
            on_event=self._take,
            announce=self._announce,
            command=self._ear_command,
            starter=self._ear_starter,
        )

    def _make_pipeline(self, log: UtteranceLog, store: StoreThread) -> Pipeline:
        return Pipeline(
            log,
            store,
            self._providers.providers,
            self,
            self._clock,
            node=self._config.node,
            rules=session_rules(self._config),
            on_record=self._record_committed,
        )

    def _sink_entries(self, config: Config) -> tuple[SinkEntry, ...]:
        if config.sinks is not None:
            return config.sinks
        return default_sinks(sinks, under_systemd=self._notifier.present)

    def _sink_context(self) -> SinkContext:
        return SinkContext(
            self._paths.logs,
            node=self._config.node,
            version=__version__,
            status=lambda: self._status.document().to_json(),
            mute=self._mute.set,
        )

    def _make_watchdog(self) -> Watchdog:
        return Watchdog(
            self._notifier,
            dead_tasks=lambda: self._supervisor.dead,
            keeper_overdue_s=self._keeper.overdue_s,
            status_line=lambda: status_line(self._status.document()),
        )

    # --- taking apart ---

    async def _finish(self) -> None:
        """Hear no more, transcribe what was said, and hand it to the sinks."""
        await self._upkeep.close()
        self._spool.leave()
        await self._keeper.stop()
        self._take_early()
        if not await self._pipeline.close(DRAIN_S, self._hurry):
            _log.warning(
                "some utterances are not transcribed yet; the next start goes on with them"
            )
        await asyncio.gather(self._sinks.stop(_SINKS_S), self._spool.finish(_SPOOL_S))
        for provider in self._providers.providers:
            if provider.aclose is not None:
                await provider.aclose()

    # --- running ---

    async def _announce_ready(self) -> None:
        await self._keeper.reported.wait()
        _log.info(
            "stt-edge %s is running as %s with %s",
            __version__,
            self._config.node,
            self._config.path or "default settings",
            extra={"message_id": MessageId.STARTED},
        )
        self._notifier.ready()
        self._ready = True
        self._tell_change()
        self._upkeep.start(self._supervisor)

    async def _watch_source(self) -> None:
        """End the daemon when a recording or a command has come to its end."""
        await self._keeper.finished()
        await asyncio.wait([self._recovery])
        if not self._stopping.is_set():
            await self._pipeline.dispatcher.drain(None)
            self._stopping.set()

    def _take(self, event: EarEvent) -> None:
        if self._early is not None:
            self._early.append(event)
            return
        if isinstance(event, EarSaid | EarGone):
            return
        self._pipeline.take(event)  # first: everything else can wait until speech is on its way
        match event:
            case UtteranceOpened(head):
                self._spoken(head)
                self._spool.look()
            case UtteranceEnded():
                self._spoken(None)
            case wire.Fault(FaultKind.FILE, message, remedy):
                self._failure = _UnusableFileError(message, remedy)
                self._stopping.set()
            case _:
                pass

    def _spoken(self, head: UtteranceStart | None) -> None:
        self._status.speaking = head
        self._tell_change()
        self._sinks.speech(speaking=head is not None)

    def _take_early(self) -> None:
        """Take what the ear said before there was anybody to take it."""
        early, self._early = self._early or [], None
        for event in early:
            self._take(event)

    def _announce(self, announcement: Announce) -> None:
        log_notice(announcement)
        asyncio.get_running_loop().call_soon(self._tell_change)

    def _tell_change(self) -> None:
        """Bring STATUS= and sinks up to date at once: something important has changed."""
        if self._ready:
            self._watchdog.tell_status()
        if self._status.sinks is not None:
            self._status.sinks.changed()

    def _record_committed(self) -> None:
        self._sinks.wake()

    # --- Listener ---

    def partial(self, utterance_id: str, text: str) -> None:
        """Show what is understood so far to the sinks that show it."""
        self._sinks.partial(utterance_id, text)

    def standing(self, provider: str, health: str, message: str) -> None:
        """Log that a provider is down, blocked, or up again, and tell the sinks."""
        asyncio.get_running_loop().call_soon(self._tell_change)
        if health != "up":
            self._return_watch.provider_failed()
        if health == "up":
            up = {"message_id": MessageId.PROVIDER_UP}
            _log.info("provider %s is up again", provider, extra=up)
        elif health == "blocked":
            blocked = {"message_id": MessageId.PROVIDER_BLOCKED}
            _log.error("provider %s is blocked: %s", provider, message, extra=blocked)
        else:
            down = {"message_id": MessageId.PROVIDER_DOWN}
            _log.warning(
                "provider %s is down, it is tried again: %s", provider, message, extra=down
            )

    def budget(self, *, spent: bool) -> None:
        """Log that the budget of the day is spent, or that a new day has begun."""
        if spent:
            _log.warning(
                "the budget of the day is spent: until midnight only providers that charge "
                "nothing are used; where there is none, speech is kept"
            )
        else:
            _log.info("a new day: providers that charge are used again")

    # --- signals and the control socket ---

    def _catch_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        reactions: Mapping[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hung_up.set,
        }
        for number, reaction in reactions.items():
            loop.add_signal_handler(number, reaction)
            stack.callback(loop.remove_signal_handler, number)

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _reload_when_told(self) -> None:
        """Reload at each SIGHUP; those that come meanwhile are one more."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            if not self._stopping.is_set():
                with contextlib.suppress(SttEdgeError):  # logged where it was found
                    await self.reload()

    def _handlers(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        async def status(_: Mapping[str, Any]) -> Any:
            await self._upkeep.look()
            return self._status.document().to_json()

        async def reload(_: Mapping[str, Any]) -> Any:
            return {"kept": await self.reload()}

        mute, unmute = self._mute.mute, self._mute.unmute
        asked = {"status": status, "mute": mute, "unmute": unmute, "reload": reload}
        return {**asked, "forget": self._upkeep.forget, **self._spool.commands()}

    # --- reload ---

    async def reload(self) -> list[str]:
        """Read the configuration again and use it; returns what only a restart can change.

        When it is bad the one in use stays in use. Raises SttEdgeError.
        """
        async with self._reloading:
            self._notifier.reloading()
            try:
                kept = await self._apply(self._read_again())
            except SttEdgeError as error:
                self._reject(error)
                raise
            finally:
                self._notifier.ready()
            self._status.rejected = ""
            self._sinks.reopen()
            for name in kept:
                _log.warning("%s can be changed by a restart only; it is kept as it was", name)
            _log.info("the configuration was read again")
            return kept

    def _read_again(self) -> Config:
        """Return the configuration as it is now. Raises SttEdgeError."""
        new = self._load()
        if new.path is None and self._config.path is not None:
            # Falling back to the defaults may send speech elsewhere, so only a start does it.
            raise SttEdgeError(
                f"{self._config.path} is no longer there.",
                "Put it back, or restart to run with the defaults.",
            )
        return new

    async def _apply(self, new: Config) -> list[str]:
        old = self._config
        kept = ["node"] if new.node != old.node else []
        new = replace(new, node=old.node)
        prepared = self._providers.prepare(new)
        await self._sinks.apply(self._sink_entries(new))
        replaced = self._providers.adopt(prepared)
        rules = session_rules(new)
        if new.providers != old.providers or rules != session_rules(old):
            self._pipeline.dispatcher.configure(self._providers.providers, rules)
        for provider in replaced:
            if provider.aclose is not None:
                self._supervisor.start("retire", self._retire(provider))
        self._spool.configure(new.spool)
        pace = pace_of(new.audio.source(), new.audio.first_block_s)
        self._keeper.reload(new.ear(), pace)
        self._upkeep.configure(new)
        self._config = new
        return kept

    async def _retire(self, provider: Provider) -> None:
        """End what a provider no longer wanted has running, once nothing is in hand."""
        await self._pipeline.dispatcher.drain(DRAIN_S)
        assert provider.aclose is not None
        await provider.aclose()

    def _reject(self, error: SttEdgeError) -> None:
        rejected = {"message_id": MessageId.CONFIG_REJECTED}
        problems = error.problems if isinstance(error, ConfigError) else [error]
        for problem in problems:
            _log.error("configuration rejected: %s", problem, extra=rejected)
        self._status.rejected = (
            f"The configuration file was rejected, the one before is in use: {problems[0]}"
        )


class _UnusableFileError(SttEdgeError):
    """The recording that the configuration names cannot be heard; a restart would not help."""

    exit_code = ExitCode.CONFIG


def _tell_opening(store: StoreThread) -> None:
    opening = store.opening
    if opening.damaged_path is not None:
        _log.error(
            "The store was damaged (%s) and is kept as %s; saved from it: %d utterances, "
            "%d parts, %d records.",
            opening.reason,
            opening.damaged_path,
            opening.salvaged_utterances,
            opening.salvaged_parts,
            opening.salvaged_records,
        )
