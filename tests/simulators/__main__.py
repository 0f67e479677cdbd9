"""Run a simulator by hand: ``python -m tests.simulators deepgram --port 9000 --fault drop_s=3``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.simulators.core import KEY, Faults
from tests.simulators.registry import names, provider_of, simulator_class
from tests.simulators.speech import RECOGNISERS


def _faults(words: list[str]) -> Faults:
    """Return the faults named as ``NAME`` or ``NAME=VALUE``; what is no field is one of its own."""
    known = {item.name: item for item in fields(Faults)}
    values: dict[str, Any] = {}
    other: set[str] = set()
    for word in words:
        name, _, value = word.partition("=")
        name = name.replace("-", "_")
        if name not in known or name == "other":
            other.add(word)
        elif name == "drop_s":
            values[name] = tuple(float(part) for part in value.split(","))
        elif name in ("http_status", "close_code"):
            values[name] = int(value)
        elif name in ("retry_after", "close_reason"):
            values[name] = value
        else:
            values[name] = float(value) if value else True
    return Faults(**values, other=frozenset(other))


async def _run(arguments: argparse.Namespace) -> None:
    simulator = simulator_class(arguments.name)(
        _faults(arguments.fault),
        key=arguments.key,
        recogniser=RECOGNISERS[arguments.recognise],
        port=arguments.port,
    )
    with tempfile.TemporaryDirectory() as directory:
        async with simulator:
            print("write this into stt-edge.yaml:\n\nproviders:")
            print(f"  - name: {provider_of(arguments.name)}")
            for key, value in simulator.options(Path(directory)).items():
                print(f"    {key}: {value}")
            print("\nCtrl-C ends it.", flush=True)
            await _watch(simulator)


async def _watch(simulator: Any) -> None:
    shown = 0
    while True:
        await asyncio.sleep(0.5)
        for number, session in enumerate(simulator.sessions[shown:], shown + 1):
            if session.closed_code is None:
                break
            shown = number
            seconds = len(session.pcm) / 32000
            print(f"session {number}: {seconds:.2f} s of audio, closed {session.closed_code}")


def main() -> int:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--recognise", choices=sorted(RECOGNISERS), default="timed")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE]")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
