"""A provider kind for daemons under test: keeps every byte it is given, and says what happened.

``DIRECTORY/N.pcm`` is the audio of utterance N, written as it comes; ``DIRECTORY/events.jsonl`` has
a line for each thing that happened, with CLOCK_MONOTONIC. What is understood of utterance N begins
with ``utterance N``.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stt_edge.config.schema import option
from stt_edge.providers.base import Provider
from tests.fakes.provider import Behaviour, FakeServer, Utterance


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of a provider of this kind."""

    directory: str = option("recorded", doc="where to write", path=True)
    text: str = option("utterance {n}", doc="what is understood, over and over")
    ready_s: float = option(0.0, doc="from the connection until it is ready")
    final_s: float = option(0.0, doc="from the end of the audio until its final")
    goodbye_s: float = option(0.0, doc="from the goodbye until it is confirmed")
    drop_at: int | None = option(None, doc="break each connection after this many samples")
    finalize: bool = option(True, doc="can be asked to finish an utterance and stay")
    max_connections: int = option(2, doc="connections at a time")


def build(name: str, options: Options) -> Provider:
    """Return the provider; it records nothing yet."""
    behaviour = Behaviour(
        text=options.text,
        ready_s=options.ready_s,
        final_s=options.final_s,
        goodbye_s=options.goodbye_s,
        drop_at=options.drop_at,
    )
    recorder = Recorder(Path(options.directory))
    server = FakeServer(behaviour, watch=recorder, number=recorder.next_number)
    return server.provider(name, finalize=options.finalize, max_connections=options.max_connections)


class Recorder:
    """Writes what a fake server is given, and when."""

    def __init__(self, directory: Path) -> None:
        """Go on after the utterances that are there already: a daemon may be started again."""
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._written: dict[int, int] = {}

    def next_number(self) -> int:
        """The number of the next utterance; its file is there from the beginning."""
        number = len(list(self._directory.glob("*.pcm")))
        (self._directory / f"{number}.pcm").touch()
        return number

    def __call__(self, what: str, connection: int, utterance: Utterance | None) -> None:
        """Write one event down, and the audio that came with it."""
        body: dict[str, Any] = {
            "mono_ns": time.monotonic_ns(),
            "what": what,
            "connection": connection,
        }
        if utterance is not None:
            body |= {"utterance": utterance.number, "samples": utterance.samples}
            self._append(utterance)
        with (self._directory / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(body) + "\n")

    def _append(self, utterance: Utterance) -> None:
        done = self._written.get(utterance.number, 0)
        with (self._directory / f"{utterance.number}.pcm").open("ab") as pcm:
            pcm.write(utterance.audio[done:])
        self._written[utterance.number] = len(utterance.audio)


def recorded(directory: Path) -> list[bytes]:
    """The audio of every utterance, in the order of their beginnings."""
    count = len(list(directory.glob("*.pcm")))
    return [(directory / f"{number}.pcm").read_bytes() for number in range(count)]


def events(directory: Path) -> list[dict[str, Any]]:
    """What happened, in order."""
    path = directory / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
