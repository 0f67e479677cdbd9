"""What systemd is told (sd_notify(3)): datagrams of ``KEY=value`` lines on one socket.

Sent directly, with systemd-python or without: there is one way to do it, so it is the tested one.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 1.0
_MAX_STATUS: Final = 200


class Notifier:
    """Tells the service manager how the daemon is; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Find the manager's socket in ``$NOTIFY_SOCKET``."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._complained = False
        self.watchdog_s = _watchdog_s(environ) if self._address else None
        """How often the manager wants to hear from us, in seconds; None if it does not."""

    @property
    def present(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that the daemon does its work, at the start or after a reload."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what it is doing."""
        line = " ".join(text.split())
        self._send(f"STATUS={line[:_MAX_STATUS]}")

    def alive(self) -> None:
        """Say that it works properly; to be said within every ``watchdog_s``."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is read again; ``ready`` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that it comes to its end."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract name space
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_TIMEOUT_S)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            if not self._complained:
                _log.warning("cannot tell systemd %s: %s", lines[0], error)
            self._complained = True
        else:
            self._complained = False


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    microseconds = environ.get("WATCHDOG_USEC", "")
    meant_for = environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0:
        return None
    if meant_for not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6
