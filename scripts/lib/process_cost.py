"""What a process and its descendants cost: CPU time, wake-ups, memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPU_CLOCK_OF_PROCESS: Final = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of some processes at one moment."""

    at_ns: int
    cpu_ns: int
    switches: int
    """Context switches of all threads: each is a wake-up, or the loss of the processor."""
    pss_kib: int
    processes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What some processes cost between two readings."""

    seconds: float
    cpu_ms_per_s: float
    wakeups_per_s: float
    pss_mib: float
    """At the end."""
    processes: int
    threads: int


def descendants(pid: int) -> list[int]:
    """Return a process and all its descendants that live; none where it has ended."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid] if _stat(pid) else []
    for parent in found:
        found.extend(parents.get(parent, ()))
    return found


def read(pids: Sequence[int]) -> Reading:
    """Return the counters of these processes together; one that has ended has none."""
    threads = [thread for pid in pids for thread in _threads(pid)]
    return Reading(
        at_ns=time.monotonic_ns(),
        cpu_ns=sum(_cpu_ns(pid) for pid in pids),
        switches=sum(_switches(thread) for thread in threads),
        pss_kib=sum(_pss_kib(pid) for pid in pids),
        processes=sum(bool(_stat(pid)) for pid in pids),
        threads=len(threads),
    )


def between(before: Reading, after: Reading) -> Cost:
    """Return what was spent between two readings of the same processes."""
    seconds = (after.at_ns - before.at_ns) / 1e9
    return Cost(
        seconds=round(seconds, 2),
        cpu_ms_per_s=round((after.cpu_ns - before.cpu_ns) / 1e6 / seconds, 3),
        wakeups_per_s=round((after.switches - before.switches) / seconds, 2),
        pss_mib=round(after.pss_kib / 1024, 1),
        processes=after.processes,
        threads=after.threads,
    )


def name_of(pid: int) -> str:
    """Return what a process of the daemon is, and its id: ``ear (4711)``."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return f"gone ({pid})"
    part = "main" if " run" in command else "ear" if "stt_edge.ear" in command else "worker"
    return f"{part} ({pid})"


def pss_mib(pid: int) -> float:
    """Return the proportional share of memory of one process."""
    return round(_pss_kib(pid) / 1024, 1)


def _cpu_ns(pid: int) -> int:
    """CPU time of a process, to the nanosecond, and of its children that have ended, in ticks."""
    fields = _stat(pid)
    if not fields:
        return 0
    try:
        own = time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK_OF_PROCESS)
    except OSError:
        return 0
    return own + (int(fields[13]) + int(fields[14])) * _TICK_NS


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, …; empty when gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _switches(thread: Path) -> int:
    try:
        lines = (thread / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
