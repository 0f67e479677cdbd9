"""How loud it is at a device or another source, heard by an ear of its own for a moment."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from typing import Final

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import (
    Decoder,
    Fault,
    Finished,
    GateSettings,
    Health,
    LevelRate,
    Opened,
    Stop,
    StopMode,
)
from stt_edge.errors import DeviceError, FaultKind
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess

FIRST_BLOCK_S: Final = 10.0
_REPORTS_HZ: Final = 10.0
_READ_BYTES: Final = 1 << 16


@frozen
class Level:
    """Decibels relative to full scale; -120 is digital silence."""

    level_db: float
    """Loudness of the last second."""
    noise_db: float
    """The noise floor, as the gate found it."""


@frozen
class Heard:
    """What came from a source."""

    opened: Opened
    health: Health


def measure(
    pcm: str,
    seconds: float,
    *,
    patience_s: float = FIRST_BLOCK_S,
    ear_command: Sequence[str] = EAR_COMMAND,
) -> Level:
    """Listen to a device for ``seconds``. Raises DeviceError when it cannot be heard."""
    source = SourceSettings(device=pcm)
    health = listen(source, seconds, patience_s=patience_s, ear_command=ear_command).health
    return Level(health.level_db, health.noise_db)


def listen(
    source: SourceSettings,
    seconds: float,
    *,
    patience_s: float = FIRST_BLOCK_S,
    ear_command: Sequence[str] = EAR_COMMAND,
) -> Heard:
    """Listen to a source for ``seconds``, or to its end. Raises DeviceError when nothing comes.

    A process of its own does it: some devices hang when they are opened, and it can be killed.
    """
    ear = EarProcess(ear_command)
    try:
        ear.begin(EarSettings(source, GateSettings(confirm="none")))
        ear.send(LevelRate(_REPORTS_HZ))
        heard = _listen(ear.pipe, round(seconds * SAMPLE_RATE), source, patience_s + seconds)
        ear.send(Stop(StopMode.STOP))
    finally:
        ear.kill()
        ear.reap()
        ear.close()
    return heard


def _listen(pipe: int, samples: int, source: SourceSettings, patience_s: float) -> Heard:
    name = source.file or (source.command[0] if source.command else source.device)
    opened, health = None, None
    decoder = Decoder()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    deadline = time.monotonic() + patience_s
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        data = os.read(pipe, _READ_BYTES)
        if not data:
            raise DeviceError(FaultKind.INTERNAL, f"{name}: the ear ended without a word.")
        for message in decoder.feed(data):
            match message:
                case Fault():
                    raise DeviceError(message.kind, message.message, message.remedy)
                case Opened():
                    opened = message
                case Health():
                    health = message
                case _:
                    pass
            if opened is None or health is None:
                continue
            if health.samples >= samples or isinstance(message, Finished):
                return Heard(opened, health)
    raise DeviceError(
        FaultKind.INTERNAL,
        f"{name} has been opened, but no sound has come from it within {patience_s:g} s.",
        "Plug it out and in again; a slow one may need a larger audio.first_block_s.",
    )
