"""Keeps an ear running: performs what the keeper's table says, on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from stt_edge.clock import Clock
from stt_edge.ear import wire
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.frozen import frozen
from stt_edge.model import EndReason
from stt_edge.service import keeper
from stt_edge.service import keeper_terms as terms
from stt_edge.service.device_watch import alsa_configurations, is_sound_server
from stt_edge.service.ear_lines import LineLimiter
from stt_edge.service.ear_meter import EarMeter
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader, EarSaid
from stt_edge.service.ear_starter import EarStarter
from stt_edge.service.intake import (
    Losses,
    UtteranceEnded,
    UtteranceGrew,
    UtteranceOpened,
    WritableLog,
)
from stt_edge.service.keeper_terms import State, TimerName
from stt_edge.service.status import EarStatus

_log = logging.getLogger(__name__)

LATE_S: Final = 0.1
"""A deadline noticed this late says more about the loop than about the ear."""
CATCH_UP_S: Final = 1.0
"""What the ear has said meanwhile is read and taken within this time."""
_CARD_S: Final = 30.0
_SERVER_S: Final = 2.0
_GUARDS: Final = (TimerName.FIRST_BLOCK, TimerName.ALIVE, TimerName.OBEY, TimerName.DIE)
_WITHOUT_DEADLINE: Final = (State.MUTED, State.FINISHED)


@frozen
class _Running:
    """The ear in charge; what others may still say is not for the keeper."""

    process: EarProcess
    reader: EarReader


@frozen
class _Timer:
    handle: asyncio.TimerHandle
    due_s: float
    is_grace: bool = False
    """The deadline has passed; it is waited for what the ear has said before."""


class EarKeeper:
    """Starts, watches, mutes, restarts and ends the ear. Use on one event loop only."""

    def __init__(
        self,
        settings: EarSettings,
        pace: terms.Pace,
        log: WritableLog,
        *,
        clock: Clock,
        losses: Losses,
        on_event: Callable[[EarEvent], None],
        announce: Callable[[terms.Announce], None],
        command: Sequence[str] = EAR_COMMAND,
        starter: EarStarter | None = None,
    ) -> None:
        """Prepare; ``start`` begins.

        ``on_event`` gets, on the loop, whatever any ear says, after the keeper has taken it, and
        must not raise; ``announce`` what people should be told.
        """
        self._settings = settings
        self._keeper = terms.Keeper(pace)
        self._log = log
        self._clock = clock
        self._losses = losses
        self._on_event = on_event
        self._announce = announce
        self._command = command
        self._starter = starter or EarStarter()
        self._loop = asyncio.get_running_loop()
        self._limiter = LineLimiter()
        self._meter = EarMeter()
        self._ear: _Running | None = None
        self._readers: set[EarReader] = set()
        self._timers: dict[TimerName, _Timer] = {}
        self._streams = 0
        self._rate: int | None = None
        self._shown = self._keeper.shown
        self._since_s = self._heard_s = self._loop.time()
        self._changed = asyncio.Event()
        self.reported = asyncio.Event()
        """Set once the ear has reported a state of any kind, or is muted: the daemon is ready."""

    @property
    def state(self) -> State:
        """What the keeper is about now."""
        return self._keeper.state

    @property
    def muted(self) -> bool:
        """Whether the device is closed, or being closed, because of mute."""
        return self.state in (State.MUTING, State.MUTED)

    def start(self, *, muted: bool) -> None:
        """Begin to hear, or stay muted."""
        self._perform(*keeper.begin(self._keeper.pace, muted=muted))

    async def mute(self) -> None:
        """Close the device; returns when it is closed. What was said is handed over first."""
        self._post(terms.MuteRequested())
        await self._reach(State.MUTED, State.STOPPING, State.FINISHED)

    def unmute(self) -> None:
        """Open the device again."""
        self._post(terms.UnmuteRequested())

    async def stop(self) -> None:
        """End the ear for good; returns when everything that was said is in the log."""
        self._post(terms.StopRequested())
        await self.finished()

    async def finished(self) -> None:
        """Wait until the source has ended, or the ear was stopped."""
        await self._reach(State.FINISHED)

    def reload(self, settings: EarSettings, pace: terms.Pace) -> None:
        """Use other settings: of the gate at once, of the source between two utterances."""
        before, self._settings = self._settings, settings
        if (before.source, self._keeper.pace) != (settings.source, pace):
            self._post(terms.SettingsChanged(pace))
        elif before.gate != settings.gate:
            self._send(settings.gate)

    def devices_changed(self) -> None:
        """Take that a sound device came, went or changed its permissions."""
        self._post(terms.DeviceChanged())

    def report_level(self, hertz: float) -> None:
        """Have the ear report its health this often, in hertz, until it is started again."""
        self._send(wire.LevelRate(hertz))

    def overdue_s(self) -> float:
        """Return by how much the deadline of the present state was missed, in seconds.

        Infinite when the state has no deadline and should have one.
        """
        if self.state in _WITHOUT_DEADLINE:
            return 0.0
        running = keeper.TIMERS[self.state] & self._timers.keys()
        due = [self._timers[name].due_s for name in running]
        return max(0.0, self._loop.time() - min(due)) if due else float("inf")

    def status(self) -> EarStatus:
        """Return how hearing is going."""
        trouble, latest, total = self._keeper.trouble, self._meter.latest, self._meter.total
        return EarStatus(
            state=self._keeper.shown.value,
            since_s=round(self._loop.time() - self._since_s, 3),
            device=self._keeper.device,
            rate=self._rate,
            level_db=round(latest.level_db, 1) if latest else None,
            noise_db=round(latest.noise_db, 1) if latest else None,
            silent_s=latest.silent_s if latest else 0.0,
            clipped_ms=latest.clipped_ms if latest else 0,
            gaps=total.gaps,
            lost_ms=self._meter.lost_ms,
            openings=total.openings,
            rejections=total.rejections,
            second_stage_share=round(self._meter.second_stage_share, 4),
            restarts=max(0, self._streams - 1),
            pid=self._ear.process.pid if self._ear else None,
            trouble=f"{trouble.message} {trouble.remedy}".rstrip() if trouble else "",
            fault=trouble.kind.value if trouble else "",
            frames=total.samples,
            overruns=total.overflows,
        )

    # Events

    def _take(self, reader: EarReader, event: EarEvent) -> None:
        """Take an event of an ear, on the loop."""
        if isinstance(event, UtteranceGrew):
            reader.growth_seen()
        if isinstance(event, EarGone):
            self._readers.discard(reader)
        if self._ear is not None and self._ear.reader is reader:
            self._feed(event)
        self._on_event(event)

    def _feed(self, event: EarEvent) -> None:
        match event:
            case EarGone(how):
                self._ear = None
                self._quiet()
                self._post(terms.EarExited(how))
            case wire.Opened():
                self._rate = event.rate
                self._streams += 1
                self._meter.opened()
                self._post(terms.OpenedReported(event.description))
            case wire.Health():
                self._meter.seen(event)
                self._post(terms.HealthSeen(event.blocks, event.silent_s))
            case UtteranceGrew():
                self._post(terms.AudioSeen())
            case UtteranceOpened():
                self._post(terms.SpeechChanged(speaking=True))
            case UtteranceEnded(_, tail):
                goes_on = tail.reason is EndReason.MAX_LENGTH
                self._post(terms.SpeechChanged(speaking=goes_on))
            case wire.Fault():
                self._post(terms.FaultReported(event.kind, event.message, event.remedy))
            case wire.Finished():
                self._post(terms.FinishedReported())
            case EarSaid(line):
                _log.info("the ear says: %s", line)

    def _post(self, event: terms.Event) -> None:
        self._perform(*keeper.step(self._keeper, event))

    def _timed_out(self, name: TimerName) -> None:
        timer = self._timers.pop(name)
        late = self._loop.time() - timer.due_s > LATE_S
        unread = self._ear is not None and self._ear.process.has_unread()
        if name in _GUARDS and (late or (unread and not timer.is_grace)):
            # The loop was held up, or all of main was stopped: hear first what the ear said since.
            self._start_timer(name, CATCH_UP_S, is_grace=True)
        else:
            self._post(terms.TimedOut(name))

    # Effects

    def _perform(self, after: terms.Keeper, effects: tuple[terms.Effect, ...]) -> None:
        self._keeper = after
        if after.shown is not self._shown:
            self._shown, self._since_s = after.shown, self._loop.time()
        for effect in effects:
            self._do(effect)
        if after.state in terms.WAITING:
            self._starter.prepare(self._command)
        else:
            self._starter.drop()
        if after.state is State.MUTED:
            self._losses.excuse()
        if after.state is not State.STARTING:
            self.reported.set()
        self._changed.set()
        self._changed.clear()

    def _do(self, effect: terms.Effect) -> None:
        match effect:
            case terms.SpawnEar():
                self._spawn()
            case terms.SendStop(mode):
                self._send(wire.Stop(mode))
            case terms.KillEar():
                if self._ear is not None:
                    self._ear.process.kill()
            case terms.LoseEar():
                if self._ear is not None:
                    self._ear.reader.abandon()
                    self._ear = None
                    self._quiet()
            case terms.StartTimer(name, seconds):
                self._cancel(name)
                self._start_timer(name, seconds)
                if name is TimerName.ALIVE:
                    self._heard_s = self._loop.time()
            case terms.CancelTimer(name):
                self._cancel(name)
            case terms.Announce():
                self._announce(self._with_duration(effect))

    def _spawn(self) -> None:
        try:
            process = self._starter.start(self._settings, self._command)
        except OSError as error:
            gone = terms.EarExited(f"it cannot be started: {error.strerror}")
            self._loop.call_soon(self._post, gone)
            return
        _log.debug("ear %d started", process.pid)
        reader = EarReader(
            process,
            self._log,
            clock=self._clock,
            losses=self._losses,
            limiter=self._limiter,
            emit=self._emit,
        )
        self._readers.add(reader)
        self._ear = _Running(process, reader)

    def _emit(self, reader: EarReader, event: EarEvent) -> None:
        """Hand an event to the loop; called by the reader's thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, reader, event)
        except RuntimeError:
            _log.debug("the loop is closed; the reader goes on without it")

    def _send(self, command: wire.Command) -> None:
        if self._ear is not None:
            self._ear.process.send(command)

    def _start_timer(self, name: TimerName, seconds: float, *, is_grace: bool = False) -> None:
        handle = self._loop.call_later(seconds, self._timed_out, name)
        self._timers[name] = _Timer(handle, handle.when(), is_grace)

    def _cancel(self, name: TimerName) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.handle.cancel()

    def _quiet(self) -> None:
        """Take that nothing is open: levels and rate are unknown."""
        self._meter.closed()
        self._rate = None

    def _with_duration(self, announcement: terms.Announce) -> terms.Announce:
        if announcement.notice is not terms.Notice.RETURNED:
            return announcement
        away_s = self._loop.time() - self._heard_s
        text = f"{announcement.message} Nothing was heard for {away_s:.1f} s."
        return replace(announcement, message=text)

    async def _reach(self, *states: State) -> None:
        while self.state not in states:
            await self._changed.wait()


def pace_of(source: SourceSettings, first_block_s: float) -> terms.Pace:
    """Return how patient to be with a source."""
    if source.file is not None:
        return terms.Pace(source.file, first_block_s)
    if source.command is not None:
        return terms.Pace(f"the command {source.command[0]}", first_block_s)
    name = "the microphone" if source.device == "auto" else f"the microphone {source.device!r}"
    if is_sound_server(source.device, alsa_configurations()):
        return terms.Pace(name, first_block_s, _SERVER_S)
    return terms.Pace(name, first_block_s, _CARD_S)
