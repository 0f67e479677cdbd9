"""The keeper of the ear, as a table: when the ear is started, ended, killed and started again.

    STARTING ──opened──► HEARING ──nothing for 3 s──► RESTARTING ──gone──► STARTING
       │  ▲                 │
     fault retry         mute ──► MUTING ──gone──► MUTED ──unmute──► STARTING
       ▼  │
    ABSENT, BUSY, FAULTED             stop ──► STOPPING ──gone──► FINISHED

``step(keeper, event)`` returns the keeper after the event and what is to be done, as data. There is
no process, clock, disk or loop in here; a pair that is not in the table raises
IllegalTransitionError. Every state but MUTED and FINISHED has a timer running: it cannot be stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from stt_edge.ear.wire import StopMode
from stt_edge.errors import FaultKind
from stt_edge.service.keeper_pace import (
    ALIVE_S,
    DIE_S,
    FAILURES_TOLD,
    OBEY_S,
    SETTLE_S,
    SILENT_S,
    STABLE_S,
    backoff_s,
    retry_s,
)
from stt_edge.service.keeper_terms import (
    Announce,
    AudioSeen,
    CancelTimer,
    DeviceChanged,
    EarExited,
    Effect,
    Event,
    FaultReported,
    FinishedReported,
    HealthSeen,
    IllegalTransitionError,
    Keeper,
    KillEar,
    LoseEar,
    MuteRequested,
    Notice,
    OpenedReported,
    Pace,
    SendStop,
    SettingsChanged,
    SpawnEar,
    SpeechChanged,
    StartTimer,
    State,
    StopRequested,
    TimedOut,
    TimerName,
    Trouble,
    UnmuteRequested,
)

Step = tuple[Keeper, tuple[Effect, ...]]

_ENDING: Final = (State.RESTARTING, State.MUTING, State.STOPPING)

_RETRY: Final = frozenset((TimerName.RETRY,))
_END: Final = frozenset((TimerName.OBEY, TimerName.DIE))
TIMERS: Final[dict[State, frozenset[TimerName]]] = {
    State.STARTING: frozenset((TimerName.FIRST_BLOCK,)),
    State.HEARING: frozenset((TimerName.ALIVE, TimerName.STABLE)),
    State.ABSENT: _RETRY,
    State.BUSY: _RETRY,
    State.FAULTED: _RETRY,
    State.RESTARTING: _END,
    State.MUTING: _END,
    State.STOPPING: _END,
    State.MUTED: frozenset(),
    State.FINISHED: frozenset(),
}
"""The timers that may run in each state; the first that is due is the state's deadline."""


def begin(pace: Pace, *, muted: bool) -> Step:
    """Return the first step: hear, or stay muted as before the last stop."""
    keeper = Keeper(pace)
    if muted:
        still = Announce(Notice.MUTED, "Still muted: the microphone is closed.", _UNMUTE)
        return replace(keeper, state=State.MUTED), (still,)
    return _spawn(keeper)


def step(keeper: Keeper, event: Event) -> Step:
    """Return the keeper after ``event`` and the effects to perform, in order."""
    key = event.timer if isinstance(event, TimedOut) else type(event)
    rule = TABLE.get((keeper.state, key))
    if rule is None:
        raise IllegalTransitionError(f"{event} while {keeper.state}")
    return rule(keeper, event)


_UNMUTE: Final = "Run `stt-edge unmute` to be heard."


def _stay(keeper: Keeper, _: Event) -> Step:
    return keeper, ()


def _go(keeper: Keeper, state: State, *effects: Effect) -> Step:
    """Enter a state; the timers of the one before stop, but an ending once begun goes on."""
    still_ending = keeper.state in _ENDING and state in _ENDING
    left = () if still_ending else sorted(TIMERS[keeper.state])
    after = replace(keeper, state=state, speaking=False, restart_wanted=False)
    return after, (*(CancelTimer(timer) for timer in left), *effects)


def _spawn(keeper: Keeper, *announcements: Announce) -> Step:
    deadline = StartTimer(TimerName.FIRST_BLOCK, keeper.pace.first_block_s)
    fresh = replace(keeper, blocks=0, silent_s=0.0, devices_changed=False)
    return _go(fresh, State.STARTING, *announcements, SpawnEar(), deadline)


def _kill(keeper: Keeper, state: State, *announcements: Announce) -> Step:
    return _go(keeper, state, *announcements, KillEar(), StartTimer(TimerName.DIE, DIE_S))


