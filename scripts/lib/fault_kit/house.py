"""The real daemon in folders of its own, its service manager, and somebody who never stops talking.

The daemon is ``python -m stt_edge run`` or a launcher of it; it hears a pipe through
``audio.command``, the provider is a simulator in this process, and the sinks are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Self

from scripts.lib.fault_kit.broker import Broker
from scripts.lib.fault_kit.fault import ROOT, FaultError
from tests.service.providers_room import HANGOVER_MS, WORDS, Room, WordSpotter, entry, sentence
from tests.simulators.core import Faults, Simulator
from tests.simulators.registry import simulator_class

PROGRAM: Final = "stt_edge"
LAUNCHERS: Final = "tests.fakes.launchers"
"""The whole program with something wrong in it, which its environment describes."""


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do things side by side; the first that fails ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Manager:
    """Hears what a daemon tells its service manager."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``."""
        self.ready_at_s: float | None = None
        """When READY=1 came, on the monotonic clock; None since the last ``forget``."""
        self.alive_at_s = 0.0
        self.statuses: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def forget(self) -> None:
        """Take that another daemon is started now."""
        self._read()
        self.ready_at_s = None

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(4096).decode().splitlines():
                    self._note(line)

    def _note(self, line: str) -> None:
        if line == "READY=1" and self.ready_at_s is None:
            self.ready_at_s = self.alive_at_s = time.monotonic()
        elif line == "WATCHDOG=1":
            self.alive_at_s = time.monotonic()
        elif line.startswith("STATUS="):
            self.statuses.append(line.removeprefix("STATUS="))


class House(Room):
    """A room whose daemon may be any launcher of the program, and is killed at any moment."""

    def __init__(self, directory: Path, *, watchdog_s: float | None = None) -> None:
        """Prepare an empty directory."""
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory)
        self.directory = directory
        self.broker: Broker | None = None
        self.started_at_s = 0.0
        self._watchdog_s = watchdog_s

    async def __aenter__(self) -> Self:
        """Begin to listen to the daemon that is to come."""
        await super().__aenter__()
        self.manager = Manager(self.directory / "notify")
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End the daemon, if it runs."""
        await super().__aexit__(*raised)
        self.manager.close()

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self._config

    @property
    def pid(self) -> int:
        """The process id of main."""
        assert self._process is not None
        return self._process.pid

    def furnish(self, service: Simulator, name: str = "deepgram", **sections: Any) -> None:
        """Write the configuration: one provider, JSONL, and MQTT where there is a broker."""
        sinks: dict[str, Any] = {"jsonl": {"path": str(self.jsonl)}}
        if self.broker is not None:
            sinks["mqtt"] = {"url": self.broker.url}
        options = service.options(self.directory)
        self.configure(entry(name, options), **{"sinks": sinks, **sections})

    async def launch(self, program: str = PROGRAM, **variables: str) -> None:
        """Start a daemon and do not wait for it."""
        self.manager.forget()
        environment = {
            **self._variables(),
            "NOTIFY_SOCKET": str(self.directory / "notify"),
            **variables,
        }
        if self._watchdog_s is not None:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog_s * 1e6))
        self.started_at_s = time.monotonic()
        with self._stderr.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", program, "run", "-c", str(self._config)),
                env=environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )

    async def ready(self, patience_s: float = 30.0) -> float:
        """Wait for READY=1; return how long after the start it came. Raises FaultError."""
        end_s = time.monotonic() + patience_s
        while self.manager.ready_at_s is None:
            if time.monotonic() > end_s or self.ended is not None:
                raise FaultError(f"the daemon is not ready (exit code {self.ended})\n{self.tail}")
            await asyncio.sleep(0.01)
        return self.manager.ready_at_s - self.started_at_s

    @property
    def ended(self) -> int | None:
        """The exit code of the daemon; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def ending(self, patience_s: float) -> int | None:
        """Wait until the daemon has ended by itself; return its exit code, None if it has not."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                return await self._process.wait()
        return None

    def miss(self) -> None:
        """Let pass what was said while nobody listened; a pipe keeps it, a microphone does not."""
        pipe = os.open(self.directory / "voice", os.O_RDONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while os.read(pipe, 1 << 16):
                pass
        os.close(pipe)

    def send(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        os.kill(self.pid, number)

    @property
    def tail(self) -> str:
        """The last of what the daemon has written to its standard error."""
        return "\n".join(self.log.splitlines()[-25:])


class Speaker:
    """Says sentences of words that count up, so that a word that comes twice shows."""

    def __init__(self, house: House, rng: random.Random, words: tuple[int, int] = (1, 4)) -> None:
        """Say nothing yet; a sentence has from so many to so many words, never one twice."""
        assert words[1] <= len(WORDS)
        self._words = words
        self._house = house
        self._rng = rng
        self._next = 0
        self.said = 0
        """Sentences so far."""

    def sentence(self, words: int | None = None) -> list[int]:
        """Return the words of the next sentence."""
        count = self._rng.randint(*self._words) if words is None else words
        found = [(self._next + number) % len(WORDS) for number in range(count)]
        self._next = (self._next + count) % len(WORDS)
        return found

    async def say(self, words: int | None = None) -> None:
        """Say one sentence, with the pause that ends it."""
        await self._house.voice.say(sentence(self.sentence(words)))
        self.said += 1

    async def talk(self) -> None:
        """Say one sentence after the other, for ever."""
        while True:
            await self.say()
            await asyncio.sleep(self._rng.uniform(0, HANGOVER_MS / 1000))


def service_of(name: str = "deepgram", faults: Faults | None = None) -> Simulator:
    """Return a simulator that understands the words of a speaker."""
    return simulator_class(name)(faults or Faults(), recogniser=WordSpotter)
