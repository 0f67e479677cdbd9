"""A real mosquitto, and a client beside it that writes down every message."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scripts.lib.fault_kit.fault import FaultError

from stt_edge.sinks import registry

_HOST: Final = "127.0.0.1"
_PATIENCE_S: Final = 15.0
_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def can_be_had() -> bool:
    """Return whether there is an MQTT sink, a broker, and a client to watch it with."""
    return "mqtt" in registry.names() and _mosquitto() is not None and _subscriber() is not None


class Broker:
    """A mosquitto of one's own on a free port; a context manager."""

    def __init__(self, directory: Path) -> None:
        """Write its configuration; start nothing yet."""
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            self.port = int(probe.getsockname()[1])
        self._config = directory / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} {_HOST}\nallow_anonymous true\npersistence false\nuser root\n"
        )
        self._log = directory / "mosquitto.log"
        self._messages = directory / "messages"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """What a user writes as ``url:`` of the sink."""
        return f"mqtt://{_HOST}:{self.port}"

    def __enter__(self) -> Self:
        """Start the broker and the client, and wait until both work. Raises FaultError."""
        try:
            self._run([str(_mosquitto()), "-c", str(self._config)], self._log)
            self._await(self._accepts, "mosquitto takes no connections")
            watcher = [str(_subscriber()), "-h", _HOST, "-p", str(self.port), "-q", "1"]
            self._run([*watcher, "-v", "-t", "#"], self._messages)
            # Its first message proves that the subscription stands: a retained one of ours.
            hello = [str(shutil.which("mosquitto_pub")), "-h", _HOST, "-p", str(self.port)]
            hello += ["-r", "-t", "stt-edge-test/hello", "-m", "hello"]
            subprocess.run(hello, check=True, timeout=_PATIENCE_S)
            self._await(lambda: "hello" in self.messages, "the client hears nothing")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
        self._processes.clear()

    @property
    def messages(self) -> str:
        """Every message so far, a line each: topic and payload."""
        return self._messages.read_text(encoding="utf-8", errors="replace")

    def ids(self) -> list[str]:
        """Return the ids of the records that were published, as often as they were."""
        found = []
        for line in self.messages.splitlines():
            topic, _, payload = line.partition(" ")
            if not topic.endswith("/transcript"):  # the newest is also retained elsewhere
                continue
            try:
                body = json.loads(payload)
            except ValueError:
                continue
            if isinstance(body, dict) and _ID.fullmatch(str(body.get("id", ""))):
                found.append(body["id"])
        return found

    def _run(self, argv: list[str], output: Path) -> None:
        with output.open("ab") as file:
            self._processes.append(
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            )

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_HOST, self.port)) == 0

    def _await(self, true: object, otherwise: str) -> None:
        assert callable(true)
        end_s = time.monotonic() + _PATIENCE_S
        while not true():
            if time.monotonic() > end_s:
                raise FaultError(f"{otherwise}: {self._log.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)


def _subscriber() -> str | None:
    return shutil.which("mosquitto_sub")
