"""What ``stt-edge doctor`` looks at: a list of checks, each of which says what it found.

A check is an asynchronous generator of findings over the configuration; it raises nothing for what
is wrong with the machine. A new one is written anywhere and named in ``CHECKS``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stt_edge.config.settings import Config


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARN = "warn"
    """It works, and may not for long, or not well."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """What was looked at: ``provider deepgram: key``."""
    level: Level
    message: str
    remedy: str = ""
    """What to do about it; empty when it is well."""


Check = Callable[[Config], AsyncIterator[Finding]]


async def check_providers(config: Config) -> AsyncIterator[Finding]:
    """Look at each configured provider, without sending it any audio."""
    from stt_edge.service.doctor_provider import check_provider

    if not config.providers:
        yield Finding(
            "providers",
            Level.FAIL,
            "None is configured, and the default one is not installed.",
            'Configure one, or: pip install "stt-edge[pocketsphinx]"',
        )
    for entry in config.providers:
        async for finding in check_provider(entry):
            yield finding


CHECKS: Final[tuple[Check, ...]] = (check_providers,)


async def examine(config: Config) -> AsyncIterator[Finding]:
    """Carry out every check; yields what is found as it is found."""
    for check in CHECKS:
        async for finding in check(config):
            yield finding
