"""What the package is put through, from installation to purge; one after the other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

from scripts.lib.container import wait_until
from scripts.lib.package_room import NAME, PackageRoom
from scripts.lib.room import UNIT, ScenarioError
from scripts.lib.scenarios import speech_becomes_a_journal_entry_and_a_line

_KEY: Final = "/etc/stt-edge/credentials/deepgram"
_WITHOUT_KEY: Final = {
    "providers": [{"name": "deepgram", "api_key_file": "/etc/stt-edge/credentials/still-to-come"}]
}


_NOBODY_LISTENS: Final = "ws://127.0.0.1:9"
_DROP_INS: Final = "/etc/systemd/system/stt-edge.service.d"
_EXAMPLES: Final = "/usr/share/doc/stt-edge/examples"


def is_installed_and_purged_where_no_systemd_runs(room: PackageRoom) -> str:
    """In a chroot, as where an image is built: everything but starting."""
    chroot = ["chroot", str(room.root), "env", "DEBIAN_FRONTEND=noninteractive"]
    for command in (("dpkg", "--install", "/srv/packages/old.deb"), ("dpkg", "--purge", NAME)):
        done = subprocess.run([*chroot, *command], capture_output=True, text=True, check=False)
        _expect(done.returncode == 0, f"{command[1]} succeeds: {done.stderr[-300:]}")
    left = sorted(room.files() - room.before)
    _expect(not left, f"nothing is left: {left[:5]}")
    return "nothing left"


def installation_starts_the_service(room: PackageRoom) -> str:
    """Apt install is all there is to do: it runs, and will after a reboot."""
    begun = time.monotonic()
    room.install("old")
    took = time.monotonic() - begun
    machine = room.machine
    _expect(machine.show(UNIT, "ActiveState") == "active", "the unit is active")
    _expect(machine.show(UNIT, "UnitFileState") == "enabled", "the unit is enabled")
    started = int(machine.show(UNIT, "ExecMainStartTimestampMonotonic"))
    ready_ms = (int(machine.show(UNIT, "ActiveEnterTimestampMonotonic")) - started) / 1000
    said = machine.run("journalctl", "--list-catalog", "--no-pager")
    _expect("An utterance was transcribed" in said, "journalctl -x knows its events")
    for page in ("/usr/share/man/man1/stt-edge.1.gz", "/usr/share/man/man5/stt-edge.yaml.5.gz"):
        _expect((room.root / page.lstrip("/")).is_file(), f"there is {page}")
    kind = machine.show(UNIT, "Type")
    later = int(machine.run("systemctl", "--version").split()[1]) >= 254
    _expect(kind == ("notify-reload" if later else "notify"), f"not the type {kind}")
    return f"installed in {took:.0f} s, {kind}, ready {ready_ms:.0f} ms after its start"


def files_belong_to_root_and_keys_to_the_service(room: PackageRoom) -> str:
    """The service can change nothing of its program, and others read no keys."""
    mode = room.machine.run("stat", "-c", "%U:%G %a", "/etc/stt-edge/credentials").strip()
    _expect(mode == "root:stt-edge 750", f"credentials are root:stt-edge 750, not {mode}")
    search = ("find", "/opt/stt-edge", "(", "-not", "-user", "root", "-o", "-not", "-group", "root")
    odd = room.machine.run(*search, ")").split()
    odd += room.machine.run("find", "/opt/stt-edge", "-perm", "/022", "-not", "-type", "l").split()
    _expect(not odd, f"all of the program is root's alone: {odd[:3]}")
    groups = room.machine.run("id", "-nG", "stt-edge").split()
    _expect(set(groups) == {"stt-edge", "audio"}, f"it is in its group and in audio: {groups}")
    score = room.machine.run("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    return score.strip("→ ").partition(":")[2].strip(" 🙂😀😐")


def main_has_shut_itself_out_of_the_sound_devices(room: PackageRoom) -> str:
    """Where the kernel has Landlock, the system-call filter lets main use it; else it is said."""
    ask = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"
    has_landlock = int(room.machine.run("python3", "-c", ask)) > 0
    # Everybody may write there, but for Landlock.
    room.machine.run("mkdir", "-p", "-m", "777", "/dev/snd")
    since = room.machine.now_us()
    room.room.configure({"sinks": {"jsonl": {"path": "/dev/snd/probe.jsonl"}}})
    room.machine.run("systemctl", "restart", UNIT)
    found: list[str] = []

    def is_refused() -> bool:
        texts = [str(e.get("MESSAGE")) for e in room.machine.journal("-u", UNIT, since_us=since)]
        sign = "/dev/snd/probe.jsonl" if has_landlock else "could open sound devices"
        found[:] = [text for text in texts if sign in text]
        return bool(found)

    wait_until(is_refused, 20, "the journal says that it may not, or that it could")
    _expect("Permission denied" in found[0] or not has_landlock, f"it may not: {found[0]}")
    return found[0]


def speech_is_transcribed(room: PackageRoom) -> str:
    """With the engine that comes along, and no configuration but the microphone's name."""
    room.room.configure({})
    room.machine.run("systemctl", "restart", UNIT)
    room.room.wait_hearing()
    return speech_becomes_a_journal_entry_and_a_line(room.room)