def _ask(keeper: Keeper, state: State, mode: StopMode) -> Step:
    return _go(keeper, state, SendStop(mode), StartTimer(TimerName.OBEY, OBEY_S))


# Hearing


def _opened(keeper: Keeper, event: OpenedReported) -> Step:
    known = keeper.device == event.description
    after = replace(keeper, device=event.description, trouble=None, lost=False, retries=0)
    effects: list[Effect] = []
    if keeper.lost:
        effects.append(Announce(Notice.RETURNED, f"Hearing again: {event.description}."))
    elif not known:
        effects.append(Announce(Notice.LISTENING, f"Listening to {event.description}."))
    effects.append(StartTimer(TimerName.ALIVE, ALIVE_S))
    if keeper.failures:
        effects.append(StartTimer(TimerName.STABLE, STABLE_S))
    return _go(after, State.HEARING, *effects)


def _health(keeper: Keeper, event: HealthSeen) -> Step:
    if event.blocks <= keeper.blocks:
        return keeper, ()  # the ear lives, and its device does not
    effects: list[Effect] = [StartTimer(TimerName.ALIVE, ALIVE_S)]
    sound = event.silent_s < 0.5 or event.silent_s < keeper.silent_s
    after = replace(keeper, blocks=event.blocks, silent_s=event.silent_s)
    if keeper.silent and sound:
        after = replace(after, silent=False)
        effects.append(Announce(Notice.SOUND, f"Sound comes from {keeper.device} again."))
    elif not keeper.silent and event.silent_s >= SILENT_S:
        after = replace(after, silent=True)
        effects.append(
            Announce(
                Notice.SILENT,
                f"{keeper.device} has delivered nothing but zeros for {SILENT_S:.0f} s.",
                "Look for a switch on the microphone, and at its capture volume in alsamixer.",
            )
        )
    return after, tuple(effects)


def _audio(keeper: Keeper, _: AudioSeen) -> Step:
    return keeper, (StartTimer(TimerName.ALIVE, ALIVE_S),)


def _speech(keeper: Keeper, event: SpeechChanged) -> Step:
    if keeper.restart_wanted and not event.speaking:
        return _ask(keeper, State.RESTARTING, StopMode.STOP)
    return replace(keeper, speaking=event.speaking), ()


def _stable(keeper: Keeper, _: TimedOut) -> Step:
    return replace(keeper, failures=0), ()


# Trouble


def _fault(keeper: Keeper, event: FaultReported) -> Step:
    trouble = Trouble(event.kind, event.message, event.remedy)
    if event.kind in (FaultKind.INTERNAL, FaultKind.COMMAND):
        return _failed(keeper, trouble)
    after, told = _tell(replace(keeper, retries=keeper.retries + 1), trouble)
    retry = StartTimer(TimerName.RETRY, retry_s(after))
    return _go(after, trouble.state, *told, KillEar(), retry)


def _crashed(keeper: Keeper, event: EarExited) -> Step:
    message = f"The ear on {_name(keeper)} ended by itself ({event.how}); it is started again."
    counted, told = _count(keeper, Trouble(FaultKind.INTERNAL, message))
    after, effects = _gone(counted, event)
    return after, (*told, *effects)


def _deaf(keeper: Keeper, _: TimedOut) -> Step:
    message = f"Nothing has come from {_name(keeper)} for {ALIVE_S:g} s; it is opened again."
    return _failed(keeper, Trouble(FaultKind.INTERNAL, message))


def _no_first_block(keeper: Keeper, _: TimedOut) -> Step:
    message = f"No sound has come from {_name(keeper)} within {keeper.pace.first_block_s:g} s."
    remedy = "A slow device (Bluetooth, some sound servers) may need a larger audio.first_block_s."
    return _failed(keeper, Trouble(FaultKind.INTERNAL, message, remedy))


def _failed(keeper: Keeper, trouble: Trouble) -> Step:
    """End an ear that is of no use; when it is gone it is started again."""
    counted, told = _count(keeper, trouble)
    return _kill(counted, State.RESTARTING, *told)


def _gone(keeper: Keeper, _: Event) -> Step:
    """Start the ear again: at once after a first failure, later after each further one."""
    wait_s = backoff_s(keeper.failures)
    if wait_s and not keeper.devices_changed:
        return _go(keeper, State.FAULTED, StartTimer(TimerName.RETRY, wait_s))
    return _spawn(keeper)


def _retry(keeper: Keeper, _: TimedOut) -> Step:
    return _spawn(keeper)


