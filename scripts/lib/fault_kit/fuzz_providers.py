"""What services say when all is well: recorded from their simulators, as the seeds of fuzzing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.providers.test_every_provider import built, desk
from tests.simulators.core import Faults
from tests.simulators.registry import names, simulator_class
from tests.simulators.speech import say

from stt_edge.providers import registry
from stt_edge.providers.base import Incoming, Protocol

LOCAL: Final = ("pocketsphinx",)
"""Engines of this machine; they all speak one protocol, that of the worker."""

_WORKER: Final[tuple[dict[str, Any], ...]] = (
    {"type": "ready", "model": "m"},
    {"type": "heard", "samples": 1600},
    {"type": "partial", "words": [["hello", 0, 800, None]], "end": 1600},
    {"type": "final", "words": [["hello", 0, 800, 0.5], ["you", 800, 900, 1]], "confidence": 0.5},
    {"type": "finished"},
    {"type": "error", "kind": "setup", "message": "m", "remedy": "r"},
)


def all_names() -> tuple[str, ...]:
    """Return every provider whose protocol can be fed."""
    return (*names(), *LOCAL)


def protocol_of(name: str, work: Path) -> tuple[Callable[[], Protocol], list[Incoming]]:
    """Return how to make a provider's protocol, and what its service has said to it."""
    work.mkdir(parents=True, exist_ok=True)
    if name in LOCAL:
        options = registry.options(name)
        assert options is not None
        provider = registry.build(name, name, options())
        return provider.make_protocol, [json.dumps(body) for body in _WORKER]
    simulator = simulator_class(name)()
    simulator.port = 1  # options are written without a service; nothing is connected to
    make = built(name, simulator.options(work), work).make_protocol
    return make, asyncio.run(_recorded(name, make, work))


async def _recorded(name: str, make: Callable[[], Protocol], work: Path) -> list[Incoming]:
    """Let a simulator transcribe two utterances, and one it breaks off; return what it said."""
    heard: list[Incoming] = []
    kind: Any = type(make())
    plain = kind.feed

    def listen(protocol: Protocol, message: Incoming) -> Any:
        heard.append(message)
        return plain(protocol, message)

    kind.feed = listen
    try:
        for faults in (Faults(), Faults(duplicate_finals=True)):
            async with desk(name, work, faults) as made:
                for number, words in enumerate(([0, 1, 2], [3])):
                    made.speak(str(number), say(words), at=100_000 * number)
                    await made.record(str(number))
    finally:
        kind.feed = plain
    assert heard, f"the simulator of {name} said nothing"
    return heard
