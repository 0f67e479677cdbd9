"""Run ``stt-edge run`` in folders of its own, and watch it as systemd would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_STOP_S: Final = 20.0
"""What the unit allows for a clean stop (TimeoutStopSec)."""


class DaemonError(Exception):
    """The daemon does not start, does not get ready or does not stop; the message says why."""


class Daemon:
    """A running daemon with its own runtime, state and log folders; a context manager."""

    def __init__(self, environment: dict[str, str], audio: dict[str, Any]) -> None:
        """Write a configuration with this ``audio`` section; all else is the default."""
        self.folder = Path(tempfile.mkdtemp(prefix="stt-edge-run-"))
        self.jsonl = self.folder / "log" / "transcripts.jsonl"
        self.config = self.folder / "stt-edge.yaml"
        self.ready_s: float | None = None
        """From the start of the process to READY=1."""
        self.statuses: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        # JSON is YAML, and needs no quoting rules of its own.
        sinks = {"jsonl": {"path": str(self.jsonl)}}
        self.config.write_text(json.dumps({"audio": audio, "sinks": sinks}, indent=2) + "\n")
        for name in ("run", "state", "log"):
            (self.folder / name).mkdir(mode=0o700)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.folder / "notify"))
        self._environment = {
            **environment,
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
            "STATE_DIRECTORY": str(self.folder / "state"),
            "LOGS_DIRECTORY": str(self.folder / "log"),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
        }

    def __enter__(self) -> Self:
        """Start the daemon and wait until it is ready. Raises DaemonError."""
        try:
            self._start()
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the daemon and remove its folders."""
        self._end()

    @property
    def pid(self) -> int:
        """The process id of main."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon has written to its standard error so far."""
        return (self.folder / "stderr").read_text(errors="replace")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program against this daemon's folders and configuration."""
        return subprocess.run(
            [sys.executable, "-m", "stt_edge", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def records(self) -> list[dict[str, Any]]:
        """Return the records in the JSONL file, in their order."""
        if not self.jsonl.exists():
            return []
        complete = self.jsonl.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in complete]

    def wait_for_records(self, count: int, timeout_s: float) -> list[dict[str, Any]]:
        """Return the records once there are ``count`` of them. Raises DaemonError."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.records()) < count:
            self._fail_if_ended()
            if time.monotonic() > deadline:
                raise DaemonError(
                    f"{len(found)} of {count} records after {timeout_s:.0f} s{self._tail()}"
                )
            self.read_notifications()
            time.sleep(0.05)
        return found

    def wait_hearing(self, timeout_s: float) -> None:
        """Wait until the daemon says that it hears its device. Raises DaemonError."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._fail_if_ended()
            answer = self.command("status", "--json").stdout
            if answer and json.loads(answer)["ear"]["state"] == "hearing":
                return
            if time.monotonic() > deadline:
                raise DaemonError(f"it does not hear its microphone{self._tail()}")
            time.sleep(0.1)

    def read_notifications(self) -> None:
        """Take in what the daemon has told its service manager."""
        self._notify.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._notify.recv(4096).decode().splitlines():
                    self._note(line)

    def stop(self) -> float:
        """End the daemon as systemd would; return how long it took. Raises DaemonError."""
        assert self._process is not None
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise DaemonError(
                f"still running {_STOP_S:.0f} s after SIGTERM{self._tail()}"
            ) from None
        if code != 0:
            raise DaemonError(f"exit code {code} after SIGTERM{self._tail()}")
        return time.monotonic() - begun

    def _start(self) -> None:
        with (self.folder / "stderr").open("wb") as log:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stt_edge", "run", "--config", str(self.config)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 60
        self._notify.settimeout(0.2)
        while self.ready_s is None:
            self._fail_if_ended()
            if time.monotonic() > deadline:
                raise DaemonError(f"not ready after 60 s{self._tail()}")
            with contextlib.suppress(TimeoutError):
                for line in self._notify.recv(4096).decode().splitlines():
                    self._note(line)

    def _note(self, line: str) -> None:
        if line == "READY=1" and self.ready_s is None:
            self.ready_s = time.monotonic() - self._started
        elif line.startswith("STATUS="):
            self.statuses.append(line.removeprefix("STATUS="))

    def _fail_if_ended(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise DaemonError(f"it ended with exit code {code}{self._tail()}")

    def _tail(self) -> str:
        lines = self.log.splitlines()[-15:]
        return "; its log says:\n" + "\n".join(f"    {line}" for line in lines)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                # The ear and the workers are in sessions of their own and die with their parent.
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)
