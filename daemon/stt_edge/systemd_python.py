"""The one place that imports systemd-python, so that the program also runs without it.

``journal`` is its module of that name, or None; ``MISSING`` then says why. Import this module where
it is needed only: it brings libsystemd into the process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import UnavailableError
from stt_edge.extras import install_command

journal: Any
MISSING: str
"""Why there is no systemd-python; empty when there is."""

try:
    import systemd.journal as _journal
except ImportError as error:
    journal, MISSING = None, str(error)
else:
    journal, MISSING = _journal, ""

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
"""Where journald takes entries; libsystemd knows no other place."""


def require() -> None:
    """Raise UnavailableError, naming the extra to install, when systemd-python is not there."""
    if MISSING:
        raise UnavailableError(
            f"The journal needs systemd-python, which cannot be imported ({MISSING}).",
            f"Install it with: {install_command('systemd')} (it is built from source and needs "
            "libsystemd-dev and pkg-config).",
        )


def send_entry(fields: Iterable[tuple[str, object]]) -> None:
    """Send one entry to the journal.

    Raises UnavailableError when systemd-python, and OSError when journald is not there.
    Values may hold line breaks: such a field goes with its length in front, so no text can forge
    another field.
    """
    require()
    if not JOURNAL_SOCKET.exists():  # libsystemd would drop the entry and report success
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(JOURNAL_SOCKET))
    journal.sendv(*(f"{name}={value}".encode(errors="replace") for name, value in fields))
