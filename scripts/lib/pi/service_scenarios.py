"""The package on the emulated machine: installed as the README says, heard, looked after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from scripts.lib.pi.house import PACKAGE, House
from scripts.lib.pi.room import EAR, JSONL, PiRoom, expect, monotonic_s
from scripts.lib.room import FINAL, UNIT

READY_S: Final = 6.0
QUIET_S: Final = 30.0
STARTED: Final = "MESSAGE_ID=9b93ef53e4c84e7d9fa1186538233594"
_COST: Final = Path(__file__).resolve().parents[1] / "process_cost.py"
_MEASURE: Final = """\
import dataclasses, json, sys, time
sys.path.insert(0, "/srv")
from process_cost import between, descendants, read
pids = descendants(int(sys.argv[1]))
before = read(pids)
time.sleep(float(sys.argv[2]))
print(json.dumps(dataclasses.asdict(between(before, read(pids)))))
"""


def is_installed_by_apt_without_a_network(house: House) -> str:
    """Apt installs the package with what is on the disk, and the service starts by itself."""
    size = house.deb.stat().st_size
    drive = PACKAGE.format(deb=house.deb)
    with house.blank(devices=(drive,)) as room:
        package = f"/home/pi/{house.deb.name}"
        room.machine.run(f"head -c {size} /dev/disk/by-id/virtio-deb > {package}")
        begun_s = room.machine.uptime_s()
        as_pi(room, "sudo apt install ./stt-edge_*.deb", timeout_s=600)
        took_s = room.machine.uptime_s() - begun_s
        expect(room.show("ActiveState") == "active", f"it runs: {room.show('StatusText')}")
        room.wait_hearing()
        said = as_pi(room, "stt-edge --version").strip()
        room.machine.run(f"rm {package}; sync")
    return f"{said}, apt took {took_s:.0f} s"


def starts_and_hears(house: House) -> str:
    """From the start of the process to READY, and until systemctl returns."""
    room = house.room()
    found = [_start(room) for _ in range(3)]
    ready_s = [ready for ready, _ in found]
    times = ", ".join(f"{each:.1f}" for each in ready_s)
    expect(min(ready_s) <= READY_S, f"ready within {READY_S:.0f} s, not {times}")
    active = ", ".join(f"{each:.1f}" for _, each in found)
    return f"READY after {times} s, active after {active} s"


def readme_leads_to_a_transcript(house: House) -> str:
    """The README's steps, letter by letter, with the configuration as it was installed."""
    with house.boot(house.disk()) as room:
        room.wait_hearing()
        listed = as_pi(room, "stt-edge devices")
        expect("Loopback" in listed, f"the card is listed: {listed}")
        # auto takes the card's first device, which hears what is played on the other.
        room.machine.run("aplay -q -D plughw:CARD=Loopback,DEV=1 /srv/short.wav")
        room.wait_records(0, each_s=300)
        said = as_pi(room, "journalctl -t stt-edge -n 1 -o cat").strip()
        text = room.records()[0]["text"]
        expect(said == text, f"the last journal entry is what was said: {said!r}, not {text!r}")
        as_pi(room, "systemctl status stt-edge")
    return f"heard {text!r}; devices: {listed.split(chr(10))[0]}"


def speech_becomes_a_journal_entry(house: House) -> str:
    """Free speech, recognised by the embedded engine, with its structured fields."""
    room = house.room()
    room.restart()
    before, after_s = len(room.records()), room.machine.uptime_s()
    room.speak("short")
    record = room.wait_records(before, each_s=300)[0]
    entries = room.journal(f"-u {UNIT} {FINAL}", after_s)
    expect(len(entries) == 1, f"one journal entry, not {len(entries)}")
    for name, value in (
        ("MESSAGE", record["text"]),
        ("STT_TEXT", record["text"]),
        ("STT_UTTERANCE_ID", record["id"]),
        ("STT_PROVIDER", "pocketsphinx"),
    ):
        expect(entries[0].get(name) == value, f"{name} is {value!r}: {entries[0].get(name)!r}")
    expect(record["lost_ms"] == 0, f"nothing is lost, not {record['lost_ms']} ms")
    return f"heard {record['text']!r}, {record['latency_ms']} ms after the last word"


def journal_explains_itself(house: House) -> str:
    """``journalctl -x`` shows the text of the catalog, with the fields filled in."""
    room = house.room()
    said = as_pi(room, f"journalctl -x -q -u stt-edge {STARTED} -n 1 --no-pager")
    expect("Defined-By" in said or "-- " in said, f"there is an explanation: {said}")
    expect("Subject: " in said and "stt-edge" in said, f"it has a subject: {said}")
    lines = [line for line in said.splitlines() if "Subject:" in line]
    return lines[0].strip("░ -")


