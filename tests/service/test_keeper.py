"""The keeper's table, without a process, a clock or a loop."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.ear.wire import StopMode
from stt_edge.errors import FaultKind
from stt_edge.service import keeper
from stt_edge.service.keeper_pace import BUSY_S, SETTLE_S, backoff_s
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
    UnmuteRequested,
)

CARD = Pace("the microphone 'USB'", 30.0, 30.0)
SERVER = Pace("the microphone 'pulse'", 30.0, 2.0)
OPENED = OpenedReported("USB Audio")
CRASHED = EarExited("signal 11, SIGSEGV")
ABSENT = FaultReported(FaultKind.ABSENT, "There is no capture device 'USB'.", "Plug it in.")
BUSY = FaultReported(FaultKind.BUSY, "Another program has 'USB'.")

SAMPLES: list[Event] = [
    OPENED,
    HealthSeen(1, 0.0),
    AudioSeen(),
    SpeechChanged(True),
    SpeechChanged(False),
    *(FaultReported(kind, "fault") for kind in FaultKind),
    FinishedReported(),
    CRASHED,
    DeviceChanged(),
    MuteRequested(),
    UnmuteRequested(),
    SettingsChanged(SERVER),
    StopRequested(),
    *(TimedOut(timer) for timer in TimerName),
]
"""One event of every sort there is."""

EAR: set[type | TimerName] = {
    OpenedReported,
    HealthSeen,
    AudioSeen,
    SpeechChanged,
    FaultReported,
    FinishedReported,
}
"""What only an ear says, but for the last of all, that it is gone."""

NOT_ALLOWED: dict[State, set[type | TimerName]] = {
    State.STARTING: {
        HealthSeen,
        AudioSeen,
        SpeechChanged,
        *set(TimerName) - {TimerName.FIRST_BLOCK},
    },
    State.HEARING: {OpenedReported, *set(TimerName) - {TimerName.ALIVE, TimerName.STABLE}},
    State.ABSENT: EAR | set(TimerName) - {TimerName.RETRY},
    State.BUSY: EAR | set(TimerName) - {TimerName.RETRY},
    State.FAULTED: EAR | set(TimerName) - {TimerName.RETRY},
    State.RESTARTING: {*set(TimerName) - {TimerName.OBEY, TimerName.DIE}},
    State.MUTING: {*set(TimerName) - {TimerName.OBEY, TimerName.DIE}},
    State.STOPPING: {*set(TimerName) - {TimerName.OBEY, TimerName.DIE}},
    State.MUTED: EAR | set(TimerName),
    State.FINISHED: EAR | set(TimerName),
}


class World:
    """The keeper with what its effects do: an ear, timers, and what people were told."""

    def __init__(self, pace: Pace = CARD, *, muted: bool = False) -> None:
        self.keeper = Keeper(pace)
        self.timers: dict[TimerName, float] = {}
        self.told: list[Announce] = []
        self.effects: list[Effect] = []
        self.ear = ""
        """``starting``, ``open``, ``over``, ``killed``; empty when there is none."""
        self.spawned = 0
        self._perform(*keeper.begin(pace, muted=muted))

    def feed(self, *events: Event) -> World:
        for event in events:
            self._happens(event)
            self._perform(*keeper.step(self.keeper, event))
        return self

    @property
    def state(self) -> State:
        return self.keeper.state

    def notices(self) -> list[Notice]:
        return [announcement.notice for announcement in self.told]

    def possible(self) -> list[Event]:
        """Everything that may happen now in a real world."""
        events: list[Event] = [
            DeviceChanged(),
            MuteRequested(),
            UnmuteRequested(),
            SettingsChanged(SERVER),
            StopRequested(),
            *(TimedOut(timer) for timer in self.timers),
        ]
        if self.ear == "starting":
            events += [OPENED, ABSENT, BUSY, FaultReported(FaultKind.INTERNAL, "bug")]
        if self.ear == "open":
            more = HealthSeen(self.keeper.blocks + 10, 0.0)
            same = HealthSeen(self.keeper.blocks, 0.0)
            speech: list[Event] = [SpeechChanged(True), AudioSeen(), SpeechChanged(False)]
            events += [more, same, *speech, ABSENT]
        if self.ear in ("starting", "open"):
            events += [FinishedReported()]
        if self.ear:
            events += [CRASHED]
        return events

    def _happens(self, event: Event) -> None:
        match event:
            case OpenedReported():
                self.ear = "open"
            case FaultReported() | FinishedReported():
                self.ear = "over"
            case EarExited():
                self.ear = ""
            case TimedOut(timer):
                self.timers.pop(timer, None)

    def _perform(self, after: Keeper, effects: Iterable[Effect]) -> None:
        self.keeper = after
        self.effects = list(effects)
        for effect in self.effects:
            match effect:
                case SpawnEar():
                    assert self.ear in ("", "killed"), "two ears at once"
                    self.ear, self.spawned = "starting", self.spawned + 1
                case SendStop():
                    assert self.ear == "open", "nobody to tell"
                case KillEar():
                    self.ear = self.ear and "killed"
                case LoseEar():
                    assert self.ear == "killed", "it was not even tried to kill it"
                    self.ear = ""
                case StartTimer(timer, seconds):
                    self.timers[timer] = seconds
                case CancelTimer(timer):
                    self.timers.pop(timer, None)
                case Announce():
                    self.told.append(effect)


def hearing(pace: Pace = CARD) -> World:
    return World(pace).feed(OPENED)


# The table as a whole


@pytest.mark.parametrize(
    ("state", "event"),
    list(product(State, SAMPLES)),
    ids=lambda value: value.value if isinstance(value, State) else f"{value}"[:40],
)
def test_every_pair_is_in_the_table_or_illegal(state: State, event: Event) -> None:
    key = event.timer if isinstance(event, TimedOut) else type(event)
    before = Keeper(CARD, state=state, device="USB Audio")
    if key in NOT_ALLOWED[state]:
        with pytest.raises(IllegalTransitionError):
            keeper.step(before, event)
        return
    after, effects = keeper.step(before, event)
    assert isinstance(after, Keeper)
    assert isinstance(effects, tuple)


def test_the_table_has_no_rule_for_an_event_that_does_not_exist() -> None:
    known = {event.timer if isinstance(event, TimedOut) else type(event) for event in SAMPLES}
    assert {key for _, key in keeper.TABLE} == known


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_happens_there_is_one_ear_and_always_a_deadline(data: st.DataObject) -> None:
    world = World(muted=data.draw(st.booleans(), label="muted"))
    for _ in range(data.draw(st.integers(1, 40), label="steps")):
        world.feed(data.draw(st.sampled_from(world.possible()), label="event"))
        allowed = keeper.TIMERS[world.state]
        assert set(world.timers) <= allowed, "a timer outlived its state"
        assert world.timers.keys() & allowed or not allowed, "stuck: nothing will ever happen"
        if world.state in (State.MUTED, State.FINISHED):
            assert world.ear in ("", "killed", "over")
    settle(world.feed(MuteRequested()))
    assert world.state in (State.MUTED, State.FINISHED)
    settle(world.feed(StopRequested()))
    assert world.state is State.FINISHED


def settle(world: World) -> None:
    """Let a stop be obeyed by nobody, and a kill by everybody."""
    while world.state in (State.MUTING, State.STOPPING):
        if world.ear == "killed":
            world.feed(CRASHED)
        else:
            world.feed(TimedOut(TimerName.OBEY))


# Hearing


def test_an_ear_that_opens_is_announced_once() -> None:
    world = hearing()
    assert world.state is State.HEARING
    assert world.notices() == [Notice.LISTENING]
    assert "USB Audio" in world.told[0].message


def test_speech_and_a_growing_number_of_blocks_are_the_only_signs_of_hearing() -> None:
    world = hearing().feed(HealthSeen(10, 0.0))
    assert world.effects == [StartTimer(TimerName.ALIVE, 3.0)]
    assert world.feed(HealthSeen(10, 0.0)).effects == []
    assert world.feed(AudioSeen()).effects == [StartTimer(TimerName.ALIVE, 3.0)]


def test_an_ear_that_goes_deaf_is_killed_and_started_again_at_once() -> None:
    world = hearing().feed(TimedOut(TimerName.ALIVE))
    assert world.state is State.RESTARTING
    assert KillEar() in world.effects
    assert world.feed(CRASHED).state is State.STARTING
    assert world.spawned == 2
    assert world.feed(OPENED).notices() == [Notice.LISTENING, Notice.LOST, Notice.RETURNED]


def test_a_source_that_gives_no_first_block_in_time_is_tried_again_and_again() -> None:
    world = World(Pace("the microphone", 7.0))
    assert world.timers == {TimerName.FIRST_BLOCK: 7.0}
    for _ in range(50):
        world.feed(TimedOut(TimerName.FIRST_BLOCK), CRASHED)
        if world.state is State.FAULTED:
            world.feed(TimedOut(TimerName.RETRY))
    assert world.state is State.STARTING
    assert world.spawned == 51
    assert world.notices() == [Notice.LOST], "one episode, one warning"
    assert "first_block_s" in world.told[0].remedy


def test_restarts_come_at_once_first_and_never_spin() -> None:
    waits = [backoff_s(failures) for failures in range(1, 100)]
    assert waits[0] == 0.0
    assert waits == sorted(waits)
    assert min(waits[1:]) >= 0.5
    assert max(waits[:30]) + 1.0 <= 3.0, "back within 3 s, the ear's own start included"


def test_an_ear_that_crashes_every_time_is_announced_ever_more_seldom() -> None:
    world = hearing()
    for _ in range(64):
        world.feed(CRASHED)
        if world.state is State.FAULTED:
            world.feed(TimedOut(TimerName.RETRY))
        world.feed(OPENED)
    assert world.notices().count(Notice.LOST) == 11, "1 to 8, 16, 32, 64"
    assert world.notices().count(Notice.RETURNED) == 11


def test_failures_are_forgotten_after_ten_seconds_of_hearing() -> None:
    world = hearing().feed(CRASHED, OPENED)
    assert world.timers[TimerName.STABLE] == 10.0
    world.feed(TimedOut(TimerName.STABLE), CRASHED)
    assert world.state is State.STARTING, "again a first failure"


def test_a_minute_of_zeros_is_one_warning_and_its_end_is_told() -> None:
    world = hearing()
    for second in range(1, 200):
        world.feed(HealthSeen(second * 10, float(second)))
    assert world.notices() == [Notice.LISTENING, Notice.SILENT]
    world.feed(HealthSeen(2000, 0.3), HealthSeen(2010, 0.0))
    assert world.notices() == [Notice.LISTENING, Notice.SILENT, Notice.SOUND]


def test_a_restart_does_not_end_the_silence() -> None:
    world = hearing().feed(HealthSeen(600, 61.0), CRASHED, OPENED, HealthSeen(10, 1.0))
    assert Notice.SOUND not in world.notices()


# Loss and return


def test_a_lost_device_is_announced_once_and_named_and_its_return_once() -> None:
    world = hearing().feed(ABSENT)
    for _ in range(10):
        world.feed(TimedOut(TimerName.RETRY), ABSENT)
    world.feed(TimedOut(TimerName.RETRY), OPENED)
    assert world.notices() == [Notice.LISTENING, Notice.LOST, Notice.RETURNED]
    assert world.told[1] == Announce(Notice.LOST, ABSENT.message, ABSENT.remedy)
    assert "USB Audio" in world.told[2].message


def test_a_loss_found_out_in_two_steps_is_one_loss_and_its_cause() -> None:
    world = hearing().feed(TimedOut(TimerName.ALIVE), CRASHED, ABSENT)
    assert world.notices()[1:] == [Notice.LOST, Notice.STILL_LOST]


def test_a_device_that_is_absent_from_the_start_is_announced_and_waited_for() -> None:
    world = World().feed(ABSENT)
    assert world.state is State.ABSENT
    assert world.notices() == [Notice.LOST]


def test_an_absent_card_is_looked_for_every_30_seconds_but_for_the_first_time() -> None:
    world = World(CARD)
    waits = []
    for _ in range(4):
        world.feed(ABSENT)
        waits.append(world.timers[TimerName.RETRY])
        world.feed(TimedOut(TimerName.RETRY))
    assert waits == [2.0, 30.0, 30.0, 30.0]


def test_an_absent_sound_server_is_asked_every_2_seconds_and_less_after_five_minutes() -> None:
    world = World(SERVER)
    waits = []
    for _ in range(160):
        world.feed(ABSENT)
        waits.append(world.timers[TimerName.RETRY])
        world.feed(TimedOut(TimerName.RETRY))
    assert set(waits[:150]) == {2.0}
    assert set(waits[150:]) == {10.0}


def test_a_busy_device_is_tried_every_5_seconds() -> None:
    world = World().feed(BUSY)
    assert world.state is State.BUSY
    assert world.timers == {TimerName.RETRY: BUSY_S}


@pytest.mark.parametrize("fault", [ABSENT, BUSY, FaultReported(FaultKind.DENIED, "no access")])
def test_a_change_of_devices_is_looked_at_when_it_has_settled(fault: FaultReported) -> None:
    world = World().feed(fault, DeviceChanged(), DeviceChanged())
    assert world.timers == {TimerName.RETRY: SETTLE_S}
    assert world.feed(TimedOut(TimerName.RETRY)).state is State.STARTING


def test_a_change_of_devices_while_the_ear_looks_makes_it_look_again_soon() -> None:
    world = World().feed(DeviceChanged(), ABSENT)
    assert world.timers == {TimerName.RETRY: SETTLE_S}


def test_trouble_stays_visible_while_it_is_tried_again() -> None:
    world = World().feed(ABSENT, TimedOut(TimerName.RETRY))
    assert world.state is State.STARTING
    assert world.keeper.shown is State.ABSENT
    assert world.feed(OPENED).keeper.shown is State.HEARING


@pytest.mark.parametrize("kind", [FaultKind.FILE, FaultKind.FORMAT, FaultKind.AMBIGUOUS])
def test_a_source_that_cannot_be_used_is_faulted_and_tried_every_30_seconds(
    kind: FaultKind,
) -> None:
    world = World().feed(FaultReported(kind, "no"))
    assert world.state is State.FAULTED
    assert world.timers == {TimerName.RETRY: 30.0}


def test_a_command_that_ended_by_itself_is_started_again_at_once() -> None:
    world = hearing().feed(FaultReported(FaultKind.COMMAND, "arecord ended"), CRASHED)
    assert world.state is State.STARTING


def test_an_ear_that_reported_a_fault_is_not_waited_for() -> None:
    assert KillEar() in hearing().feed(ABSENT).effects


# Mute


def test_mute_asks_a_hearing_ear_to_end_its_utterance_and_is_true_when_it_is_gone() -> None:
    world = hearing().feed(SpeechChanged(True), MuteRequested())
    assert world.effects[-2:] == [SendStop(StopMode.MUTE), StartTimer(TimerName.OBEY, 2.0)]
    assert world.state is State.MUTING
    done = world.feed(SpeechChanged(False), FinishedReported(), EarExited("exit code 0"))
    assert done.state is State.MUTED
    assert world.notices()[-1] is Notice.MUTED


def test_an_ear_that_does_not_obey_is_killed_and_then_it_is_muted() -> None:
    world = hearing().feed(MuteRequested(), TimedOut(TimerName.OBEY))
    assert KillEar() in world.effects
    assert world.state is State.MUTING
    assert world.feed(CRASHED).state is State.MUTED


def test_muted_is_never_claimed_while_the_ear_cannot_be_killed() -> None:
    world = hearing().feed(MuteRequested(), TimedOut(TimerName.OBEY))
    for _ in range(5):
        world.feed(TimedOut(TimerName.DIE))
    assert world.state is State.MUTING
    assert world.notices().count(Notice.STUCK) == 1


@pytest.mark.parametrize("before", [(), (ABSENT,), (BUSY,), (CRASHED,), (OPENED,)])
def test_mute_and_unmute_work_in_every_state(before: tuple[Event, ...]) -> None:
    world = World().feed(*before, MuteRequested())
    settle(world)
    assert world.state is State.MUTED
    again = world.feed(MuteRequested(), DeviceChanged(), UnmuteRequested())
    assert again.state is State.STARTING
    assert world.feed(OPENED).state is State.HEARING


def test_a_mute_that_is_taken_back_at_once_opens_the_device_again() -> None:
    world = hearing().feed(MuteRequested(), UnmuteRequested(), EarExited("exit code 0"))
    assert world.state is State.STARTING
    assert Notice.MUTED not in world.notices()


def test_a_daemon_that_was_muted_starts_muted_and_opens_nothing() -> None:
    world = World(muted=True)
    assert world.state is State.MUTED
    assert world.spawned == 0


def test_an_outage_that_mute_interrupts_is_over() -> None:
    world = hearing().feed(ABSENT, MuteRequested(), UnmuteRequested(), OPENED)
    assert world.notices()[-1] is Notice.LISTENING, "not RETURNED: nobody misses it"


# Settings, stop, end


def test_new_settings_restart_the_ear_between_utterances_only() -> None:
    world = hearing().feed(SpeechChanged(True), SettingsChanged(SERVER))
    assert world.state is State.HEARING
    world.feed(SpeechChanged(False))
    assert world.effects[-2] == SendStop(StopMode.STOP)
    assert world.feed(EarExited("exit code 0")).state is State.STARTING
    assert world.keeper.pace == SERVER


def test_new_settings_are_tried_at_once_when_nothing_is_heard() -> None:
    assert World().feed(ABSENT, SettingsChanged(SERVER)).state is State.STARTING


def test_a_stop_lets_the_ear_hand_over_what_it_has() -> None:
    world = hearing().feed(StopRequested())
    assert SendStop(StopMode.STOP) in world.effects
    assert world.feed(EarExited("exit code 0")).state is State.FINISHED


def test_a_stop_does_not_wait_for_an_ear_that_cannot_be_killed() -> None:
    world = hearing().feed(StopRequested(), TimedOut(TimerName.OBEY), TimedOut(TimerName.DIE))
    assert world.state is State.FINISHED
    assert LoseEar() in world.effects


def test_the_end_of_a_file_finishes_the_keeper() -> None:
    world = hearing().feed(FinishedReported(), EarExited("exit code 0"))
    assert world.state is State.FINISHED
    assert world.notices()[-1] is Notice.ENDED
