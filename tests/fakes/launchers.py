"""The whole program with something wrong in it: ``python -m tests.fakes.launchers run -c FILE``.

``STT_EDGE_CRASH_AT``    the name of a point in ``crash_points``, at which it dies
``STT_EDGE_STALL_S``     how long SIGUSR1 blocks its event loop
``STT_EDGE_WALL_CLOCK``  a file that says by how many seconds its wall clock is wrong
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stt_edge import ids
from stt_edge.cli.main import main
from stt_edge.clock import SystemClock
from stt_edge.providers import registry
from tests.fakes import crash_points


def stall_on_signal(seconds: float) -> None:
    """Have SIGUSR1 block the event loop, which runs in the thread that takes signals."""

    def stall(*_: Any) -> None:
        time.sleep(seconds)

    signal.signal(signal.SIGUSR1, stall)


def falsify_wall_clock(path: Path) -> None:
    """Have the wall clock go wrong by what the file says at each moment."""

    def wrong_by_s() -> float:
        return float(path.read_text())

    def now(_: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=wrong_by_s())

    def time_ns() -> int:
        return time.time_ns() + int(wrong_by_s() * 1e9)

    SystemClock.now = now  # type: ignore[method-assign]
    ids.time = SimpleNamespace(time_ns=time_ns)  # type: ignore[attr-defined]


if __name__ == "__main__":
    registry.register("recording", "tests.fakes.recording")
    if crash := os.environ.get("STT_EDGE_CRASH_AT"):
        crash_points.arm(crash)
    if stall := os.environ.get("STT_EDGE_STALL_S"):
        stall_on_signal(float(stall))
    if wrong := os.environ.get("STT_EDGE_WALL_CLOCK"):
        falsify_wall_clock(Path(wrong))
    sys.exit(main(sys.argv[1:]))
