"""The service, installed by hand in a container, with a microphone that can be spoken into."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from scripts.lib.container import Container, ContainerError, wait_until

UNIT: Final = "stt-edge.service"
MICROPHONE: Final = "test-microphone.service"
FINAL: Final = "MESSAGE_ID=7f0e360ab7b144e9aa57cce486704796"
DEVICE_LOST: Final = "MESSAGE_ID=7d34b35882d54097869cccf6a8271b62"
DEVICE_BACK: Final = "MESSAGE_ID=89213907bf064759bc1ebc58dc2e3ba5"
CONFIG_REJECTED: Final = "MESSAGE_ID=e68e97d6511f452db10c9fef6233d167"

SHORT: Final = "hello this is a test of the system"
LONG: Final = (
    "the boy walked down the long road to the old house and the girl came with him because she "
    "wanted to see the river and the green hills and all the people who lived in the little town "
    "on the other side of the bridge where the water is deep and the trees are very tall and in "
    "the evening when the sun went down they came back to the house and sat by the fire"
)

_SOCKET: Final = "/run/test-microphone/native"
_FILES: Final = {
    "etc/test-microphone.pa": f"""\
load-module module-null-sink sink_name=mic rate=16000 channels=1 format=s16le
load-module module-native-protocol-unix socket={_SOCKET} auth-anonymous=1
""",
    "etc/systemd/system/test-microphone.service": """\
[Service]
RuntimeDirectory=test-microphone
Environment=HOME=/run/test-microphone XDG_RUNTIME_DIR=/run/test-microphone
ExecStart=/usr/bin/pulseaudio -n -F /etc/test-microphone.pa --exit-idle-time=-1 \
--daemonize=no --disallow-exit --use-pid-file=no
""",
    "etc/asound.conf": f"""\
