"""What a check says of one thing it has looked at."""

from __future__ import annotations

from enum import StrEnum

from stt_edge.frozen import frozen


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARN = "warn"
    """It works, and may not for long, or not well; or it could not be looked at."""
    FAIL = "fail"


@frozen
class Finding:
    """One thing that was looked at."""

    name: str
    """What was looked at, in kebab-case: ``group-audio``; or ``provider deepgram: key``."""
    level: Level
    message: str
    remedy: str = ""
    """What to do about it; empty when it is well."""


def well(name: str, message: str) -> Finding:
    """Return the finding that something is as it should be."""
    return Finding(name, Level.OK, message)


def doubtful(name: str, message: str, remedy: str) -> Finding:
    """Return the finding that something may become, or hide, a failure."""
    return Finding(name, Level.WARN, message, remedy)


def failing(name: str, message: str, remedy: str) -> Finding:
    """Return the finding that something does not work."""
    return Finding(name, Level.FAIL, message, remedy)


AS_ROOT = "To have it looked at: sudo stt-edge doctor"
"""The remedy for what this user may not see."""
