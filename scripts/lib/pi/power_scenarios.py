"""Boots without a network, power cuts, and a clock that has never been set."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from scripts.lib.pi.house import LOOPBACK, House
from scripts.lib.pi.room import PiRoom, expect, monotonic_s
from scripts.lib.pi.service_scenarios import STARTED, nobody, quick_engine

STARTED_S: Final = 30.0
"""From the start of userspace to that of the service: an emulated udev takes most of it."""
KEPT_S: Final = 1.0
ROUNDS: Final = 10
_TRANSCRIBED_S: Final = 300.0
"""For a quarter of a minute of speech: an emulated CPU needs 100 s, on a busy host a multiple."""
_NOT_CUT_S: Final = 0.5
"""Between the last sound and the cut: a block on its way, and the answer that tells the time."""
_FIRST_CLOCK: Final = "-rtc base=1970-01-01T00:00:00"


def boots_without_a_network(house: House) -> str:
    """It hears while others still wait for an address."""
    arguments = f"{LOOPBACK} systemd.wants=network-online.target"
    with house.boot(house.disk(), arguments=arguments) as room:
        room.wait_hearing(120)
        waiting = room.machine.run("systemctl is-active network-online.target", check=False).strip()
        expect(waiting == "inactive", f"the network is not there: {waiting}")
        userspace_s = _manager_s(room, "UserspaceTimestampMonotonic")
        begun_s = int(room.show("ExecMainStartTimestampMonotonic")) / 1e6
        heard_s = monotonic_s(room.journal(f"-u stt-edge {STARTED}")[0])
        chain = "systemd-analyze critical-chain stt-edge.service --no-pager | tail -n +4"
        behind = room.machine.run(chain, check=False)
    expect(
        begun_s - userspace_s <= STARTED_S,
        f"started within {STARTED_S:.0f} s, not {begun_s - userspace_s:.1f}: {behind}",
    )
    return (
        f"hearing {heard_s - userspace_s:.1f} s after the start of userspace, "
        f"{heard_s - begun_s:.1f} s of them its own"
    )


def power_cut_in_the_middle_of_offline_speech(house: House) -> str:
    """What was heard before the last second is there at the next boot, and is transcribed."""
    disk = house.disk()
    with house.boot(disk) as room:
        room.restart(**nobody())
        room.speak("short")
        room.machine.wait_until(lambda: _settled(room), 60, "the first utterance waits on the disk")
        cut = _cut_in_mid_speech(room, 9)
    with house.boot(disk) as room:
        survived = _survivors(room, cut)
        missing_s = cut.missing_s(survived)
        expect(missing_s <= KEPT_S + _NOT_CUT_S, f"{KEPT_S:.0f} s may be lost: {missing_s:.2f}")
        before = len(room.records())
        room.restart(**quick_engine())
        records = room.wait_records(before, len(survived), each_s=_TRANSCRIBED_S)
    expect({each["id"] for each in records} == set(survived), "each is transcribed, once")
    last = next(record for record in records if record["id"] == cut.last)
    expect(last["truncated"] and last["delayed"], f"the last one says what happened: {last}")
    return (
        f"{len(survived)} utterances, {sum(survived.values()):.1f} s survived; "
        f"{missing_s:.2f} s before the cut are missing; all transcribed, the last marked truncated"
    )


def ten_power_cuts(house: House) -> str:
    """Offline speech cut short ten times at random moments: nothing older is ever missing."""
    disk, chance = house.disk(), random.Random(6)
    with house.boot(disk) as room:
        room.restart(**nobody())
        cut = _cut_in_mid_speech(room, chance.uniform(3, 9))
    lost_s = []
    for _ in range(ROUNDS - 1):
        with house.boot(disk) as room:
            lost_s.append(cut.missing_s(_survivors(room, cut)))
            room.wait_hearing(120)
            cut = _cut_in_mid_speech(room, chance.uniform(3, 9))
    with house.boot(disk) as room:
        survived = _survivors(room, cut)
        lost_s.append(cut.missing_s(survived))
        before = len(room.records())
        room.restart(**quick_engine())
        records = room.wait_records(before, len(survived), each_s=_TRANSCRIBED_S)
    ids = [each["id"] for each in records]
    expect(sorted(ids) == sorted(survived), "each utterance has one record")
    expect(max(lost_s) <= KEPT_S + _NOT_CUT_S, f"at most {KEPT_S:.0f} s lost each time: {lost_s}")
    return (
        f"{len(lost_s)} cuts, {len(ids)} records, none twice; missing before a cut: "
        f"median {statistics.median(lost_s):.2f} s, most {max(lost_s):.2f} s"
    )


def clock_of_1970(house: House) -> str:
    """Speech from before the clock was set is marked, kept in spite of its age, and told apart."""
    with house.boot(house.disk(), devices=(_FIRST_CLOCK,)) as room:
        machine = room.machine
        booted = machine.run("date -u +%F").strip()
        machine.run("systemctl stop stt-edge; date -s @100000")  # systemd does not let it be 1970
        room.restart(**nobody())
        for _ in range(2):
            room.speak("short")
        room.machine.wait_until(lambda: len(room.spool()) == 2, 90, "two utterances wait")
        then = [each["start"] for each in room.spool()]
        machine.run(f"date -s @{int(time.time())}")
        room.speak("short")
        room.machine.wait_until(lambda: len(room.spool()) == 3, 90, "three utterances wait")
        room.machine.pause(5)
        dropped = room.status()["spool"]["dropped"]
        room.configure(**quick_engine())
        machine.run("systemctl restart stt-edge", timeout_s=90)
        records = room.wait_records(0, 3, each_s=100)
    expect(all(start.startswith("1970-01-02") for start in then), f"it was 1970: {then}")
    expect(dropped == 0, f"nothing is dropped for its age, not {dropped}")
    expect(len({each["id"] for each in records}) == 3, "every id is there once")
    marked = [bool(each["clock_unsynced"]) for each in sorted(records, key=_start)]
    expect(marked == [True, True, False], f"those of 1970 are marked: {marked}")
    expect(all(each["duration_ms"] > 0 for each in records), "durations are positive")
    return f"booted in {booted}; 3 records, {marked.count(True)} marked clock_unsynced, 0 dropped"


def _manager_s(room: PiRoom, name: str) -> float:
    return int(room.machine.run(f"systemctl show --value -p {name}")) / 1e6


@dataclass(frozen=True, slots=True)
class _Cut:
    """What waited when the power was cut, and how far the last utterance had come."""

    waiting_s: dict[str, float]
    """How long each was, a moment before."""
    last: str
    said_s: float

    def missing_s(self, survived_s: dict[str, float]) -> float:
        """Return how much of the last utterance is not there any more."""
        return self.said_s - survived_s.get(self.last, 0.0)


def _cut_in_mid_speech(room: PiRoom, after_s: float) -> _Cut:
    """Cut the power while somebody speaks."""
    begun = len(room.spool())
    room.begin_to_speak("long", times=3)
    room.machine.wait_until(lambda: len(room.spool()) > begun, 30, "the utterance has begun")
    room.machine.pause(after_s)
    waiting = room.spool()
    now_s = float(room.machine.run("date +%s.%N"))
    room.machine.cut_the_power()
    expect(waiting[-1]["state"] == "open", f"somebody spoke at the cut: {waiting[-1]}")
    said_s = now_s - datetime.fromisoformat(waiting[-1]["start"]).timestamp()
    return _Cut({each["id"]: each["seconds"] for each in waiting}, waiting[-1]["id"], said_s)


def _survivors(room: PiRoom, cut: _Cut) -> dict[str, float]:
    """Return what waits after a cut, by id. Raises ScenarioError where too much is missing."""
    room.machine.wait_until(lambda: bool(room.status()), 120, "the service runs")
    room.machine.wait_until(
        lambda: len(room.spool()) >= len(cut.waiting_s), 60, "what waited is there"
    )
    survived = {each["id"]: float(each["seconds"]) for each in room.spool()}
    for utterance_id, seconds in cut.waiting_s.items():
        found_s = survived.get(utterance_id, 0.0)
        expect(
            found_s >= seconds - KEPT_S,
            f"{seconds:.1f} s of {utterance_id} waited before the cut, {found_s:.1f} s after it",
        )
    return survived


def _settled(room: PiRoom) -> bool:
    return [each["on_disk"] for each in room.spool() if each["state"] == "waiting"] == [True]


def _start(record: dict[str, Any]) -> str:
    return str(record["start"])
