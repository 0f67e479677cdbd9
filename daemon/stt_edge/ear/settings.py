"""What the ear is told when it is to begin: one JSON object, in ``Begin``."""

from __future__ import annotations

import json
from dataclasses import asdict, field
from typing import Any

from stt_edge.ear.wire import GateSettings
from stt_edge.frozen import frozen


@frozen
class SourceSettings:
    """Where the sound comes from: a device, or a file, or a command (exactly one is used)."""

    device: str = "auto"
    latency_ms: int = 600
    block_ms: int = 100
    channel: int | str = 0
    """Counted from 0, or ``mix`` for the mean of all."""
    file: str | None = None
    pace: str = "realtime"
    """``realtime`` or ``fast``; for a file."""
    command: tuple[str, ...] | None = None
    """argv of a program that writes raw s16le 16 kHz mono to its standard output."""


@frozen
class EarSettings:
    """Everything the ear needs to know to listen."""

    source: SourceSettings = field(default_factory=SourceSettings)
    gate: GateSettings = field(default_factory=GateSettings)

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> EarSettings:
        """Return the settings of a line written by ``to_json``."""
        body: dict[str, Any] = json.loads(text)
        source = body["source"]
        if source["command"] is not None:
            source["command"] = tuple(source["command"])
        return cls(SourceSettings(**source), GateSettings(**body["gate"]))