def logrotate_moves_the_file_and_nothing_is_lost(house: House) -> str:
    """The next record is in the new file; the one before in the file that was moved away."""
    room = house.room()
    room.restart(**quick_engine())
    before = len(room.records())
    room.speak("short")
    room.wait_records(before)
    room.machine.run("logrotate -f /etc/logrotate.d/stt-edge")
    room.speak("short")
    found = room.wait_records(0)
    old = room.machine.run(f"wc -l < {JSONL}.1").strip()
    rights = room.machine.run(f"stat -c '%U %G %a' {JSONL}").strip()
    expect(int(old) == before + 1, f"{before + 1} records were moved away, not {old}")
    expect(len(found) == 1, f"one record is in the new file, not {len(found)}")
    expect(rights == "stt-edge adm 640", f"owner and mode are kept: {rights}")
    return f"{old} records in transcripts.jsonl.1, 1 in the new file ({rights})"


def doctor_and_devices_tell_the_truth(house: House) -> str:
    """Nothing fails, the device is the one that is heard, and its level is that of the service."""
    room = house.room()
    room.restart(**quick_engine())
    found = json.loads(room.machine.run("stt-edge doctor --json", check=False, timeout_s=240))[
        "findings"
    ]
    failing = {each["name"]: each["message"] for each in found if each["level"] == "fail"}
    expect(not failing, f"nothing fails, not {failing}")
    devices = json.loads(as_pi(room, "sudo stt-edge devices --json"))
    text = json.dumps(devices)
    expect("Loopback" in text, f"the card is listed: {text}")
    expect(room.hears(), "the service hears on")
    doubts = [f"{each['name']} ({each['message']})" for each in found if each["level"] == "warn"]
    return f"{len(found)} findings, doubts: {'; '.join(doubts) or 'none'}"


def costs_little_in_silence(house: House) -> str:
    """CPU time, wake-ups and memory of the whole process tree, beside those of arecord."""
    room = house.room()
    room.restart()
    room.machine.pause(20)  # what is loaded at the start has been let go of by then
    machine = room.machine
    machine.write("/srv/process_cost.py", _COST.read_text(encoding="utf-8"))
    machine.write("/srv/measure.py", _MEASURE)
    ours = _cost(room, int(room.show("MainPID")))
    machine.run(f"systemctl stop {UNIT}")
    record = f"exec arecord -q -D {EAR} -t raw -f S16_LE -r 16000 -c 1 /dev/null"
    player = machine.spawn(record)
    machine.pause(5)
    reference = _cost(room, player)
    machine.run(f"kill {player}; systemctl start {UNIT}", timeout_s=90)
    ratio = ours["cpu_ms_per_s"] / max(reference["cpu_ms_per_s"], 0.001)
    expect(ours["pss_mib"] <= 60, f"at most 60 MiB, not {ours['pss_mib']}")
    wakeups = f"{ours['wakeups_per_s']:.0f} (arecord {reference['wakeups_per_s']:.0f})"
    return (
        f"{ours['cpu_ms_per_s']:.1f} ms CPU a second, {ratio:.1f} x arecord; "
        f"{wakeups} wake-ups a second; PSS {ours['pss_mib']} MiB"
    )


def nobody(**more: Any) -> dict[str, Any]:
    """Return a configuration with a provider that refuses every connection: all speech waits."""
    return {"providers": [{"name": "vosk_server", "url": "ws://127.0.0.1:2"}], **more}


def quick_engine(**more: Any) -> dict[str, Any]:
    """Return a configuration with which the engine keeps up on an emulated processor."""
    return {"providers": [{"name": "pocketsphinx", "grammar": "/srv/words.jsgf"}], **more}


def as_pi(room: PiRoom, command: str, timeout_s: float = 120) -> str:
    """Run a command as the person pi, in its home directory, and return its output."""
    return room.machine.run(f"runuser -l pi -c '{command}'", timeout_s=timeout_s)


def _start(room: PiRoom) -> tuple[float, float]:
    room.machine.run(f"systemctl stop {UNIT}")
    after_s = room.machine.uptime_s()
    room.configure()
    room.machine.run(f"systemctl start {UNIT}", timeout_s=120)
    entry = room.wait_entry(f"-u {UNIT} {STARTED}", after_s, 120)
    begun_s = int(room.show("ExecMainStartTimestampMonotonic")) / 1e6
    active_s = int(room.show("ActiveEnterTimestampMonotonic")) / 1e6
    return monotonic_s(entry) - begun_s, active_s - begun_s


def _cost(room: PiRoom, pid: int) -> dict[str, float]:
    said = room.machine.run(f"python3 /srv/measure.py {pid} {QUIET_S}", timeout_s=QUIET_S + 60)
    cost: dict[str, float] = json.loads(said)
    return cost
