"""A sink at a broker, with a follower and a store, and a program behind it that can be muted."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stt_edge.errors import SttEdgeError
from stt_edge.sinks.base import SinkContext
from stt_edge.sinks.follower import Follower, FollowerSettings
from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_sink import MqttSink, Patience
from tests.sinks.samples import MemoryStore, record

NODE = "kitchen"
BASE = f"stt-edge/{NODE}"
IMPATIENT = Patience(ack_s=2.0, status_every_s=3600, birth_s=0.02)
QUICK = FollowerSettings(
    save_cursor_s=0.02, first_retry_s=0.02, longest_retry_s=0.1, refusal_wait_s=0.0
)
ONLY_WHEN_TOLD = FollowerSettings(first_retry_s=3600, longest_retry_s=3600)


class Program:
    """What a sink sees of the program it runs in."""

    def __init__(self) -> None:
        self.muted = False
        self.wishes: list[bool] = []
        self.stuck: SttEdgeError | None = None
        self.speaking = False
        self.provider = "up"
        self.waiting_s = 0.0
        self.uptime_s = 0.0

    def status(self) -> dict[str, Any]:
        self.uptime_s += 0.25
        return {
            "version": "9.9",
            "uptime_s": self.uptime_s,
            "muted": self.muted,
            "ear": {"state": "muted" if self.muted else "hearing"},
            "speech": {"open": self.speaking},
            "provider": {"name": "echo", "state": self.provider},
            "providers": [{"name": "echo", "state": self.provider}],
            "backlog": {"utterances": int(self.waiting_s > 0), "seconds": self.waiting_s},
            "spool": {"seconds": self.waiting_s},
            "sinks": {"mqtt": {"state": "ok", "pending": 0}},
        }

    async def mute(self, on: bool) -> None:
        self.wishes.append(on)
        if self.stuck is not None:
            raise self.stuck
        self.muted = on

    def context(self, node: str = NODE) -> SinkContext:
        return SinkContext(
            Path("/nowhere"), node=node, version="9.9", status=self.status, mute=self.mute
        )


class Room:
    """A sink that is followed."""

    def __init__(self, sink: MqttSink, follower: Follower, store: MemoryStore, program: Program):
        self.sink = sink
        self.follower = follower
        self.store = store
        self.program = program

    def say(self, *texts: str, **changes: Any) -> list[str]:
        """Commit records; returns their ids."""
        made = [record(text, **changes) for text in texts]
        self.store.records += made
        self.follower.wake()
        return [each.id for each in made]

    @property
    def trouble(self) -> str:
        return self.follower.status().message

    async def until_delivered(self, count: int) -> None:
        await until(lambda: self.follower.status().delivered >= count)


@asynccontextmanager
async def room(
    options: Options,
    *,
    settings: FollowerSettings = QUICK,
    patience: Patience = IMPATIENT,
    program: Program | None = None,
    store: MemoryStore | None = None,
    node: str = NODE,
    rng: random.Random | None = None,
) -> AsyncIterator[Room]:
    """Follow until the block ends, then stop as the daemon does."""
    program = program or Program()
    store = store or MemoryStore()
    store.cursors.setdefault("mqtt", 0)
    sink = MqttSink(options, program.context(node), patience, rng=rng)
    follower = Follower(sink, store, settings)
    following = asyncio.create_task(follower.run())
    try:
        yield Room(sink, follower, store, program)
    finally:
        await follower.stop(3.0)
        await following


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


def ids(payloads: list[bytes]) -> list[str]:
    return [json.loads(payload)["id"] for payload in payloads]
