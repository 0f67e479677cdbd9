"""Where sound comes from: a recording, or a program that writes it. Devices are in ``capture``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from stt_edge.ear.chatter import Chatter
from stt_edge.ear.decode import Recording, open_recording
from stt_edge.ear.sandbox import die_with_parent
from stt_edge.ear.settings import SourceSettings
from stt_edge.ear.timeline import Captured, Recorded, Timeline
from stt_edge.errors import DeviceError, FaultKind, InputError
from stt_edge.model import NS_PER_SAMPLE, SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples

if TYPE_CHECKING:
    import subprocess

_END_S: Final = 1.0


class Source(Protocol):
    """Something to listen to; read by one thread, block by block."""

    description: str
    """As a person would name it."""
    rate: int
    """Hertz, as it comes; what ``read`` returns is always 16 kHz mono."""
    channels: int
    overflows: int
    """Blocks the device flagged."""
    can_wait: bool
    """Nothing is lost when it is read late."""

    def prepare(self) -> None:
        """Do what the sandbox would forbid. Raises DeviceError."""

    def open(self) -> Timeline:
        """Open it; return how its samples relate to time. Raises DeviceError."""

    def read(self) -> bytes:
        """Wait for the next block and return it; empty at the end. Raises DeviceError.

        All but the last hold a multiple of 20 ms.
        """

    def close(self) -> None:
        """Let go of it; may be called twice, or without ``open``."""


class FileSource:
    """A recording, heard as if it were spoken now, or as fast as it can be."""

    overflows = 0
    can_wait = True

    def __init__(
        self,
        settings: SourceSettings,
        chatter: Chatter,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the settings; nothing is opened yet."""
        assert settings.file is not None
        self.description = settings.file
        self.rate = SAMPLE_RATE
        self.channels = 1
        self._path = settings.file
        self._channel = settings.channel
        self._block_samples = ms_to_samples(settings.block_ms)
        self._fast = settings.pace == "fast"
        self._chatter = chatter
        self._monotonic_ns = monotonic_ns
        self._sleep = sleep
        self._recording: Recording | None = None
        self._start_ns = 0
        self._end = 0

    def prepare(self) -> None:
        """Do nothing: a decoder is better off in the sandbox."""

    def open(self) -> Timeline:
        """Open the recording; sample 0 is heard now. Raises DeviceError."""
        try:
            self._recording = open_recording(self._path, self._channel)
        except InputError as error:
            raise _unreadable(error) from error
        self.rate, self.channels = self._recording.rate, self._recording.channels
        self._start_ns = self._monotonic_ns()
        return Recorded(self._start_ns)

    def read(self) -> bytes:
        """Return the next block, at its time. Raises DeviceError when it cannot be decoded."""
        assert self._recording is not None
        try:
            block = self._recording.read(self._block_samples)
        except InputError as error:
            raise _unreadable(error) from error
        self._end += len(block) // SAMPLE_BYTES
        if not block and self._recording.warning:
            self._chatter.say(self._recording.warning)
        if block and not self._fast:
            wait_ns = self._start_ns + self._end * NS_PER_SAMPLE - self._monotonic_ns()
            self._sleep(max(0.0, wait_ns / 1e9))
        return block

    def close(self) -> None:
        """Close the recording."""
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()


class CommandSource:
    """A program that writes raw s16le 16 kHz mono to its standard output."""

    rate = SAMPLE_RATE
    channels = 1
    overflows = 0
    can_wait = True

    def __init__(self, settings: SourceSettings) -> None:
        """Take the settings; nothing is started yet."""
        assert settings.command
        self.description = " ".join(settings.command)
        self._argv = settings.command
        self._block_bytes = ms_to_samples(settings.block_ms) * SAMPLE_BYTES
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start the program: it is not the ear, and may need a network. Raises DeviceError."""
        import subprocess

        ear = os.getpid()
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(ear),  # noqa: PLW1509 - no other thread yet
            )
        except OSError as error:
            raise DeviceError(
                FaultKind.COMMAND,
                f"{self._argv[0]} cannot be run: {error.strerror or error}.",
                "audio.command is the argv of a program that writes raw s16le 16 kHz mono.",
            ) from error

    def open(self) -> Timeline:
        """Begin to listen; a program may pause, so late samples are never called missing."""
        return Captured(finds_gaps=False)

    def read(self) -> bytes:
        """Wait for the next block. Raises DeviceError when the program has failed."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        block = b""
        while len(block) < self._block_bytes:
            data = os.read(pipe, self._block_bytes - len(block))
            if not data:
                break
            block += data
        whole = len(block) // SAMPLE_BYTES * SAMPLE_BYTES
        if not whole and (code := self._process.wait()):
            raise DeviceError(
                FaultKind.COMMAND,
                f"{self.description}: the program ended with {_spoken(code)}.",
                "What it wrote to standard error is in the log.",
            )
        return block[:whole]

    def close(self) -> None:
        """End the program and what it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, how)
                _wait(process)
        if process.stdout is not None:
            process.stdout.close()


def _unreadable(error: InputError) -> DeviceError:
    return DeviceError(FaultKind.FILE, error.message, error.remedy)


def _wait(process: subprocess.Popen[bytes]) -> None:
    import subprocess

    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return  # the next signal cannot be ignored


def _spoken(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
