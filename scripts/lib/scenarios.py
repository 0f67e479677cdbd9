"""What the installed service is put through; one function each, in this order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from scripts.lib.container import wait_until
from scripts.lib.doctor_scenarios import (
    doctor_finds_nothing_wrong_and_disturbs_nothing,
    doctor_names_a_unit_that_was_weakened,
    doctor_says_what_another_user_may_not_see,
    doctor_says_why_the_service_does_not_run,
    reloads_in_mid_sentence_lose_nothing,
)
from scripts.lib.room import (
    CONFIG_REJECTED,
    DEVICE_BACK,
    DEVICE_LOST,
    FINAL,
    LONG,
    MICROPHONE,
    UNIT,
    Room,
    ScenarioError,
)


def starts_and_gets_ready(room: Room) -> str:
    """Systemctl start returns once the service is ready."""
    room.machine.run("systemctl", "start", MICROPHONE)
    room.configure({})
    begun = time.monotonic()
    room.machine.run("systemctl", "start", UNIT, timeout_s=90)
    took = time.monotonic() - begun
    _expect(room.machine.show(UNIT, "ActiveState") == "active", "the unit is active")
    _expect(room.machine.show(UNIT, "StatusText") != "", "the unit has a status line")
    user = room.machine.run("ps", "-o", "user=", "-p", str(room.main_pid())).strip()
    _expect(user == "stt-edge", f"it runs as stt-edge, not {user}")
    room.wait_hearing()
    return f"ready after {took:.1f} s: {room.machine.show(UNIT, 'StatusText')}"


def speech_becomes_a_journal_entry_and_a_line(room: Room) -> str:
    """The journal entry has its structured fields, and is the JSONL line."""
    since, before = room.machine.now_us(), len(room.records())
    room.speak("short")
    record = room.wait_records(before)[0]
    entries = room.machine.journal("-u", UNIT, FINAL, since_us=since)
    _expect(len(entries) == 1, f"one journal entry, not {len(entries)}")
    entry = entries[0]
    for name, value in (
        ("MESSAGE", record["text"]),
        ("STT_TEXT", record["text"]),
        ("STT_UTTERANCE_ID", record["id"]),
        ("STT_PROVIDER", record["provider"]),
        ("STT_START", record["start"]),
    ):
        _expect(entry.get(name) == value, f"{name} is {value!r}, not {entry.get(name)!r}")
    log = room.machine.root / "var/log/stt-edge/transcripts.jsonl"
    mode = log.stat().st_mode & 0o777
    _expect(mode == 0o640, f"transcripts.jsonl has mode 640, not {mode:o}")
    return f"heard {record['text']!r}, {record['latency_ms']} ms after the last word"


def reload_takes_up_new_gate_settings(room: Room) -> str:
    """A good configuration counts from the next utterance on."""
    room.configure({"vad": {"hangover_ms": 2500}})
    room.machine.run("systemctl", "reload", UNIT)
    time.sleep(2)
    before, main = len(room.records()), room.main_pid()
    room.speak("short")
    latency = room.wait_records(before)[0]["latency_ms"]
    _expect(latency >= 2400, f"the pause of 2500 ms is waited for (latency {latency} ms)")
    _expect(room.main_pid() == main, "it is still the same process")
    return f"latency with a hangover of 2500 ms: {latency} ms"


def reload_keeps_the_old_configuration_when_the_new_one_is_bad(room: Room) -> str:
    """The journal names the place of the mistake, and the service goes on."""
    since, before, main = room.machine.now_us(), len(room.records()), room.main_pid()
    room.write_configuration("audio:\n  device: mic\n  chanel: 0\n")
    room.machine.run("systemctl", "reload", UNIT, check=False)
    entries: list[dict[str, Any]] = []

    def rejected() -> bool:
        entries[:] = room.machine.journal(CONFIG_REJECTED, since_us=since)
        return bool(entries)

    wait_until(rejected, 10, "the journal says that the configuration is rejected")
    said = " ".join(entry["MESSAGE"] for entry in entries)
    _expect("/etc/stt-edge.yaml:3:3" in said, f"file, line and column are named: {said}")
    room.speak("short")
    room.wait_records(before)
    _expect(room.main_pid() == main, "it is still the same process")
    return said.splitlines()[0]


def stop_transcribes_what_was_said_until_then(room: Room) -> str:
    """Systemctl stop in the middle of an utterance loses nothing that was spoken."""
    before = len(room.records())
    speaking = room.begin_to_speak("long")
    time.sleep(6)
    begun = time.monotonic()
    room.machine.run("systemctl", "stop", UNIT)
    took = time.monotonic() - begun
    speaking.wait()
    result = room.machine.show(UNIT, "Result")
    _expect(result == "success", f"the stop is clean, not {result}")
    _expect(took < 20, f"it stops within TimeoutStopSec, not in {took:.1f} s")
    records = room.records()[before:]
    spoken = sum(record["duration_ms"] for record in records)
    room.machine.run("systemctl", "start", UNIT)
    records = records or room.wait_records(before)
    _expect(bool(records), "there is a record of it")
    _expect(
        spoken >= 4000, f"at least 4 of 6 seconds were recorded before the end, not {spoken} ms"
    )
    return f"stopped in {took:.1f} s, {spoken} ms of speech transcribed"


def sound_server_ends_and_comes_back(room: Room) -> str:
    """An unplugged microphone is reported once, its return once, and it is heard again."""
    since, before, main = room.machine.now_us(), len(room.records()), room.main_pid()
    room.machine.run("systemctl", "stop", MICROPHONE)
    time.sleep(12)
    _expect(room.machine.show(UNIT, "ActiveState") == "active", "the service goes on")
    room.machine.run("systemctl", "start", MICROPHONE)
    back = room.wait_hearing()
    room.speak("short")
    room.wait_records(before)
    lost = len(room.machine.journal(DEVICE_LOST, since_us=since))
    found = len(room.machine.journal(DEVICE_BACK, since_us=since))
    _expect((lost, found) == (1, 1), f"loss and return are reported once each, not {lost}, {found}")
    _expect(room.main_pid() == main, "it is still the same process")
    return f"hearing again {back:.1f} s after the return"


def microphone_is_deaf_for_ten_seconds(room: Room) -> str:
    """A stream that stays open and delivers nothing is noticed, and cured."""
    before, main = len(room.records()), room.main_pid()
    room.suspend(deaf=True)
    time.sleep(10)
    hears = room.hears()
    room.suspend(deaf=False)
    back = room.wait_hearing()
    room.speak("short")
    room.wait_records(before)
    _expect(not hears, "while it is deaf, status does not say that it hears")
    _expect(room.main_pid() == main, "it is still the same process")
    return f"hearing again {back:.1f} s after the end of the suspension"


def ear_is_killed(room: Room) -> str:
    """A crash of the ear costs what is said until it is back, and nothing else."""
    return _after_the_ear_gets(room, "KILL")


def ear_hangs(room: Room) -> str:
    """An ear that hangs is ended and started again."""
    return _after_the_ear_gets(room, "STOP")


def main_is_stopped_while_somebody_speaks(room: Room) -> str:
    """Twenty seconds without main, speech all the while: nothing is lost."""
    before, main, restarts = len(room.records()), room.main_pid(), room.restarts()
    room.signal(main, "STOP")
    speaking = room.begin_to_speak("long")
    time.sleep(20)
    room.signal(main, "CONT")
    speaking.wait()
    records = room.wait_records(before, 60)
    lost = sum(record["lost_ms"] for record in records)
    words = sum(len(record["text"].split()) for record in records)
    _expect(lost == 0, f"no sound is lost, not {lost} ms")
    _expect(words >= 0.7 * len(LONG.split()), f"{words} of {len(LONG.split())} words came")
    _expect((room.main_pid(), room.restarts()) == (main, restarts), "main was not restarted")
    return f"{words} words of {len(LONG.split())}, lost 0 ms"


def main_is_killed_in_mid_sentence(room: Room) -> str:
    """What was heard before a crash is transcribed by the next run, and marked as cut off."""
    before, restarts = len(room.records()), room.restarts()
    speaking = room.begin_to_speak("long")
    time.sleep(6)
    room.signal(room.main_pid(), "KILL")
    killed = time.monotonic()
    wait_until(lambda: room.restarts() > restarts, 10, "systemd starts it again")
    room.wait_hearing()
    back = time.monotonic() - killed
    speaking.wait()
    # Live speech is not kept waiting for what was left behind: order records by start.
    records = room.wait_records(before)
    first, *others = sorted(records, key=lambda record: str(record["start"]))
    _expect(first["truncated"], "the record of the first part says that its end is missing")
    heard = first["duration_ms"]
    _expect(heard >= 5000, f"at least 5 of 6 seconds survived the crash, not {heard} ms")
    _expect(bool(others), "what was said after the crash is heard too")
    return f"{heard} ms of 6 s kept, hearing again after {back:.1f} s"


def watchdog_restarts_a_main_that_hangs(room: Room) -> str:
    """A main that never turns again is ended by systemd; what was said before is transcribed."""
    before, restarts = len(room.records()), room.restarts()
    speaking = room.begin_to_speak("short")
    time.sleep(1)
    room.signal(room.main_pid(), "STOP")
    speaking.wait()
    took = wait_until(lambda: room.restarts() > restarts, 70, "the watchdog ends main")
    room.wait_hearing(60)
    recovered = len(room.wait_records(before))
    before = len(room.records())
    room.speak("short")
    room.wait_records(before)
    return f"started again after {took:.0f} s; {recovered} record of what was said before"


def mute_closes_the_device_and_survives_a_restart(room: Room) -> str:
    """Muted is muted: nothing is heard, nothing is written, until it is unmuted."""
    room.machine.run("stt-edge", "mute")
    room.machine.run("systemctl", "restart", UNIT)
    before = len(room.records())
    room.speak("short")
    time.sleep(5)
    heard = len(room.records()) - before
    clients = room.machine.run(
        "env", "PULSE_SERVER=unix:/run/test-microphone/native", "pactl", "list", "source-outputs"
    )
    room.machine.run("stt-edge", "unmute")
    room.wait_hearing()
    room.speak("short")
    room.wait_records(before + heard)
    _expect(heard == 0, f"{heard} records were written while muted")
    _expect(not clients.strip(), "nobody has the microphone open while muted")
    return "nothing heard while muted, over a restart"


def wrong_configuration_does_not_loop(room: Room) -> str:
    """Exit code 78 ends the service for good until somebody has changed the file."""
    room.machine.run("systemctl", "stop", UNIT)
    room.write_configuration("audio: {device: mic}\nvad: [\n")
    room.machine.run("systemctl", "start", UNIT, check=False)
    time.sleep(2)
    code = room.machine.show(UNIT, "ExecMainStatus")
    state = room.machine.show(UNIT, "ActiveState")
    _expect(code == "78", f"the exit code is 78, not {code}")
    _expect(state == "failed", f"the unit has failed, not {state}")
    return "exit code 78, not started again"


def nothing_went_wrong_unnoticed(room: Room) -> str:
    """No traceback in the journal, and no record twice in the file."""
    texts = [str(entry.get("MESSAGE", "")) for entry in room.machine.journal("-u", UNIT)]
    tracebacks = [text for text in texts if "Traceback" in text]
    _expect(not tracebacks, f"tracebacks in the journal: {tracebacks[:1]}")
    ids = [record["id"] for record in room.records()]
    _expect(len(ids) == len(set(ids)), "every record is there once")
    return f"{len(ids)} records, {len(texts)} journal entries"


SCENARIOS: Final[tuple[Callable[[Room], str], ...]] = (
    starts_and_gets_ready,
    speech_becomes_a_journal_entry_and_a_line,
    reload_takes_up_new_gate_settings,
    reload_keeps_the_old_configuration_when_the_new_one_is_bad,
    reloads_in_mid_sentence_lose_nothing,
    doctor_finds_nothing_wrong_and_disturbs_nothing,
    doctor_names_a_unit_that_was_weakened,
    doctor_says_what_another_user_may_not_see,
    doctor_says_why_the_service_does_not_run,
    stop_transcribes_what_was_said_until_then,
    sound_server_ends_and_comes_back,
    microphone_is_deaf_for_ten_seconds,
    ear_is_killed,
    ear_hangs,
    main_is_stopped_while_somebody_speaks,
    main_is_killed_in_mid_sentence,
    watchdog_restarts_a_main_that_hangs,
    mute_closes_the_device_and_survives_a_restart,
    wrong_configuration_does_not_loop,
    nothing_went_wrong_unnoticed,
)


def _after_the_ear_gets(room: Room, signal: str) -> str:
    before, main, ear = len(room.records()), room.main_pid(), room.ear_pid()
    room.signal(ear, signal)
    took = wait_until(lambda: _another_ear(room, ear), 15, "another ear is started")
    room.wait_hearing()
    room.speak("short")
    room.wait_records(before)
    _expect(room.main_pid() == main, "main is still the same process")
    return f"another ear after {took:.1f} s"


def _another_ear(room: Room, old: int) -> bool:
    return room.ear_pid() not in (0, old)


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise ScenarioError(f"expected: {what}")
