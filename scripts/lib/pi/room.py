"""The installed service on the emulated machine, with a card that can be spoken into."""

from __future__ import annotations

import json
from typing import Any, Final

from scripts.lib.pi.machine import Machine
from scripts.lib.room import UNIT, ScenarioError

CARD: Final = "Loopback"
MOUTH: Final = f"plughw:CARD={CARD},DEV=0"
EAR: Final = f"plughw:CARD={CARD},DEV=1"
JSONL: Final = "/var/log/stt-edge/transcripts.jsonl"
CONFIGURATION: Final = "/etc/stt-edge.yaml"


class PiRoom:
    """The machine with the service and its microphone; every wait has its limit."""

    def __init__(self, machine: Machine) -> None:
        """Take a booted machine with the package installed."""
        self.machine = machine

    def configure(self, **changes: Any) -> None:
        """Write the configuration: the loopback's other end, no second stage, and what is given.

        An emulated processor takes longer over a second of Silero than a second, and what is said
        meanwhile would be lost: 33 to 65 ms for 32 ms of sound.
        """
        here = {"audio": {"device": EAR}, "vad": {"confirm": "none"}}
        self.machine.write(CONFIGURATION, json.dumps({**here, **changes}))
        self.machine.run(f"chmod 644 {CONFIGURATION}")

    def restart(self, **changes: Any) -> None:
        """Start the service anew with a configuration, as on a fresh machine."""
        self.machine.run(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}", check=False)
        self.configure(**changes)
        self.machine.run(f"systemctl start {UNIT}", timeout_s=90)
        self.wait_hearing()

    def speak(self, name: str) -> None:
        """Play a recording into the microphone, to its end."""
        self.machine.run(f"aplay -q -D {MOUTH} /srv/{name}.wav")

    def begin_to_speak(self, name: str, times: int = 1) -> int:
        """Play a recording into the microphone and do not wait; return the player's id."""
        files = " ".join([f"/srv/{name}.wav"] * times)
        return self.machine.spawn(f"exec aplay -q -D {MOUTH} {files}")

    def wait_end(self, pid: int, timeout_s: float = 120) -> None:
        """Wait until a process has ended."""
        ended = f"timeout {timeout_s:g} tail --pid={pid} -f /dev/null"
        self.machine.run(ended, timeout_s=timeout_s + 10)

    def records(self) -> list[dict[str, Any]]:
        """Return all records of the JSONL file."""
        text = self.machine.run(f"cat {JSONL}", check=False)
        return [json.loads(line) for line in text.splitlines()]

    def wait_records(
        self, before: int, count: int = 1, *, each_s: float = 180
    ) -> list[dict[str, Any]]:
        """Return the records after the first ``before``: ``count`` or more, once none is due.

        Waits ``each_s`` for each of them: how long decoding takes grows with what there is.
        """
        timeout_s = count * each_s
        self.machine.wait_until(
            lambda: self._lines() >= before + count, timeout_s, f"{count} records are written"
        )
        self.wait_idle(timeout_s)
        return self.records()[before:]

    def wait_idle(self, timeout_s: float = 180) -> None:
        """Wait until nobody speaks and nothing waits for its transcript."""
        self.machine.wait_until(self._is_idle, timeout_s, "everything heard is transcribed")

    def status(self) -> dict[str, Any]:
        """Return what ``stt-edge status --json`` says; nothing while it does not run."""
        said = self.machine.run("stt-edge status --json", check=False)
        answer: dict[str, Any] = json.loads(said) if said else {}
        return answer

    def spool(self) -> list[dict[str, Any]]:
        """Return what ``stt-edge spool ls --json`` says."""
        found: list[dict[str, Any]] = json.loads(self.machine.run("stt-edge spool ls --json"))
        return found

    def hears(self) -> bool:
        """Return whether the unit's status line says so."""
        return self.show("StatusText").startswith("hearing")

    def wait_hearing(self, timeout_s: float = 60) -> None:
        """Wait until the service says that it hears."""
        self.machine.wait_until(self.hears, timeout_s, "it hears")

    def show(self, name: str, unit: str = UNIT) -> str:
        """Return a property of a unit."""
        return self.machine.run(f"systemctl show --value -p {name} {unit}").strip()

    def restarts(self) -> int:
        """Return how often systemd has started the service again by itself."""
        return int(self.show("NRestarts"))

    def journal(self, matches: str, after_s: float = 0) -> list[dict[str, Any]]:
        """Return the entries of this boot that match, from ``Machine.uptime_s`` of then on."""
        said = self.machine.run(f"journalctl -q --no-pager -b -o json {matches}")
        entries = [json.loads(line) for line in said.splitlines()]
        return [entry for entry in entries if monotonic_s(entry) >= after_s]

    def wait_entry(self, matches: str, after_s: float, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for the first entry that matches, and return it."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.journal(matches, after_s)
            return bool(found)

        self.machine.wait_until(there, timeout_s, f"the journal has {matches}")
        return found[0]

    def _lines(self) -> int:
        return int(self.machine.run(f"cat {JSONL} | wc -l", check=False) or 0)

    def _is_idle(self) -> bool:
        status = self.status()
        if not status:
            return False
        return not status["speech"]["open"] and status["backlog"]["utterances"] == 0


def monotonic_s(entry: dict[str, Any]) -> float:
    """Return when an entry was written, in seconds since the start of the kernel."""
    return int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6


def expect(holds: bool, what: str) -> None:
    """Raise ScenarioError unless something holds."""
    if not holds:
        raise ScenarioError(f"expected: {what}")
