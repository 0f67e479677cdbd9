"""A daemon of its own process, somebody who speaks to it, and the service it sends the speech to.

The microphone is a pipe that the daemon's ``audio.command`` reads. What is said is noise of a
voice's shape, other noise for each word, so that what the service understands follows from the
audio it was given: a word counts when its middle is there, sample for sample.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from stt_edge.errors import SttEdgeError
from stt_edge.model import ms_to_samples
from stt_edge.service.control_client import ask
from tests.simulators.core import Faults, Simulator
from tests.simulators.registry import provider_of, simulator_class
from tests.simulators.speech import SpokenWord

ROOT: Final = Path(__file__).resolve().parents[2]
WORD_MS: Final = 250
GAP_MS: Final = 40
HANGOVER_MS: Final = 300
BLOCK_MS: Final = 100
_BLOCK_BYTES: Final = 2 * ms_to_samples(BLOCK_MS)
_PITCH_HZ: Final = 130
_PATIENCE_S: Final = 20.0
WORDS: Final = ("góðan", "dag", "ljós", "opna", "loka", "dyr", "gluggi", "hús")


@cache
def word(number: int) -> bytes:
    """Return the sound of a word, as s16le; no two are alike anywhere.

    It swells three times, as syllables do: the gate takes what is always as loud for a fan.
    """
    rng = random.Random(number)
    turn = 2 * math.pi * (_PITCH_HZ + 3 * number) / 16_000
    strengths = [rng.uniform(0.3, 1.0) / (1 + harmonic / 6) for harmonic in range(1, 20)]
    samples = ms_to_samples(WORD_MS)
    said = array.array("h")
    for at in range(samples):
        swell = 0.1 + 0.9 * abs(math.sin(3 * math.pi * at / samples))
        tones = (each * math.sin(turn * at * tone) for tone, each in enumerate(strengths, 1))
        said.append(int(2500 * swell * sum(tones) + rng.gauss(0, 30)))
    return said.tobytes()


def sentence(numbers: Iterable[int]) -> bytes:
    """Return words with short gaps between them."""
    return bytes(2 * ms_to_samples(GAP_MS)).join(map(word, numbers))


def text(numbers: Iterable[int]) -> str:
    """Return what is understood of a sentence."""
    return " ".join(WORDS[number] for number in numbers)


class WordSpotter:
    """A recogniser that knows the words of ``WORDS``."""

    def __init__(self) -> None:
        self._audio = bytearray()

    def feed(self, pcm: bytes) -> None:
        self._audio += pcm

    def words(self) -> list[SpokenWord]:
        third = len(word(0)) // 6 * 2
        found = []
        for number, name in enumerate(WORDS):
            at = self._audio.find(word(number)[third : 2 * third])
            while at >= 0:
                start = max(0, (at - third) // 2)
                end = min(len(self._audio) // 2, (at + 2 * third) // 2)
                found.append(SpokenWord(name, start, end))
                at = self._audio.find(word(number)[third : 2 * third], at + 1)
        return sorted(found, key=lambda spoken: spoken.start)

    def finish(self) -> list[SpokenWord]:
        return self.words()


class Voice:
    """Somebody who speaks into a pipe in real time, and is silent in between."""

    def __init__(self, pipe: Path) -> None:
        os.mkfifo(pipe)
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._pending: deque[bytes] = deque()
        self._task = asyncio.create_task(self._speak())

    async def say(self, pcm: bytes) -> None:
        """Say something; returns when it has been said, with the pause that ends it."""
        pause = bytes(2 * ms_to_samples(HANGOVER_MS + 2 * BLOCK_MS))
        pcm += pause + bytes(-len(pcm + pause) % _BLOCK_BYTES)
        self._pending += [pcm[at : at + _BLOCK_BYTES] for at in range(0, len(pcm), _BLOCK_BYTES)]
        while self._pending:
            await asyncio.sleep(BLOCK_MS / 1000)

    async def aclose(self) -> None:
        """Fall silent for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        os.close(self._pipe)

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            block = self._pending.popleft() if self._pending else bytes(_BLOCK_BYTES)
            with contextlib.suppress(BlockingIOError):  # nobody listens
                os.write(self._pipe, block)
            due_s += BLOCK_MS / 1000
            await asyncio.sleep(max(0.0, due_s - loop.time()))


