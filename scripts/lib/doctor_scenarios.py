"""What doctor and reload do beside a running service, under a real systemd."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from scripts.lib.room import LONG, UNIT, Room, ScenarioError

_DROP_IN: Final = f"/etc/systemd/system/{UNIT}.d/weaker.conf"


def doctor_finds_nothing_wrong_and_disturbs_nothing(room: Room) -> str:
    """As root, beside the service that speaks with somebody: nothing fails, nothing is lost."""
    before, main, ear = len(room.records()), room.main_pid(), room.ear_pid()
    speaking = room.begin_to_speak("long")
    time.sleep(3)
    found = doctor(room)
    speaking.wait()
    lost = sum(record["lost_ms"] for record in room.wait_records(before))
    failing = {each["name"]: each["message"] for each in found if each["level"] == "fail"}
    expect(not failing, f"nothing fails, not {failing}")
    names = {each["name"] for each in found}
    expect({"daemon", "unit", "device", "level", "vad", "store"} <= names, f"all is there: {names}")
    device = next(each["message"] for each in found if each["name"] == "device")
    expect("not opened here" in device, f"the device is asked of the service: {device}")
    expect(lost == 0, f"no sound is lost, not {lost} ms")
    expect((room.main_pid(), room.ear_pid()) == (main, ear), "nothing was restarted")
    doubts = sorted({each["name"] for each in found if each["level"] == "warn"})
    return f"{len(found)} findings; doubts: {', '.join(doubts) or 'none'}"


def doctor_names_a_unit_that_was_weakened(room: Room) -> str:
    """A drop-in that opens the sandbox, and a store that root has taken over, are named."""
    folder = room.machine.root / _DROP_IN.lstrip("/")
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("[Service]\nProtectSystem=no\nWatchdogSec=0\n")
    room.machine.run("systemctl", "daemon-reload")
    room.machine.run("systemctl", "restart", UNIT, timeout_s=90)
    room.machine.run("chown", "root", "/var/lib/stt-edge/store.db")
    try:
        found = doctor(room)
    finally:
        folder.unlink()
        room.machine.run("chown", "stt-edge", "/var/lib/stt-edge/store.db")
        room.machine.run("systemctl", "daemon-reload")
        room.machine.run("systemctl", "restart", UNIT, timeout_s=90)
    text = "\n".join(each["message"] for each in found if each["level"] != "ok")
    for said in ("ProtectSystem=no", _DROP_IN, "No watchdog is set", "store.db"):
        expect(said in text, f"{said} is named in: {text}")
    return "sandbox, watchdog and owner are named"


def doctor_says_what_another_user_may_not_see(room: Room) -> str:
    """As nobody, it does not fail where it cannot look; it says so."""
    found = doctor(room, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    doubts = {each["name"]: each["message"] for each in found if each["level"] == "warn"}
    expect("may not" in doubts.get("daemon", ""), f"the socket may not be used: {doubts}")
    expect("may not" in doubts.get("store", ""), f"the store may not be seen: {doubts}")
    own = doctor(room, "setpriv", "--reuid=stt-edge", "--regid=stt-edge", "--init-groups")
    failing = {each["name"]: each["message"] for each in own if each["level"] == "fail"}
    expect(not failing, f"for the service's own user nothing fails, not {failing}")
    return ", ".join(sorted(doubts))


def doctor_says_why_the_service_does_not_run(room: Room) -> str:
    """Stopped by a wrong configuration: the mistake is found; stopped: that it does not run."""
    room.machine.run("systemctl", "stop", UNIT)
    stopped = {each["name"]: each for each in doctor(room)}
    expect(stopped["daemon"]["level"] == "fail", f"it does not run: {stopped['daemon']}")
    expect(stopped["device"]["level"] == "ok", f"the device is opened now: {stopped['device']}")
    return str(stopped["daemon"]["remedy"])


def reloads_in_mid_sentence_lose_nothing(room: Room) -> str:
    """Three reloads with other gate settings while somebody speaks: every sample is heard."""
    before, main = len(room.records()), room.main_pid()
    speaking = room.begin_to_speak("long")
    for hangover_ms in (700, 800, 900):
        time.sleep(3)
        room.configure({"vad": {"hangover_ms": hangover_ms}})
        room.machine.run("systemctl", "reload", UNIT)
    speaking.wait()
    records = room.wait_records(before, 60)
    lost = sum(record["lost_ms"] for record in records)
    words = sum(len(record["text"].split()) for record in records)
    expect(lost == 0, f"no sound is lost, not {lost} ms")
    expect(words >= 0.7 * len(LONG.split()), f"{words} of {len(LONG.split())} words came")
    expect(room.main_pid() == main, "it is still the same process")
    return f"{words} words of {len(LONG.split())}, lost 0 ms"


def doctor(room: Room, *as_whom: str) -> list[dict[str, Any]]:
    """Return what ``stt-edge doctor --json`` finds inside."""
    said = room.machine.run(*as_whom, "stt-edge", "doctor", "--json", check=False, timeout_s=150)
    expect(bool(said), "doctor says something")
    found: list[dict[str, Any]] = json.loads(said)["findings"]
    return found


def expect(holds: bool, what: str) -> None:
    """Raise ScenarioError unless something holds."""
    if not holds:
        raise ScenarioError(f"expected: {what}")