pcm.mic {{ type pulse server "unix:{_SOCKET}" device "mic.monitor" }}
ctl.mic {{ type pulse server "unix:{_SOCKET}" }}
""",
}
_LEFT_BEHIND: Final = ("var/lib/stt-edge", "var/log/stt-edge", "var/log/journal", "run/stt-edge")


class ScenarioError(Exception):
    """The service did not do what it promises."""


def install(project: Path, wheels: Path, root: Path) -> None:
    """Install the program into a root file system as the README tells a person to do it."""
    for name in _LEFT_BEHIND:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "var/log/journal").mkdir(parents=True)
    _copy_wheels(wheels, root)
    chroot = ["chroot", str(root)]
    if subprocess.run([*chroot, "id", "stt-edge"], capture_output=True, check=False).returncode:
        useradd = ["useradd", "--system", "--groups", "audio", "--home-dir", "/var/lib/stt-edge"]
        must([*chroot, *useradd, "--shell", "/usr/sbin/nologin", "stt-edge"])
    if not (root / "opt/stt-edge/bin/pip").exists():
        must([*chroot, "python3", "-m", "venv", "/opt/stt-edge"])
    pip = [*chroot, "/opt/stt-edge/bin/pip", "install", "-q", "--no-index", "--find-links=/wheels"]
    must([*pip, "stt-edge[silero,pocketsphinx,systemd,mqtt,resample]"])
    must([*pip, "--no-deps", "--force-reinstall", "stt-edge"])
    for unit in (project / "systemd").glob("*.service"):
        shutil.copy(unit, root / "etc/systemd/system")
    catalog = project / "config" / "stt-edge.catalog"
    if catalog.exists():
        shutil.copy(catalog, root / "usr/lib/systemd/catalog")
        must([*chroot, "journalctl", "--update-catalog"])
    furnish(root)


def furnish(root: Path) -> None:
    """Put a microphone that can be spoken into, and what to say, into a root file system."""
    for name, text in _FILES.items():
        (root / name).write_text(text)
    (root / "srv").mkdir(exist_ok=True)
    for name, text in (("short", SHORT), ("long", LONG)):
        must(["flite", "-voice", "slt", "-t", text, "-o", str(root / "srv" / f"{name}.wav")])


class Room:
    """The machine with the service and the microphone; every wait has its limit."""

    def __init__(self, machine: Container) -> None:
        """Take a booted container in which ``install`` was done before."""
        self.machine = machine
        self._jsonl = machine.root / "var/log/stt-edge/transcripts.jsonl"
        self._configuration = machine.root / "etc/stt-edge.yaml"

    def reset(self) -> None:
        """Bring everything back to where a scenario may begin: heard, idle, default settings."""
        self.machine.run("systemctl", "start", MICROPHONE)
        self.suspend(deaf=False)
        if self.configure({}) or self.machine.show(UNIT, "ActiveState") != "active":
            self.machine.run("systemctl", "reset-failed", check=False)
            self.machine.run("systemctl", "restart", UNIT, timeout_s=90)
        self.wait_hearing()

    def configure(self, changes: dict[str, Any]) -> bool:
        """Write the configuration; return whether it is another one than before."""
        text = json.dumps({"audio": {"device": "mic"}, **changes}, indent=2) + "\n"
        return self.write_configuration(text)

    def write_configuration(self, text: str) -> bool:
        """Write any text as the configuration; return whether it is another one than before."""
        if self._configuration.exists() and self._configuration.read_text() == text:
            return False
        self._configuration.write_text(text)
        self._configuration.chmod(0o644)
        return True

    def speak(self, name: str) -> None:
        """Play a recording into the microphone, to its end."""
        self.machine.run(*self._paplay(name))

    def begin_to_speak(self, name: str) -> subprocess.Popen[bytes]:
        """Play a recording into the microphone and do not wait."""
        return self.machine.spawn(*self._paplay(name))

    def suspend(self, *, deaf: bool) -> None:
        """Make the microphone deaf, or let it hear again."""
        server = f"PULSE_SERVER=unix:{_SOCKET}"
        self.machine.run("env", server, "pactl", "suspend-sink", "mic", "1" if deaf else "0")

    def records(self) -> list[dict[str, Any]]:
        """Return all records of the JSONL file."""
        if not self._jsonl.exists():
            return []
        return [json.loads(line) for line in self._jsonl.read_text().splitlines()]

    def wait_records(self, before: int, timeout_s: float = 30) -> list[dict[str, Any]]:
        """Return the records after the first ``before``, once there is one and no more come."""
        wait_until(lambda: len(self.records()) > before, timeout_s, "a record is written")
        count = 0
        while count != len(self.records()):
            count = len(self.records())
            time.sleep(3)
        return self.records()[before:]

    def status(self) -> dict[str, Any]:
        """Return what ``stt-edge status --json`` says; nothing while it does not run."""
        said = self.machine.run("stt-edge", "status", "--json", check=False)
        answer: dict[str, Any] = json.loads(said) if said else {}
        return answer

    def wait_hearing(self, timeout_s: float = 40) -> float:
        """Wait until the daemon says that it hears; return how long that took."""
        return wait_until(self.hears, timeout_s, "the daemon hears the microphone")

    def main_pid(self) -> int:
        """Return the process id of main, as the container counts."""
        return int(self.machine.show(UNIT, "MainPID"))

    def hears(self) -> bool:
        """Return whether the daemon says that it hears the microphone."""
        return bool(self.status().get("ear", {}).get("state") == "hearing")

    def ear_pid(self) -> int:
        """Return the process id of the ear, as the container counts; 0 while there is none."""
        return int(self.status().get("ear", {}).get("pid") or 0)

    def signal(self, pid: int, name: str) -> None:
        """Send a signal to a process."""
        self.machine.run("kill", "-s", name, str(pid))

    def restarts(self) -> int:
        """Return how often systemd has started the service again by itself."""
        return int(self.machine.show(UNIT, "NRestarts"))

    def _paplay(self, name: str) -> tuple[str, ...]:
        server = f"PULSE_SERVER=unix:{_SOCKET}"
        return ("env", server, "paplay", "--device=mic", "--latency-msec=100", f"/srv/{name}.wav")


def _copy_wheels(wheels: Path, root: Path) -> None:
    shutil.rmtree(root / "wheels", ignore_errors=True)
    shutil.copytree(wheels, root / "wheels")


def must(argv: list[str]) -> None:
    """Run a command. Raises ContainerError, with what it said, when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ContainerError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-600:]}")