def _devices_changed(keeper: Keeper, _: DeviceChanged) -> Step:
    return keeper, (StartTimer(TimerName.RETRY, SETTLE_S),)


def _devices_changed_meanwhile(keeper: Keeper, _: DeviceChanged) -> Step:
    return replace(keeper, devices_changed=True), ()


def _count(keeper: Keeper, trouble: Trouble) -> tuple[Keeper, tuple[Announce, ...]]:
    """Count a failure; after the first few only the 16th, 32nd, 64th … are told: logs fill up."""
    counted = replace(keeper, failures=keeper.failures + 1)
    if counted.failures <= FAILURES_TOLD or counted.failures.bit_count() == 1:
        return _tell(counted, trouble)
    return replace(counted, trouble=trouble), ()


def _tell(keeper: Keeper, trouble: Trouble) -> tuple[Keeper, tuple[Announce, ...]]:
    after = replace(keeper, trouble=trouble, lost=True)
    if not keeper.lost:
        return after, (Announce(Notice.LOST, trouble.message, trouble.remedy),)
    if keeper.trouble != trouble:
        return after, (Announce(Notice.STILL_LOST, trouble.message, trouble.remedy),)
    return after, ()


def _name(keeper: Keeper) -> str:
    return keeper.device or keeper.pace.source


# Ending


def _disobeyed(keeper: Keeper, _: TimedOut) -> Step:
    return keeper, (KillEar(), StartTimer(TimerName.DIE, DIE_S))


def _unkillable(keeper: Keeper, event: TimedOut) -> Step:
    again, effects = _gone(keeper, event)
    return again, (_stuck(keeper), LoseEar(), *effects)


def _unkillable_stopping(keeper: Keeper, _: TimedOut) -> Step:
    return _go(keeper, State.FINISHED, _stuck(keeper), LoseEar())


def _unkillable_muting(keeper: Keeper, _: TimedOut) -> Step:
    # Muted means closed: as long as the process is there, that is not true.
    told = replace(keeper, trouble=Trouble(FaultKind.INTERNAL, _stuck(keeper).message))
    again = (KillEar(), StartTimer(TimerName.DIE, DIE_S))
    return told, again if keeper.trouble == told.trouble else (_stuck(keeper), *again)


def _stuck(keeper: Keeper) -> Announce:
    message = f"The ear on {_name(keeper)} hangs in the kernel and cannot be ended."
    return Announce(Notice.STUCK, message, "Unplug the device; if that does not help, reboot.")


def _silenced(keeper: Keeper, _: EarExited) -> Step:
    after = replace(keeper, device=None, trouble=None, lost=False, failures=0, retries=0)
    muted = Announce(Notice.MUTED, f"Muted: {_name(keeper)} is closed.", _UNMUTE)
    return _go(after, State.MUTED, muted)


def _finished(keeper: Keeper, _: Event) -> Step:
    return _go(keeper, State.FINISHED)


def _source_ended(keeper: Keeper, _: FinishedReported) -> Step:
    ended = Announce(Notice.ENDED, f"{_name(keeper)} has come to its end.")
    return _go(keeper, State.STOPPING, ended, StartTimer(TimerName.OBEY, OBEY_S))


# Requests


def _mute_hearing(keeper: Keeper, _: MuteRequested) -> Step:
    return _ask(keeper, State.MUTING, StopMode.MUTE)


def _mute_starting(keeper: Keeper, _: MuteRequested) -> Step:
    return _kill(keeper, State.MUTING)  # it may hang in open, and has nothing in hand


def _mute_restarting(keeper: Keeper, _: MuteRequested) -> Step:
    return _go(keeper, State.MUTING)


def _mute_waiting(keeper: Keeper, _: MuteRequested) -> Step:
    return _silenced(keeper, EarExited(""))


def _unmute(keeper: Keeper, _: UnmuteRequested) -> Step:
    return _spawn(keeper, _unmuted(keeper))


def _unmute_muting(keeper: Keeper, _: UnmuteRequested) -> Step:
    after = replace(keeper, device=None, trouble=None, lost=False, failures=0)
    return _go(after, State.RESTARTING, _unmuted(keeper))


def _unmuted(keeper: Keeper) -> Announce:
    return Announce(Notice.UNMUTED, f"Unmuted: {keeper.pace.source} is opened.")


def _new_settings(keeper: Keeper, event: SettingsChanged) -> Step:
    return replace(keeper, pace=event.pace), ()


