"""The keeper at work: real ears (fake ones, but real processes), a real log, a real loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from stt_edge.clock import SystemClock
from stt_edge.ear import wire
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.errors import FaultKind
from stt_edge.model import EndReason
from stt_edge.service import ear_keeper, keeper
from stt_edge.service.ear_keeper import EarKeeper, pace_of
from stt_edge.service.ear_reader import EarEvent, EarGone, EarReader, EarSaid
from stt_edge.service.intake import Losses, UtteranceEnded, UtteranceGrew, UtteranceOpened
from stt_edge.service.keeper_terms import Announce, Notice, Pace, State
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.ear import (
    BLOCK,
    Act,
    FakeEar,
    deaf,
    die,
    fault,
    finish,
    hang,
    health,
    hear,
    opened,
    pcm_of,
    speak,
    utterance,
    wait_for,
)

PACE = Pace("the microphone", first_block_s=5.0, absent_s=0.1)


class House:
    """A keeper, and everything it did."""

    def __init__(self, directory: Path, *lives: list[Act]) -> None:
        self.fake = FakeEar(directory, *lives)
        self.log = UtteranceLog(directory / "hot")
        self.losses = Losses()
        self.events: list[EarEvent] = []
        self.told: list[Announce] = []
        self._changed = asyncio.Event()
        self.keeper = EarKeeper(
            EarSettings(),
            PACE,
            self.log,
            clock=SystemClock(),
            losses=self.losses,
            on_event=self._take,
            announce=self.told.append,
            command=self.fake.command,
        )

    def _take(self, event: EarEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, *kinds: type[EarEvent], times: int = 1) -> EarEvent:
        """Wait until so many events of a kind have come; return the last of them."""
        async with asyncio.timeout(20):
            while (
                len(found := [event for event in self.events if isinstance(event, kinds)]) < times
            ):
                self._changed.clear()
                await self._changed.wait()
            return found[-1]

    async def state(self, *states: State) -> None:
        async with asyncio.timeout(20):
            await self.keeper._reach(*states)

    def notices(self) -> list[Notice]:
        return [announcement.notice for announcement in self.told]

    def audio(self, name: str) -> bytes:
        return b"".join(span.pcm for span in self.log.read(name, 0, 10**9))

    @property
    def pid(self) -> int:
        pid = self.keeper.status().pid
        assert pid is not None
        return pid


class MakeHouse(Protocol):
    """Builds a keeper whose ears live the given lives."""

    def __call__(self, *lives: list[Act]) -> House: ...


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[MakeHouse]:
    made: list[House] = []

    def make(*lives: list[Act]) -> House:
        made.append(House(tmp_path, *lives))
        return made[-1]

    yield make
    for each in made:
        await each.keeper.stop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    for name in ("ALIVE_S", "OBEY_S", "DIE_S"):
        monkeypatch.setattr(keeper, name, 0.3)
    monkeypatch.setattr(keeper, "STABLE_S", 60.0)


HEARING = [opened(), hear()]


async def test_a_keeper_hears_and_says_how_it_is(house: MakeHouse) -> None:
    home = house(HEARING)
    home.keeper.start(muted=False)
    assert not home.keeper.reported.is_set()
    await home.until(wire.Health, times=3)
    assert home.keeper.reported.is_set()
    status = home.keeper.status()
    assert (status.state, status.device, status.rate) == ("hearing", "Fake microphone", 48_000)
    assert (status.level_db, status.noise_db, status.restarts) == (-42.5, -61.0, 0)
    assert status.trouble == ""
    assert home.keeper.overdue_s() == 0.0


async def test_speech_reaches_the_log_and_the_loop(house: MakeHouse) -> None:
    home = house([opened(), utterance(20), hear()])
    home.keeper.start(muted=False)
    end = await home.until(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert home.audio(end.id) == pcm_of(0, 20)


async def test_growth_is_told_again_each_time_it_has_been_seen(
    house: MakeHouse, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    home = house([opened(), utterance(1, end=None), wait_for(more), utterance(1), hear()])
    home.keeper.start(muted=False)
    await home.until(UtteranceGrew)
    more.touch()
    await home.until(UtteranceGrew, times=2)


@pytest.mark.usefixtures("hasty")
async def test_a_deaf_ear_is_killed_and_started_again(house: MakeHouse) -> None:
    home = house([opened(), health(1), deaf()], HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Opened, times=2)
    assert home.notices() == [Notice.LISTENING, Notice.LOST, Notice.RETURNED]
    assert "Nothing was heard for" in home.told[-1].message
    assert home.keeper.status().restarts == 1


@pytest.mark.usefixtures("hasty")
async def test_speech_is_a_sign_of_hearing_where_health_finds_no_way_through(
    house: MakeHouse,
) -> None:
    home = house([opened(), speak(10, 0.1), hear()])
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    assert home.fake.born == 1


@pytest.mark.usefixtures("hasty")
async def test_a_stopped_ear_is_killed_and_its_utterance_ends_as_lost(house: MakeHouse) -> None:
    home = house([opened(), utterance(5, end=None), hear()], HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    os.kill(home.pid, signal.SIGSTOP)
    end = await home.until(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert (end.tail.reason, end.tail.end) == (EndReason.DEVICE, 5 * BLOCK)
    await home.until(wire.Opened, times=2)
    assert home.keeper.state is State.HEARING


async def test_a_killed_ear_is_back_at_once_and_the_loss_is_known(house: MakeHouse) -> None:
    home = house(HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    os.kill(home.pid, signal.SIGKILL)
    await home.until(wire.Opened, times=2)
    assert home.losses.take() > 0


async def test_an_ear_that_crashes_at_once_every_time_never_spins(house: MakeHouse) -> None:
    home = house([die(1)])
    home.keeper.start(muted=False)
    await home.until(EarGone, times=3)
    assert home.fake.born == 3, "at once, after 0.5 s; the next after 1 s"
    assert home.keeper.state is State.FAULTED
    assert home.notices()[0] is Notice.LOST


async def test_a_program_that_cannot_be_started_is_trouble_and_no_exception(
    house: MakeHouse,
) -> None:
    home = house(HEARING)
    home.keeper._command = ("/nonexistent/ear",)
    home.keeper.start(muted=False)
    await home.state(State.FAULTED)
    assert "cannot be started" in home.keeper.status().trouble
    assert home.keeper.reported.is_set()


async def test_an_absent_device_is_waited_for_and_its_return_is_told_once(
    house: MakeHouse,
) -> None:
    gone = [fault(FaultKind.ABSENT, "There is no capture device 'USB'.")]
    home = house(HEARING[:1] + gone, gone, gone, HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Fault)
    assert home.keeper.status().state == "absent"
    assert home.keeper.status().trouble.startswith("There is no capture device 'USB'.")
    assert home.keeper.status().level_db is None
    await home.until(wire.Opened, times=2)
    assert home.notices() == [Notice.LISTENING, Notice.LOST, Notice.RETURNED]


async def test_a_device_plugged_in_is_tried_without_waiting(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = house([fault(FaultKind.DENIED, "no access")], HEARING)
    home.keeper.start(muted=False)
    await home.state(State.FAULTED)
    home.keeper.devices_changed()
    await home.until(wire.Opened)
    assert home.keeper.state is State.HEARING


async def test_while_a_device_is_away_an_ear_is_ready_and_it_is_the_one_that_hears(
    house: MakeHouse,
) -> None:
    home = house([fault(FaultKind.DENIED, "no access")], HEARING)
    home.keeper.start(muted=False)
    await home.state(State.FAULTED)
    ready = home.keeper._starter._ready
    assert ready is not None
    assert home.fake.born == 1, "it opens nothing before there is something to hear"
    home.keeper.devices_changed()
    await home.until(wire.Opened)
    assert home.pid == ready.process.result().pid
    assert home.keeper._starter._ready is None


async def test_who_mutes_while_the_device_is_away_leaves_no_ear_behind(house: MakeHouse) -> None:
    home = house([fault(FaultKind.DENIED, "no access")], HEARING)
    home.keeper.start(muted=False)
    await home.state(State.FAULTED)
    ready = home.keeper._starter._ready
    assert ready is not None
    await home.keeper.mute()
    process = ready.process.result()
    async with asyncio.timeout(20):
        while process._process.returncode is None:
            await asyncio.sleep(0.01)
    home.keeper.unmute()
    await home.until(wire.Opened)
    assert home.pid != process.pid


async def test_mute_in_the_middle_of_speech_hands_over_what_was_said_and_closes(
    house: MakeHouse,
) -> None:
    home = house([opened(), utterance(8, end=None), hear()])
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    pid = home.pid
    await home.keeper.mute()
    assert home.keeper.state is State.MUTED
    assert not Path(f"/proc/{pid}").exists(), "the process, and with it the device, is gone"
    end = await home.until(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert end.tail.reason is EndReason.MUTE
    assert home.audio(end.id) == pcm_of(0, 8)
    home.keeper.unmute()
    await home.until(wire.Opened, times=2)


async def test_what_is_said_while_muted_is_no_loss(house: MakeHouse) -> None:
    home = house(HEARING, [opened(), utterance(1), hear()])
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    await home.keeper.mute()
    home.keeper.unmute()
    head = await home.until(UtteranceOpened)
    assert isinstance(head, UtteranceOpened)
    assert head.head.lost_before == 0


@pytest.mark.usefixtures("hasty")
async def test_an_ear_that_does_not_obey_mute_is_killed(house: MakeHouse) -> None:
    home = house([opened(), utterance(3, end=None), hang()])
    home.keeper.start(muted=False)
    await home.until(UtteranceGrew)
    await home.keeper.mute()
    assert home.keeper.state is State.MUTED
    end = await home.until(UtteranceEnded)
    assert isinstance(end, UtteranceEnded)
    assert end.tail.end == 3 * BLOCK


async def test_a_muted_keeper_starts_no_ear_and_is_ready(house: MakeHouse) -> None:
    home = house(HEARING)
    home.keeper.start(muted=True)
    assert home.keeper.reported.is_set()
    assert home.keeper.muted
    assert home.fake.born == 0
    assert home.keeper.overdue_s() == 0.0


async def test_a_stop_hands_over_the_utterance_in_hand(house: MakeHouse) -> None:
    home = house([opened(), utterance(8, end=None), hear()])
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    await home.keeper.stop()
    (end,) = [event for event in home.events if isinstance(event, UtteranceEnded)]
    assert end.tail.reason is EndReason.STOP
    assert home.audio(end.id) == pcm_of(0, 8)


async def test_the_end_of_a_file_is_the_end(house: MakeHouse) -> None:
    home = house([opened(), utterance(3), finish()])
    home.keeper.start(muted=False)
    async with asyncio.timeout(20):
        await home.keeper.finished()
    assert home.notices()[-1] is Notice.ENDED
    assert any(isinstance(event, UtteranceEnded) for event in home.events)


async def test_new_gate_settings_are_sent_to_the_ear_and_the_device_stays_open(
    house: MakeHouse,
) -> None:
    home = house(HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    home.keeper.reload(EarSettings(gate=wire.GateSettings(hangover_ms=900)), PACE)
    assert await home.until(EarSaid) == EarSaid("command GateSettings")
    assert home.keeper.state is State.HEARING


async def test_a_new_device_waits_for_the_end_of_the_utterance(
    house: MakeHouse, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    home = house(
        [opened("old"), utterance(2, end=None), wait_for(go), utterance(2), hear()], HEARING
    )
    home.keeper.start(muted=False)
    await home.until(UtteranceGrew)
    home.keeper.reload(EarSettings(SourceSettings(device="new")), PACE)
    assert home.keeper.state is State.HEARING
    go.touch()
    await home.until(wire.Opened, times=2)
    (end,) = [event for event in home.events if isinstance(event, UtteranceEnded)]
    assert end.tail.reason is EndReason.SILENCE
    assert home.keeper.status().device == "Fake microphone"


async def test_a_new_device_waits_for_the_end_of_speech_that_goes_on(
    house: MakeHouse, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    cut = [wait_for(first), utterance(1, end="max-length"), wait_for(second)]
    home = house([opened(), utterance(1, end=None), *cut, utterance(1, continues=True), hear()])
    home.keeper.start(muted=False)
    await home.until(UtteranceGrew)
    home.keeper.reload(EarSettings(SourceSettings(device="new")), PACE)
    first.touch()
    await home.until(UtteranceEnded)
    assert home.keeper.state is State.HEARING
    second.touch()
    await home.until(UtteranceEnded, times=2)
    await home.until(wire.Opened, times=2)


async def test_a_deadline_noticed_late_waits_for_what_the_ear_has_to_say(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a SIGSTOP of main (or of the machine), its reader is as late as its loop.
    monkeypatch.setattr(keeper, "ALIVE_S", 0.3)
    home = house(HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    os.kill(home.pid, signal.SIGSTOP)
    time.sleep(0.3 + ear_keeper.LATE_S + 0.3)
    os.kill(home.pid, signal.SIGCONT)
    seen = sum(isinstance(event, wire.Health) for event in home.events)
    await home.until(wire.Health, times=seen + 10)
    assert home.notices() == [Notice.LISTENING]
    assert home.fake.born == 1


@pytest.mark.parametrize("goes_on", [True, False])
async def test_what_the_ear_has_said_is_read_before_it_is_called_deaf(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    # After a SIGSTOP of main that ended just before the deadline, nobody is late.
    monkeypatch.setattr(keeper, "ALIVE_S", 0.3)
    monkeypatch.setattr(ear_keeper, "CATCH_UP_S", 0.4)
    reads = threading.Event()
    reads.set()
    read_pipe = EarReader._read_pipe
    monkeypatch.setattr(EarReader, "_read_pipe", lambda reader: reads.wait() and read_pipe(reader))
    home = house(HEARING, HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    reads.clear()
    await asyncio.sleep(0.5)  # beyond the deadline, within the grace
    assert home.notices() == [Notice.LISTENING]
    if goes_on:
        reads.set()
        seen = sum(isinstance(event, wire.Health) for event in home.events)
        await home.until(wire.Health, times=seen + 10)
        assert home.notices() == [Notice.LISTENING]
        assert home.fake.born == 1
    else:  # a reader that hangs is no excuse for ever
        async with asyncio.timeout(5):
            while home.notices() != [Notice.LISTENING, Notice.LOST]:
                await asyncio.sleep(0.05)
        reads.set()


async def test_a_state_whose_deadline_passed_unnoticed_is_overdue(house: MakeHouse) -> None:
    home = house(HEARING)
    home.keeper.start(muted=False)
    await home.until(wire.Health)
    home.keeper._timers.clear()
    assert home.keeper.overdue_s() == float("inf")


async def test_counters_run_on_over_a_restart(house: MakeHouse) -> None:
    home = house([opened(), health(4), die(1)], [opened(), health(2), hear(5.0)])
    home.keeper.start(muted=False)
    await home.until(wire.Opened, times=2)
    await home.until(wire.Health, times=6)
    status = home.keeper.status()
    assert (status.openings, status.rejections, status.lost_ms) == (6, 4, 20)


async def test_two_openings_of_speech_are_two_utterances(house: MakeHouse) -> None:
    home = house([opened(), utterance(3, end="max-length"), utterance(3, continues=True), hear()])
    home.keeper.start(muted=False)
    await home.until(UtteranceEnded, times=2)
    heads = [event.head for event in home.events if isinstance(event, UtteranceOpened)]
    assert [head.continues for head in heads] == [False, True]
    assert heads[0].id < heads[1].id


def test_the_pace_follows_from_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asound = tmp_path / "asound.conf"
    asound.write_text("pcm.mic { type pulse }\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(asound))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pace_of(SourceSettings(), 9.0) == Pace("the microphone", 9.0, 30.0)
    assert pace_of(SourceSettings("hw:1,0"), 9.0).absent_s == 30.0
    assert pace_of(SourceSettings("mic"), 9.0) == Pace("the microphone 'mic'", 9.0, 2.0)
    assert pace_of(SourceSettings("microphone"), 9.0).absent_s == 30.0
    assert pace_of(SourceSettings("pulse:kitchen"), 9.0).absent_s == 2.0
    assert pace_of(SourceSettings(file="a.wav"), 9.0).source == "a.wav"
    assert pace_of(SourceSettings(command=("arecord", "-q")), 9.0).source == "the command arecord"