class Room:
    """A daemon with directories of its own, and a voice; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._config = directory / "stt-edge.yaml"
        self.jsonl = directory / "transcripts.jsonl"
        self._stderr = directory / "stderr"
        self._process: asyncio.subprocess.Process | None = None
        self._audio: dict[str, Any] = {"command": ["cat", str(directory / "voice")]}
        self._environment = dict(os.environ)

    def heard_by(self, device: str, environment: dict[str, str]) -> None:
        """Hear an ALSA device in place of the pipe."""
        self._audio = {"device": device}
        self._environment = dict(environment)

    async def __aenter__(self) -> Self:
        self.voice = Voice(self._directory / "voice")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.voice.aclose()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    def configure(self, *providers: dict[str, Any], **sections: Any) -> None:
        """Write the configuration."""
        body = {
            "audio": self._audio,
            "vad": {"confirm": "none", "hangover_ms": HANGOVER_MS, "max_utterance_s": 30},
            "providers": list(providers),
            "sinks": {"jsonl": {"path": str(self.jsonl)}},
            **sections,
        }
        self._config.write_text(json.dumps(body, ensure_ascii=False))

    async def start(self) -> None:
        """Start the daemon, and wait until it hears."""
        with self._stderr.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stt_edge", "run", "-c", str(self._config)),
                env=self._variables(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )
        await self.until_status(lambda status: status["ear"]["state"] == "hearing")

    async def kill(self) -> None:
        """End the daemon as the kernel would."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End the daemon as systemd would; it leaves in good order."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(_PATIENCE_S):
            assert await self._process.wait() == 0, self.log

    @property
    def log(self) -> str:
        """What the daemon has written to its standard error."""
        return self._stderr.read_text(errors="replace")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records in the JSONL file."""
        if not self.jsonl.exists():
            return []
        complete = self.jsonl.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in complete]

    def lose_power(self) -> None:
        """Empty what is a tmpfs on a machine; to be called when nothing runs."""
        shutil.rmtree(self._directory / "run")

    async def command(self, *argv: str) -> str:
        """Run ``stt-edge`` beside the daemon; returns what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stt_edge", *argv),
            env=self._variables(),
            stdout=asyncio.subprocess.PIPE,
        )
        return (await process.communicate())[0].decode()

    @property
    def texts(self) -> list[str]:
        """What was understood, record by record."""
        return [record["text"] for record in self.records]

    async def status(self) -> dict[str, Any]:
        """Return the status document; empty while nobody answers."""
        paths = [self._directory / "run" / "control.sock"]
        try:
            answer: dict[str, Any] = await asyncio.to_thread(ask, paths, "status")
        except SttEdgeError:
            return {}
        return answer

    async def status_command(self) -> tuple[dict[str, Any], str]:
        """Run ``stt-edge status --json``, and without; returns both answers."""
        return json.loads(await self.command("status", "--json")), await self.command("status")

    async def until(self, true: Callable[[], object], patience_s: float = _PATIENCE_S) -> None:
        """Wait for something to become true. Raises AssertionError with the log if it does not."""
        try:
            async with asyncio.timeout(patience_s):
                while not true():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.texts}\n{self.log}") from None

    async def until_status(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the status document is so; returns it."""
        async with asyncio.timeout(_PATIENCE_S):
            while not ((status := await self.status()) and true(status)):
                assert self._process is not None
                assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)
        return status

    def _variables(self) -> dict[str, str]:
        directories = {
            "RUNTIME_DIRECTORY": "run",
            "STATE_DIRECTORY": "state",
            "LOGS_DIRECTORY": "logs",
        }
        for name in directories.values():
            (self._directory / name).mkdir(mode=0o700, exist_ok=True)
        return {
            **self._environment,
            **{key: str(self._directory / name) for key, name in directories.items()},
            "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}",
        }


@contextlib.asynccontextmanager
async def room(directory: Path) -> AsyncIterator[Room]:
    """Yield a room; nothing runs in it yet."""
    async with Room(directory) as made:
        yield made


def simulator(name: str, faults: Faults | None = None) -> Simulator:
    """Return a service that understands what the voice says; it is not running yet."""
    return simulator_class(name)(faults or Faults(), recogniser=WordSpotter)


def entry(name: str, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the item of ``providers`` that leads to a simulator."""
    return {"name": provider_of(name), **options, **more}
