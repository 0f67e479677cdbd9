"""A sink's module that says of its other side what the environment variable PIGEON says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from stt_edge.sinks.base import Examined, SinkContext


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to set."""


async def examine(options: Any, context: SinkContext) -> list[Examined]:
    """Return one step."""
    assert options is None
    level = os.environ["PIGEON"]
    remedy = "" if level == "ok" else "Feed it."
    return [Examined("loft", level, f"{context.logs_directory} has a pigeon.", remedy)]
