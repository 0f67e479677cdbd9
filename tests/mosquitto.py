"""A real mosquitto on this machine, and somebody who listens to it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiomqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
HOST = "127.0.0.1"

needs_mosquitto = pytest.mark.skipif(
    not Path(PROGRAM).exists(), reason="there is no mosquitto: apt-get install mosquitto"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Mosquitto:
    """A broker that can be killed and started again, on the same port."""

    directory: Path
    lines: Sequence[str] = ()
    """More lines of its configuration."""
    persistent: bool = False
    port: int = field(default_factory=free_port)
    anonymous: bool = True
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "mosquitto.conf"
        log = self.directory / "mosquitto.log"
        configuration.write_text(
            "\n".join(
                [
                    f"listener {self.port} {HOST}",
                    f"allow_anonymous {str(self.anonymous).lower()}",
                    f"persistence {str(self.persistent).lower()}",
                    f"persistence_location {self.directory}/",
                    "autosave_interval 1",
                    "autosave_on_changes true",
                    "user root",
                    *self.lines,
                    "",
                ]
            )
        )
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "-v", "-c", str(configuration)], stdout=output, stderr=output
            )
        self._await_listening(log)

    def _await_listening(self, log: Path) -> None:
        assert self._process is not None
        give_up = time.monotonic() + 20
        while True:
            assert self._process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in peace, so that it saves what it has to."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it hold its connections and say nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None

    @property
    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")


@dataclass(frozen=True)
class Heard:
    """A message that came."""

    topic: str
    payload: bytes
    retained: bool
    qos: int


class Listener:
    """Subscribed to everything, from the moment it is entered; also publishes."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.heard: list[Heard] = []
        self.gone = asyncio.Event()
        """The connection has ended, and all that came has been heard."""

    @classmethod
    @contextlib.asynccontextmanager
    async def at(
        cls, port: int, topic: str = "#", *, qos: int = 1, **options: Any
    ) -> AsyncIterator[Listener]:
        """Subscribe; ``retained`` is told as it was published, not only of what is of long ago."""
        version = aiomqtt.ProtocolVersion.V5
        async with aiomqtt.Client(HOST, port, protocol=version, **options) as client:
            listener = cls(client)
            wanted = SubscribeOptions(qos=qos, retainAsPublished=True)
            await client.subscribe(topic, options=wanted)
            reading = asyncio.create_task(listener._read())
            try:
                yield listener
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    async def _read(self) -> None:
        try:
            async for message in self._client.messages:
                self._note(message)
        except aiomqtt.MqttError:
            while not self._client._queue.empty():  # what the iterator leaves behind
                self._note(self._client._queue.get_nowait())
            self.gone.set()

    def _note(self, message: aiomqtt.Message) -> None:
        assert isinstance(message.payload, bytes)
        heard = Heard(str(message.topic), message.payload, message.retain, message.qos)
        self.heard.append(heard)

    async def until(
        self, topic: str, count: int, wanted: Callable[[bytes], bool] = lambda _: True
    ) -> None:
        """Wait until so many messages of the wanted kind have come on a topic."""
        async with asyncio.timeout(15):
            while sum(map(wanted, self.on(topic))) < count:
                await asyncio.sleep(0.01)

    async def say(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        await self._client.publish(topic, payload, 1, retain)

    def on(self, topic: str) -> list[bytes]:
        """What came on a topic, in order."""
        return [each.payload for each in self.heard if each.topic == topic]

    def newest(self, topic: str) -> bytes | None:
        """What came last on a topic."""
        found = self.on(topic)
        return found[-1] if found else None


async def retained(port: int, **options: Any) -> dict[str, bytes]:
    """What a broker retains: all that comes, before an end that is said by ourselves."""
    end = "the-end/of/what-is-retained"
    async with Listener.at(port, **options) as listener:
        await listener.say(end, b"here")
        async with asyncio.timeout(10):
            while not listener.on(end):
                await asyncio.sleep(0.01)
    return {each.topic: each.payload for each in listener.heard if each.retained and each.payload}
