"""Asks the running daemon, from a command: plain sockets, no event loop."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import (
    ExitCode,
    PermissionDeniedError,
    SttEdgeError,
    TemporaryError,
    UnavailableError,
)

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1 << 22
_GROUP: Final = "stt-edge"


class NotRunningError(UnavailableError):
    """No daemon serves any of the sockets."""


class RefusedError(SttEdgeError):
    """The daemon answered that it cannot do it."""

    def __init__(self, message: str, remedy: str, code: int) -> None:
        """Keep what the daemon said, and the exit code it advises."""
        super().__init__(message, remedy)
        self.exit_code = code  # type: ignore[misc]


def ask(
    sockets: Sequence[Path], command: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any
) -> Any:
    """Return the daemon's answer to a command; the first socket that somebody serves is used.

    Raises NotRunningError when no daemon runs, PermissionDeniedError when its socket may not be
    used, TemporaryError when it does not answer in time, RefusedError when it says no.
    """
    with _connect(sockets, timeout_s) as connection:
        request = json.dumps({"command": command, **arguments}).encode() + b"\n"
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have refused before it read
                connection.sendall(request)
            answer = _receive(connection)
        except TimeoutError as error:
            raise TemporaryError(
                f"stt-edge runs but has not answered within {timeout_s:g} s.",
                "If it stays that way, systemd's watchdog restarts it; see journalctl -u stt-edge.",
            ) from error
        except OSError as error:
            raise UnavailableError(f"stt-edge ended the connection: {error.strerror}.") from error
    if not answer.get("ok"):
        code = answer.get("code")
        raise RefusedError(
            str(answer.get("error", "stt-edge gave no reason.")),
            str(answer.get("remedy", "")),
            code if isinstance(code, int) else ExitCode.FAILED,
        )
    return answer.get("result")


def _connect(sockets: Sequence[Path], timeout_s: float) -> socket.socket:
    denied: Path | None = None
    for path in sockets:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
        except PermissionError:
            denied = denied or path
        except OSError:  # not there, or its daemon has died: another place may do
            pass
        else:
            return connection
        connection.close()
    if denied is not None:
        raise PermissionDeniedError(
            f"You may not use {denied}.",
            f"Join its group (sudo usermod -aG {_GROUP} $USER, then log in again), or use sudo.",
        )
    raise NotRunningError(
        "stt-edge is not running.", "Start it with: systemctl start stt-edge (or stt-edge run)."
    )


def _receive(connection: socket.socket) -> dict[str, Any]:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = connection.recv(1 << 16)
        if not data or len(received) > MAX_ANSWER_BYTES:
            raise UnavailableError("stt-edge ended the connection without an answer.")
        received += data
    try:
        answer = json.loads(received)
    except ValueError as error:
        raise UnavailableError("What listens there is not stt-edge.") from error
    if not isinstance(answer, dict):
        raise UnavailableError("What listens there is not stt-edge.")
    return answer