def keys_can_be_systemd_credentials(room: PackageRoom) -> str:
    """With the drop-in as it comes along, a key that root alone may read reaches the provider."""
    key = room.root / _KEY.lstrip("/")
    key.write_text("not-a-key\n", encoding="utf-8")
    key.chmod(0o600)
    room.machine.run("mkdir", "-p", _DROP_INS)
    room.machine.run("cp", f"{_EXAMPLES}/20-credentials.conf", _DROP_INS)
    room.machine.run("systemctl", "daemon-reload")
    deepgram = {"name": "deepgram", "api_key_file": "deepgram", "url": _NOBODY_LISTENS}
    room.room.configure({"providers": [deepgram]})
    since, before = room.machine.now_us(), len(room.room.records())
    room.machine.run("systemctl", "restart", UNIT)
    room.room.wait_hearing()
    room.room.speak("short")
    texts: list[str] = []

    def has_tried() -> bool:
        entries = room.machine.journal("-u", UNIT, since_us=since)
        texts[:] = [text for e in entries if "provider deepgram is" in (text := str(e["MESSAGE"]))]
        return bool(texts)

    wait_until(has_tried, 30, "the provider is tried")
    room.machine.run("rm", "-r", _DROP_INS)
    room.machine.run("systemctl", "daemon-reload")
    room.room.configure({})
    room.machine.run("systemctl", "restart", UNIT)
    room.room.wait_records(before, 60)
    _expect("is down" in texts[0], f"the key was read and the address tried: {texts[0]}")
    return texts[0]


def extra_parts_say_what_they_need(room: PackageRoom) -> str:
    """Without pip it is said how to get it; nothing is missing where nothing was added."""
    command = 'stt-edge-extra aws 2>&1; echo "exit code $?"; stt-edge-extra --check'
    said = room.machine.run("sh", "-c", command)
    _expect("apt install python3-pip" in said, f"it says what to install: {said}")
    _expect("exit code 69" in said, f"it says that something is not there: {said}")
    return said.splitlines()[0]


def upgrade_keeps_the_configuration_and_speech_that_waits(room: PackageRoom) -> str:
    """What was spoken while no provider could be used is transcribed by the next version."""
    (room.root / _KEY.lstrip("/")).write_text("not-a-key\n", encoding="utf-8")
    room.room.configure(_WITHOUT_KEY)
    room.machine.run("systemctl", "reload", UNIT)
    before, main = len(room.room.records()), room.room.main_pid()
    room.room.speak("short")
    time.sleep(3)
    _expect(len(room.room.records()) == before, "there is no record yet")
    room.install("new")
    version = room.installed_version()
    _expect(version == room.version, f"{room.version} is installed, not {version}")
    _expect(room.room.main_pid() not in (0, main), "another process serves now")
    _expect(not room.room.configure(_WITHOUT_KEY), "the configuration is as it was")
    room.room.configure({})
    room.machine.run("systemctl", "reload", UNIT)
    record = room.room.wait_records(before, 60)[0]
    _expect(record["delayed"], "the record says that it is late")
    room.room.wait_hearing()
    return f"transcribed after the upgrade: {record['text']!r}"


def upgrade_with_a_wrong_configuration_goes_on_as_before(room: PackageRoom) -> str:
    """The service that runs goes on; what is wrong is said."""
    main = room.room.main_pid()
    room.room.write_configuration("audio:\n  device: mic\n  chanel: 0\n")
    said = room.apt("install", "--reinstall", "/srv/packages/new.deb")
    _expect("/etc/stt-edge.yaml:3:3" in said, f"the mistake and its place are named: {said[-400:]}")
    _expect("goes on with the program it has" in said, f"it says what it does: {said[-400:]}")
    _expect(room.room.main_pid() == main, "it is still the same process")
    return next(line for line in said.splitlines() if "yaml:3:3" in line)


def wrong_configuration_is_not_started(room: PackageRoom) -> str:
    """An installation that finds a wrong configuration succeeds, and starts nothing."""
    room.machine.run("systemctl", "stop", UNIT)
    said = room.apt("install", "--reinstall", "/srv/packages/new.deb")
    _expect("was not started" in said, f"it says so: {said[-400:]}")
    state = room.machine.show(UNIT, "ActiveState")
    _expect(state == "inactive", f"the unit is inactive, not {state}")
    room.room.configure({})
    return next(line for line in said.splitlines() if "was not started" in line)


