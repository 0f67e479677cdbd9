"""MESSAGE_ID of every event an operator may want to find, count or be told about.

One 128-bit id for each kind of event, made once with ``systemd-id128 new`` and never changed:
``journalctl MESSAGE_ID=…`` finds it, ``journalctl -x`` explains it (``config/stt-edge.catalog``).
"""

from __future__ import annotations

from enum import StrEnum


class MessageId(StrEnum):
    """What happened, for ``extra={"message_id": …}`` of a log call."""

    FINAL = "7f0e360ab7b144e9aa57cce486704796"
    """An utterance was transcribed; MESSAGE is its text."""
    SPEECH_LOST = "a1bff7d196104d35a9c426784767bcd1"
    SPOOL_FULL = "d207accd232e4e599ca37f3eb58e874e"
    """The oldest speech that waited was given up for want of room, or for its age."""
    SPOOL_TROUBLE = "c06d59794d13450ba9f354501dcdf920"
    """Audio that waits cannot be put on the disk; it is kept in memory."""
    PROVIDER_DOWN = "8df483f194ed4a8c880957eb155f4f5a"
    PROVIDER_UP = "727e96e20a104f108b0e3932db16b130"
    PROVIDER_BLOCKED = "aec2902e45ce47f99c479d0633265ea2"
    DEVICE_LOST = "7d34b35882d54097869cccf6a8271b62"
    DEVICE_BACK = "89213907bf064759bc1ebc58dc2e3ba5"
    CONFIG_REJECTED = "e68e97d6511f452db10c9fef6233d167"
    MUTED = "ff5b10f91839455e90a77c4890871817"
    UNMUTED = "9b850f49daca43fcb9cb90bf57c88848"
    STARTED = "9b93ef53e4c84e7d9fa1186538233594"
    """The service listens."""
