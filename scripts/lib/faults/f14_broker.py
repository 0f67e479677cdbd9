"""F14: a hundred thousand records wait while the broker is away; then it comes back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import SttEdgeError
from stt_edge.ids import uuid7
from stt_edge.model import Record
from stt_edge.service.control_client import ask
from stt_edge.store.codec import record_to_body
from stt_edge.store.store import Store

NAME: Final = "F14"
TITLE: Final = "the broker is away while 100,000 records wait, then it is back"

RECORDS: Final = 100_000
QUICK_RECORDS: Final = 1_000
LARGEST_RISE_MB: Final = 5.0
_NODE: Final = "f14"
_WATCHER: Final = ("-i", "watcher", "-c", "-q", "1", "-t", f"stt-edge/{_NODE}/transcript")
_SETTLE_S: Final = 10.0
_PATIENCE_S: Final = 1800.0
_SILENCE: Final = (
    "import sys, time\nwhile True: sys.stdout.buffer.write(bytes(3200)); "
    "sys.stdout.buffer.flush(); time.sleep(0.1)"
)


def run(work: Path, quick: bool) -> str:
    """Deliver all of them, in order, in no more memory; returns the figures."""
    records = QUICK_RECORDS if quick else RECORDS
    house = _House(work)
    wanted = house.fill(records)
    with house.broker(), house.watcher(), contextlib.suppress(AssertionError):
        house.heard(1, patience_s=1)  # from now on the broker keeps messages for the watcher
    with house.daemon() as daemon:
        before_mb = house.settled_mb(daemon.pid, 2.0 if quick else _SETTLE_S)
        with house.broker(), house.watcher():
            begun = time.monotonic()
            daemon.send_signal(signal.SIGHUP)  # tries at once
            peak_mb = house.until_delivered(daemon.pid)
            took_s = time.monotonic() - begun
            heard = house.heard(records, patience_s=120)
    rise_mb = peak_mb - before_mb
    distinct = list(dict.fromkeys(heard))
    assert set(distinct) == set(wanted), f"{len(set(wanted) - set(distinct))} records are missing"
    assert distinct == wanted, "the order is not kept"
    assert rise_mb < LARGEST_RISE_MB, f"memory rose by {rise_mb:.1f} MB from {before_mb:.1f} MB"
    return (
        f"{records} records waited, all delivered in order in {took_s:.0f} s "
        f"({records / took_s:.0f}/s), {len(heard) - len(distinct)} twice, "
        f"memory {before_mb:.1f} MB + {rise_mb:.1f} MB"
    )


class _House:
    """The folders and the processes of one run."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._port = _free_port()
        self._heard = work / "heard"
        for name in ("run", "state", "log", "broker"):
            (work / name).mkdir(mode=0o700, parents=True)

    def fill(self, records: int) -> list[str]:
        """Put records into the store, none of which the sink has had; return their ids."""
        path = self._work / "state" / "store.db"
        store = Store.open(path)
        store.set_cursor("mqtt", 0)
        store.close()
        made = [_record(number) for number in range(records)]
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.executemany(
                "INSERT INTO records (id, utterance_id, body) VALUES (?, ?, ?)",
                ((each.id, each.id, record_to_body(each)) for each in made),
            )
        return [each.id for each in made]

    @contextlib.contextmanager
    def broker(self) -> Iterator[None]:
        """Run a mosquitto that forgets nothing."""
        configuration = self._work / "broker" / "mosquitto.conf"
        lines = [
            f"listener {self._port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self._work / 'broker'}/",
            "max_queued_messages 0",
            "user root",
        ]
        configuration.write_text("\n".join(lines) + "\n")
        with (self._work / "broker" / "log").open("ab") as log:
            process = subprocess.Popen(
                [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(configuration)],
                stdout=log,
                stderr=log,
            )
        try:
            _await_port(self._port)
            yield
        finally:
            process.terminate()
            process.wait(60)

    @contextlib.contextmanager
    def watcher(self) -> Iterator[None]:
        """Listen; what comes in between two of them waits in the broker for the second."""
        program = ["mosquitto_sub", "-p", str(self._port), *_WATCHER]
        with self._heard.open("ab") as output:
            process = subprocess.Popen(program, stdout=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def heard(self, records: int, *, patience_s: float) -> list[str]:
        """Return the ids of all messages in their order, once there are enough of them."""
        _await(lambda: self._heard.read_bytes().count(b"\n") >= records, patience_s)
        return [json.loads(line)["id"] for line in self._heard.read_bytes().splitlines()]

    @contextlib.contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon with the broker as its only sink, in a room where nobody speaks."""
        configuration = self._work / "stt-edge.yaml"
        configuration.write_text(json.dumps(self._configuration()))
        environment = {
            **os.environ,
            "RUNTIME_DIRECTORY": str(self._work / "run"),
            "STATE_DIRECTORY": str(self._work / "state"),
            "LOGS_DIRECTORY": str(self._work / "log"),
        }
        with (self._work / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stt_edge", "run", "-c", str(configuration)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def settled_mb(self, pid: int, seconds: float) -> float:
        """Return the most memory of a daemon that has looked for its broker a few times."""
        _await(lambda: self._sink().get("state") == "down", 60)
        return max(_memory_mb(pid) for _ in _ticks(seconds))

    def until_delivered(self, pid: int) -> float:
        """Return the most memory of a daemon, from now until nothing waits."""
        peak_mb = 0.0
        for _ in _ticks(_PATIENCE_S):
            peak_mb = max(peak_mb, _memory_mb(pid))
            sink = self._sink()
            if sink.get("state") == "ok" and sink.get("pending") == 0:
                return peak_mb
        raise AssertionError(f"not all were delivered within {_PATIENCE_S:.0f} s: {self._sink()}")

    def _configuration(self) -> dict[str, Any]:
        return {
            "node": _NODE,
            "audio": {"command": [sys.executable, "-c", _SILENCE]},
            "sinks": {"mqtt": {"url": f"mqtt://127.0.0.1:{self._port}"}},
            "store": {"max_mb": 1000},
        }

    def _sink(self) -> dict[str, Any]:
        with contextlib.suppress(SttEdgeError):
            status = ask([self._work / "run" / "control.sock"], "status")
            found: dict[str, Any] = status["sinks"].get("mqtt", {})
            return found
        return {}


def _record(number: int) -> Record:
    start = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=0.5 * number)
    return Record(
        id=uuid7(),
        stream="0192f7c4-0000-7000-8000-000000000001",
        start=start,
        end=start + timedelta(seconds=0.4),
        start_sample=8000 * number,
        end_sample=8000 * number + 6400,
        text=f"number {number}: turn on the light in the kitchen, and close the window please",
        provider="f14",
        node=_NODE,
        duration_ms=400,
        speech_ms=300,
        language="en",
        confidence=0.93,
        latency_ms=640,
    )


def _memory_mb(pid: int) -> float:
    """Return how much memory of a process is resident, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the daemon has ended")


def _ticks(seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        yield number
        time.sleep(0.1)


def _await(condition: Any, seconds: float) -> None:
    for _ in _ticks(seconds):
        if condition():
            return
    raise AssertionError(f"it did not come about within {seconds:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    _await(listens, 30)
