"""The ear as a real process, for tests that talk to it as main does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import (
    Audio,
    Begin,
    Command,
    Decoder,
    GateSettings,
    Message,
    SpeechEnd,
    SpeechStart,
    encode_command,
)
from stt_edge.model import AudioSpan

Kind = TypeVar("Kind")

DAEMON = Path(__file__).resolve().parents[2] / "daemon"
ROOT = DAEMON.parent
UNCONFIRMED = GateSettings(confirm="none")
LOUDNESS = (
    sys.executable,
    "-c",
    """
import sys
from stt_edge.ear.main import main
from tests.fakes.detector import LoudnessDetector
sys.exit(main(sys.argv[1:], LoudnessDetector))
""",
)
"""The ear with a gate that can be predicted: loud is speech."""


class RunningEar:
    """Starts an ear, reads what it says on a thread of its own, and ends it on leaving."""

    def __init__(
        self,
        source: SourceSettings,
        gate: GateSettings = UNCONFIRMED,
        environment: Mapping[str, str] | None = None,
        program: tuple[str, ...] = LOUDNESS,
    ) -> None:
        self.messages: list[Message] = []
        self._read_end, write_end = os.pipe()
        self._commands, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                *program,
                str(write_end),
                str(theirs.fileno()),
            ],
            pass_fds=(write_end, theirs.fileno()),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**(environment or os.environ), "PYTHONPATH": f"{DAEMON}:{ROOT}"},
        )
        os.close(write_end)
        theirs.close()
        self.send(Begin(EarSettings(source, gate).to_json()))
        self.reading = threading.Event()
        self.reading.set()
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        self._commands.sendall(encode_command(command))

    def of(self, kind: type[Kind]) -> list[Kind]:
        with self._changed:
            return [message for message in self.messages if isinstance(message, kind)]

    def wait_for(self, kind: type[Kind], count: int = 1, timeout_s: float = 20.0) -> Kind:
        """Return the ``count``-th message of a kind as soon as there is one."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or self._count(kind) >= count, timeout=timeout_s
            )
            found = [message for message in self.messages if isinstance(message, kind)]
        assert len(found) >= count, (self.messages[-5:], self.process.poll(), self.stderr_if_over())
        return found[count - 1]

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait until the ear has ended and everything is read; return its exit code."""
        code = self.process.wait(timeout_s)
        self._thread.join(timeout_s)
        return code

    def stderr_if_over(self) -> str:
        if self.process.poll() is None:
            return ""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def utterances(self) -> list[tuple[SpeechStart, list[AudioSpan], SpeechEnd | None]]:
        """Each utterance with its audio, spans that touch joined."""
        found: list[tuple[SpeechStart, list[AudioSpan], SpeechEnd | None]] = []
        for message in list(self.messages):
            if isinstance(message, SpeechStart):
                found.append((message, [], None))
            elif isinstance(message, SpeechEnd):
                found[-1] = (*found[-1][:2], message)
            elif isinstance(message, Audio):
                spans = found[-1][1]
                if spans and spans[-1].end == message.sample:
                    spans[-1] = AudioSpan(spans[-1].sample, spans[-1].pcm + message.pcm)
                else:
                    spans.append(AudioSpan(message.sample, message.pcm))
        return found

    def stop_for(self, seconds: float) -> None:
        """Freeze the ear."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reading.set()
        self.process.kill()
        self.process.wait()
        self._thread.join()
        self._commands.close()
        os.close(self._read_end)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _count(self, kind: type[object]) -> int:
        return sum(isinstance(message, kind) for message in self.messages)

    def _read(self) -> None:
        decoder = Decoder()
        while self.reading.wait() and (data := os.read(self._read_end, 1 << 16)):
            with self._changed:
                self.messages += decoder.feed(data)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()
