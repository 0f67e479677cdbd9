"""F10: a network that is late, resets, swallows, knows no names, or passes a byte a second."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fault import FaultError, progress
from scripts.lib.fault_kit.tests_run import hold
from tests.providers.network import half_open

NAME = "F10"
TITLE = "late, reset, half-open and nameless networks, expired certificates, a byte a second"

FOUND_WITHIN_S: Final = 20.0
_SPOKEN_S: Final = 5.0
_CASES: Final = (
    ("stop_reading", True),
    ("stop_reading", False),
    ("vanish", True),
    ("vanish", False),
    ("swallow", True),
)
"""What the network does, and whether the service answers pings."""


def run(work: Path, quick: bool) -> str:
    """Try each; how long a half-open connection stays unnoticed is measured in the full run."""
    if quick:
        return hold("tests/faults/test_network.py", "tests/providers/test_half_open.py")
    tests = hold(
        "tests/faults/test_network.py",
        "tests/providers/test_half_open.py",
        "tests/providers/test_websocket_transport.py",
        "tests/providers/test_tls.py",
        variables={"STT_EDGE_FAULTS_IN_FULL": "1"},
    )
    progress("connections that are half open")
    slowest_s = asyncio.run(_half_open())
    return f"half-open found within {slowest_s:.1f} s; {tests}"


async def _half_open() -> float:
    """Return how long it took at the most."""
    found = await asyncio.gather(
        *(half_open(fault, pings=pings, before_s=_SPOKEN_S) for fault, pings in _CASES)
    )
    slowest_s = max(took_s for took_s, _ in found)
    if slowest_s > FOUND_WITHIN_S:
        raise FaultError(f"a half-open connection was found after {slowest_s:.1f} s")
    return slowest_s