def store_of_a_later_version_is_refused(room: PackageRoom) -> str:
    """Exit code 78, said in the journal, not tried again: the store stays as it is."""
    store = "/var/lib/stt-edge/store.db"
    change = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    change += "version = c.execute('PRAGMA user_version').fetchone()[0]; "
    change += "c.execute(f'PRAGMA user_version = {version + int(sys.argv[2])}')"
    room.machine.run("python3", "-c", change, store, "1")
    since = room.machine.now_us()
    room.machine.run("systemctl", "start", UNIT, check=False)
    code = ""

    def has_ended() -> bool:
        nonlocal code
        code = room.machine.show(UNIT, "ExecMainStatus")
        return room.machine.show(UNIT, "ActiveState") == "failed"

    wait_until(has_ended, 20, "the service gives up")
    texts = [str(e.get("MESSAGE")) for e in room.machine.journal("-u", UNIT, since_us=since)]
    room.machine.run("python3", "-c", change, store, "-1")
    room.machine.run("systemctl", "reset-failed", UNIT)
    room.machine.run("systemctl", "start", UNIT)
    _expect(code == "78", f"the exit code is 78, not {code}")
    said = [text for text in texts if "written by a later version" in text]
    _expect(bool(said), f"the journal says why: {texts[-4:]}")
    return said[0]


def instance_has_everything_of_its_own(room: PackageRoom) -> str:
    """stt-edge@kitchen beside stt-edge: configuration, directories and socket."""
    (room.root / "etc/stt-edge/kitchen.yaml").write_text("audio: {device: mic}\n", encoding="utf-8")
    room.machine.run("systemctl", "enable", "--now", "stt-edge@kitchen", timeout_s=90)

    def hears() -> bool:
        said = room.machine.run("stt-edge", "status", "--instance", "kitchen", check=False)
        return "hearing" in said

    wait_until(hears, 30, "the instance hears")
    _expect((room.root / "var/lib/stt-edge-kitchen/store.db").is_file(), "it has its own store")
    return "hears beside the other one"


def remove_stops_it_and_keeps_what_was_said(room: PackageRoom) -> str:
    """The program goes; configuration, keys and transcripts stay."""
    records = len(room.room.records())
    room.apt("remove", NAME)
    left = sorted(_processes(room))
    _expect(not left, f"nothing of it runs: {left}")
    _expect(not (room.root / "opt/stt-edge").exists(), "/opt/stt-edge is gone")
    _expect((room.root / "etc/stt-edge.yaml").is_file(), "the configuration is there")
    _expect((room.root / _KEY.lstrip("/")).is_file(), "the key is there")
    _expect(len(room.room.records()) == records, "the transcripts are there")
    return f"{records} records are still there"


def reinstallation_goes_on_where_it_was(room: PackageRoom) -> str:
    """The same configuration, the same transcripts, and it hears."""
    records = len(room.room.records())
    room.install("new")
    room.room.wait_hearing()
    room.room.speak("short")
    text = room.room.wait_records(records)[0]["text"]
    return f"heard {text!r}"


def purge_leaves_nothing(room: PackageRoom) -> str:
    """Every file that was not there before is gone."""
    room.apt("purge", NAME)
    _expect(not _processes(room), "nothing of it runs")
    left = [*sorted(room.files() - room.before), *room.remains()]
    _expect(not left, f"nothing is left: {left[:8]}")
    gone = sorted(room.before - room.files())
    _expect(not gone, f"nothing else is gone: {gone[:8]}")
    return f"the same {len(room.before)} files as before"


SCENARIOS: Final[tuple[Callable[[PackageRoom], str], ...]] = (
    is_installed_and_purged_where_no_systemd_runs,
    installation_starts_the_service,
    files_belong_to_root_and_keys_to_the_service,
    main_has_shut_itself_out_of_the_sound_devices,
    speech_is_transcribed,
    keys_can_be_systemd_credentials,
    extra_parts_say_what_they_need,
    upgrade_keeps_the_configuration_and_speech_that_waits,
    upgrade_with_a_wrong_configuration_goes_on_as_before,
    wrong_configuration_is_not_started,
    store_of_a_later_version_is_refused,
    instance_has_everything_of_its_own,
    remove_stops_it_and_keeps_what_was_said,
    reinstallation_goes_on_where_it_was,
    purge_leaves_nothing,
)


def _processes(room: PackageRoom) -> list[str]:
    return room.machine.run("ps", "-u", NAME, "-o", "pid=,args=", check=False).splitlines()


def _expect(holds: Any, what: str) -> None:
    if not holds:
        raise ScenarioError(f"expected: {what}")
