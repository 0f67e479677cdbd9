"""Where things are on the broker, and what this device is called there."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final

from stt_edge.frozen import frozen

MACHINE_ID: Final = Path("/etc/machine-id")
_APPLICATION: Final = b"stt-edge mqtt device"


@frozen
class Topics:
    """The topics of one device, under its base."""

    base: str

    @property
    def availability(self) -> str:
        """Return where ``online`` or ``offline`` is retained."""
        return f"{self.base}/availability"

    @property
    def transcript(self) -> str:
        """Return where records are published; nothing is retained there."""
        return f"{self.base}/transcript"

    @property
    def last(self) -> str:
        """Return where the newest record is retained."""
        return f"{self.base}/last"

    @property
    def partial(self) -> str:
        """Return where text that is not final yet is published."""
        return f"{self.base}/partial"

    @property
    def speech(self) -> str:
        """Return where it is retained whether somebody speaks."""
        return f"{self.base}/speech"

    @property
    def provider(self) -> str:
        """Return where it is retained whether the provider in use can be reached."""
        return f"{self.base}/provider"

    @property
    def status(self) -> str:
        """Return where the status document is retained."""
        return f"{self.base}/status"

    @property
    def mute(self) -> str:
        """Return where it is retained whether the microphone is closed."""
        return f"{self.base}/mute"

    @property
    def set_mute(self) -> str:
        """Return where ``ON`` closes the microphone and ``OFF`` opens it."""
        return f"{self.base}/mute/set"

    def command(self, verb: str) -> str:
        """Return where a command is given."""
        return f"{self.base}/cmd/{verb}"

    def reply(self, verb: str) -> str:
        """Return where it is answered."""
        return f"{self.base}/reply/{verb}"

    @property
    def retained(self) -> tuple[str, ...]:
        """Return every topic under the base on which something is retained."""
        return (self.availability, self.last, self.speech, self.provider, self.status, self.mute)


def device_id(node: str, machine_id: Path = MACHINE_ID) -> str:
    """Return the name of a node that never changes, made of ``[a-z0-9_]``.

    A keyed hash, because machine-id(5) forbids to show the machine id itself. A machine without one
    is told from others by its node alone.
    """
    try:
        secret = machine_id.read_bytes().strip()
    except OSError:
        secret = b""
    digest = hmac.new(secret, _APPLICATION + b"\0" + node.encode(), hashlib.sha256)
    return f"stt_edge_{digest.hexdigest()[:12]}"
