"""The ear as a process: started, told, killed and reaped."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from stt_edge.ear.settings import EarSettings
from stt_edge.ear.wire import Begin, Command, encode_command

EAR_COMMAND: Final = (sys.executable, "-P", "-m", "stt_edge.ear")
"""Followed by the pipe's and the command channel's file descriptors."""

_GRACE_S: Final = 2.0
_NOT_FOR_THE_EAR: Final = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "CREDENTIALS_DIRECTORY")
)


class EarProcess:
    """One running ear. ``pipe`` and ``errors`` belong to the thread that reads them."""

    def __init__(
        self,
        command: Sequence[str] = EAR_COMMAND,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Start it; it waits for ``begin``.

        Raises OSError when there is no such program, or no process to be had.
        Call from a thread that lives as long as the daemon: the ear asks the kernel to be killed
        together with the *thread* that started it.
        """
        self.pipe, pipe_end = os.pipe()
        self.errors, errors_end = os.pipe()
        os.set_blocking(self.errors, False)
        self._commands, commands_end = socket.socketpair()
        self._commands.setblocking(False)
        self._lock = threading.Lock()  # a descriptor closed while it is used may be another's
        self._is_closed = False
        try:
            self._process = subprocess.Popen(
                [*command, str(pipe_end), str(commands_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=errors_end,
                stderr=errors_end,
                pass_fds=(pipe_end, commands_end.fileno()),
                start_new_session=True,
                env={
                    name: value for name, value in environ.items() if name not in _NOT_FOR_THE_EAR
                },
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(pipe_end)
            os.close(errors_end)
            commands_end.close()

    @property
    def pid(self) -> int:
        """The ear's process id."""
        return self._process.pid

    def begin(self, settings: EarSettings) -> None:
        """Have it open its source and listen; one that is gone has said so in its pipe."""
        self.send(Begin(settings.to_json()))

    def send(self, command: Command) -> bool:
        """Send a command; return whether the ear can be reached. Never waits."""
        try:
            with self._lock:
                self._commands.sendall(encode_command(command))
        except OSError:  # gone, or it has not listened for a very long time
            return False
        return True

    def has_unread(self) -> bool:
        """Return whether it has said something that nobody has read yet."""
        with self._lock:
            if self._is_closed:
                return False
            count = fcntl.ioctl(self.pipe, termios.FIONREAD, bytes(4))
        return count != bytes(4)

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        self._process.kill()

    def reap(self) -> str:
        """Wait for its end, which is made sure of, and return how it ended, for a person."""
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its pipe is closed: it is of no use
            code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.Signals(-code).name}"

    def close(self) -> None:
        """Close what leads to it."""
        with self._lock:
            self._is_closed = True
            os.close(self.pipe)
            os.close(self.errors)
            self._commands.close()
