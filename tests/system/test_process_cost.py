"""What the benchmark says of a process tree is true."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.lib import process_cost

_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
_WAIT = "print(flush=True); input()"


@contextmanager
def running(script: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has printed a line and waits for one."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_descendants_are_found_however_deep() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_WAIT!r}])"
    with running(child) as process:
        tree = process_cost.descendants(process.pid)
        assert tree[0] == process.pid
        assert len(tree) == 2
        assert set(tree) < set(process_cost.descendants(os.getpid()))


def test_the_cpu_time_of_a_process_counts_and_that_of_its_ended_children_too() -> None:
    burn_twice = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN!r}])\n"
    with running(burn_twice + _BURN + _WAIT) as process:
        assert 560 <= process_cost.read([process.pid]).cpu_ns / 1e6 < 3000


def test_a_process_that_is_gone_costs_nothing() -> None:
    with running(_WAIT) as process:
        pass
    assert process_cost.read([process.pid]).processes == 0


def test_a_cost_is_what_was_spent_between_two_readings() -> None:
    before = process_cost.Reading(0, 5_000_000, 100, 2048, 2, 5)
    after = process_cost.Reading(4_000_000_000, 25_000_000, 180, 3072, 2, 6)
    cost = process_cost.between(before, after)
    assert cost == process_cost.Cost(4.0, 5.0, 20.0, 3.0, 2, 6)


def test_memory_and_wake_ups_are_those_of_the_kernel() -> None:
    with running("x = bytearray(40_000_000)\nimport time\n" + _WAIT) as process:
        reading = process_cost.read([process.pid])
        assert reading.pss_kib > 39_000
        assert reading.switches > 0
        assert (reading.processes, reading.threads) == (1, 1)
