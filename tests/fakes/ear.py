"""An ear that does as it is told: a real process that speaks the wire, without a sound device.

Its arguments are SCRIPT PIPE_FD COMMAND_FD. SCRIPT is JSON: a list of lives, each a
list of acts; the ear started first lives the first, and all further ones the last. ``FakeEar``
writes scripts and gives the command line.

    FakeEar(tmp_path, [opened(), utterance(5), hear()])          one life, as long as it is let
    FakeEar(tmp_path, [die(1)], [opened(), hear()])              the first crashes at once
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stt_edge.ear import wire
from stt_edge.errors import FaultKind
from stt_edge.ids import uuid7
from stt_edge.model import EndReason

Act = list[Any]

_ROOT = Path(__file__).resolve().parents[2]
_BOOT = (
    f"import sys; sys.path[:0] = [{str(_ROOT)!r}, {str(_ROOT / 'daemon')!r}]; "
    "from tests.fakes.ear import main; main()"
)

BLOCK = 1600
"""Samples in 100 ms."""


def opened(description: str = "Fake microphone") -> Act:
    """Begin a stream."""
    return ["opened", description]


def hear(every_s: float = 0.05) -> Act:
    """Report health until told to stop, and obey."""
    return ["hear", every_s]


def deaf(every_s: float = 0.05) -> Act:
    """Report the same health over and over, and obey: the device delivers nothing."""
    return ["deaf", every_s]


def health(times: int) -> Act:
    """Report health so many times, at once."""
    return ["health", times]


def utterance(blocks: int, *, end: str | None = "silence", continues: bool = False) -> Act:
    """Speak so many blocks of 100 ms as fast as the pipe takes them; without end, go on."""
    return ["utterance", blocks, end, continues]


def speak(blocks: int, every_s: float) -> Act:
    """Speak so many blocks, one every so often, and report no health."""
    return ["speak", blocks, every_s]


def gap(samples: int) -> Act:
    """Miss some samples."""
    return ["gap", samples]


def hang() -> Act:
    """Do nothing any more, and obey nobody."""
    return ["hang"]


def die(code: int) -> Act:
    """Exit; a negative code is a signal."""
    return ["die", code]


def fault(kind: FaultKind, message: str) -> Act:
    """Report a fault and exit."""
    return ["fault", kind.value, message]


def finish() -> Act:
    """Come to the end of the source and exit."""
    return ["finish"]


def garbage() -> Act:
    """Say something that is no message."""
    return ["garbage"]


def stderr(text: str, times: int = 1) -> Act:
    """Write a line to stderr so many times; ``%d`` in it is the number of the line."""
    return ["stderr", text, times]


def hang_up() -> Act:
    """Close the pipe and live on."""
    return ["hang_up"]


def wait_for(path: Path) -> Act:
    """Wait until a file exists."""
    return ["wait_for", str(path)]


def pcm_of(first_block: int, blocks: int) -> bytes:
    """Return what the fake ear says from its n-th block on; every sample is another one."""
    numbers = range(first_block * BLOCK, (first_block + blocks) * BLOCK)
    return b"".join((number % 65_536).to_bytes(2, "little") for number in numbers)


class FakeEar:
    """The command line of a fake ear, and what became of it."""

    def __init__(self, directory: Path, *lives: list[Act]) -> None:
        directory.mkdir(exist_ok=True)
        self._births = directory / "births"
        self._births.write_bytes(b"")
        script = {"births": str(self._births), "lives": lives}
        self.command = (sys.executable, "-c", _BOOT, json.dumps(script))

    @property
    def born(self) -> int:
        """How many ears have been started."""
        return len(self._births.read_bytes())


@dataclass
class Life:
    """One running fake ear."""

    pipe: int
    commands: socket.socket
    sample: int = 0
    mono_ns: int = 0
    blocks: int = 0
    open: bool = False
    _received: bytearray = field(default_factory=bytearray)

    def live(self, acts: list[Act]) -> None:
        for name, *arguments in acts:
            getattr(self, name)(*arguments)

    def opened(self, description: str) -> None:
        self.mono_ns = time.monotonic_ns()
        self.say(wire.Opened(uuid7(), description, 48_000, 2, self.mono_ns, 12))

    def utterance(self, blocks: int, end: str | None, continues: bool) -> None:
        at_ns = self.mono_ns + self.sample * 62_500
        if not self.open:
            self.say(wire.SpeechStart(self.sample, at_ns, time.monotonic_ns(), continues))
            self.open = True
        for _ in range(blocks):
            pcm = pcm_of(self.sample // BLOCK, 1)
            self.say(wire.Audio(self.sample, pcm))
            self.sample += BLOCK
        if end:
            self.end(EndReason(end))

    def speak(self, blocks: int, every_s: float) -> None:
        for _ in range(blocks):
            self.utterance(1, None, False)
            time.sleep(every_s)

    def end(self, reason: EndReason) -> None:
        if self.open:
            spoken = max(0, self.sample - 4 * BLOCK)
            self.say(wire.SpeechEnd(self.sample, reason, spoken, spoken))
            self.open = False

    def gap(self, samples: int) -> None:
        self.say(wire.Gap(self.sample, samples))
        self.sample += samples

    def health(self, times: int, *, growing: bool = True) -> None:
        for _ in range(times):
            self.blocks += 10 if growing else 0
            self.say(
                wire.Health(self.blocks, 0, 1, 160, -42.5, -61.0, 0.0, 3, 2, 1600, self.sample)
            )

    def hear(self, every_s: float, *, growing: bool = True) -> None:
        while not (stop := self.told_to_stop(every_s)):
            self.health(1, growing=growing)
        self.end(stop.mode.reason)
        self.finish()

    def deaf(self, every_s: float) -> None:
        self.hear(every_s, growing=False)

    def told_to_stop(self, timeout_s: float) -> wire.Stop | None:
        if not select.select([self.commands], [], [], timeout_s)[0]:
            return None
        data = self.commands.recv(4096)
        if not data:
            sys.exit(0)  # main is gone
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            command = wire.decode_command(bytes(line))
            print("command", type(command).__name__, flush=True)
            if isinstance(command, wire.Stop):
                return command
        return None

    def fault(self, kind: str, message: str) -> None:
        self.say(wire.Fault(FaultKind(kind), message, "Do something."))
        sys.exit(0)

    def finish(self) -> None:
        self.say(wire.Finished(self.sample))
        sys.exit(0)

    def hang(self) -> None:
        while True:
            time.sleep(60)

    def die(self, code: int) -> None:
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)

    def garbage(self) -> None:
        os.write(self.pipe, b"\xff" * 64)
        self.hang()

    def stderr(self, text: str, times: int) -> None:
        for number in range(times):
            sys.stderr.write(text.replace("%d", str(number)) + "\n")
        sys.stderr.flush()

    def hang_up(self) -> None:
        os.close(self.pipe)

    def wait_for(self, path: str) -> None:
        while not Path(path).exists():
            time.sleep(0.01)

    def say(self, message: wire.Message) -> None:
        data = wire.encode(message)
        while data:
            data = data[os.write(self.pipe, data) :]


def main() -> None:
    script = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands = socket.socket(fileno=int(sys.argv[3]))
    while (byte := commands.recv(1)) != b"\n":  # Begin, and nothing after it
        if not byte:
            sys.exit(0)  # main is gone
    births = os.open(script["births"], os.O_WRONLY | os.O_APPEND)
    before = os.fstat(births).st_size
    os.write(births, b"+")
    lives = script["lives"]
    Life(int(sys.argv[2]), commands).live(lives[min(before, len(lives) - 1)])