def _settings_hearing(keeper: Keeper, event: SettingsChanged) -> Step:
    after = replace(keeper, pace=event.pace, failures=0)
    if keeper.speaking:
        return replace(after, restart_wanted=True), ()
    return _ask(after, State.RESTARTING, StopMode.STOP)


def _settings_starting(keeper: Keeper, event: SettingsChanged) -> Step:
    return _kill(replace(keeper, pace=event.pace, failures=0), State.RESTARTING)


def _settings_waiting(keeper: Keeper, event: SettingsChanged) -> Step:
    return _spawn(replace(keeper, pace=event.pace, failures=0, retries=0))


def _stop_hearing(keeper: Keeper, _: StopRequested) -> Step:
    return _ask(keeper, State.STOPPING, StopMode.STOP)


def _stop_starting(keeper: Keeper, _: StopRequested) -> Step:
    return _kill(keeper, State.STOPPING)


def _stop_ending(keeper: Keeper, _: StopRequested) -> Step:
    return _go(keeper, State.STOPPING)


Rule = Callable[[Keeper, Any], Step]

# Ears are told apart by whoever feeds the table: what an ear given up long ago may still say never
# comes here. In the states without an ear, only the exit of the one just killed does.
_WITHOUT_EAR: Final[dict[type | TimerName, Rule]] = {
    EarExited: _stay,
    DeviceChanged: _devices_changed,
    MuteRequested: _mute_waiting,
    UnmuteRequested: _stay,
    SettingsChanged: _settings_waiting,
    StopRequested: _finished,
    TimerName.RETRY: _retry,
}
# An ear that is being ended may say anything; only that it is gone counts.
_WHILE_ENDING: Final[dict[type | TimerName, Rule]] = {
    OpenedReported: _stay,
    HealthSeen: _stay,
    AudioSeen: _stay,
    SpeechChanged: _stay,
    FaultReported: _stay,
    FinishedReported: _stay,
    DeviceChanged: _devices_changed_meanwhile,
    SettingsChanged: _new_settings,
    StopRequested: _stop_ending,
    TimerName.OBEY: _disobeyed,
}

RULES: Final[dict[State, dict[type | TimerName, Rule]]] = {
    State.STARTING: {
        OpenedReported: _opened,
        FaultReported: _fault,
        FinishedReported: _source_ended,
        EarExited: _crashed,
        DeviceChanged: _devices_changed_meanwhile,
        MuteRequested: _mute_starting,
        UnmuteRequested: _stay,
        SettingsChanged: _settings_starting,
        StopRequested: _stop_starting,
        TimerName.FIRST_BLOCK: _no_first_block,
    },
    State.HEARING: {
        HealthSeen: _health,
        AudioSeen: _audio,
        SpeechChanged: _speech,
        FaultReported: _fault,
        FinishedReported: _source_ended,
        EarExited: _crashed,
        DeviceChanged: _stay,
        MuteRequested: _mute_hearing,
        UnmuteRequested: _stay,
        SettingsChanged: _settings_hearing,
        StopRequested: _stop_hearing,
        TimerName.ALIVE: _deaf,
        TimerName.STABLE: _stable,
    },
    State.ABSENT: _WITHOUT_EAR,
    State.BUSY: _WITHOUT_EAR,
    State.FAULTED: _WITHOUT_EAR,
    State.RESTARTING: {
        **_WHILE_ENDING,
        EarExited: _gone,
        MuteRequested: _mute_restarting,
        UnmuteRequested: _stay,
        TimerName.DIE: _unkillable,
    },
    State.MUTING: {
        **_WHILE_ENDING,
        EarExited: _silenced,
        MuteRequested: _stay,
        UnmuteRequested: _unmute_muting,
        TimerName.DIE: _unkillable_muting,
    },
    State.MUTED: {
        EarExited: _stay,
        DeviceChanged: _stay,
        MuteRequested: _stay,
        UnmuteRequested: _unmute,
        SettingsChanged: _new_settings,
        StopRequested: _finished,
    },
    State.STOPPING: {
        **_WHILE_ENDING,
        EarExited: _finished,
        MuteRequested: _stay,
        UnmuteRequested: _stay,
        TimerName.DIE: _unkillable_stopping,
    },
    State.FINISHED: {
        EarExited: _stay,
        DeviceChanged: _stay,
        MuteRequested: _stay,
        UnmuteRequested: _stay,
        SettingsChanged: _new_settings,
        StopRequested: _stay,
    },
}

TABLE: Final[dict[tuple[State, type | TimerName], Rule]] = {
    (state, key): rule for state, rules in RULES.items() for key, rule in rules.items()
}
