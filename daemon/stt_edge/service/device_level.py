"""How loud it is at a device, heard by an ear of its own for a moment."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import Decoder, Fault, GateSettings, Health, LevelRate, Stop, StopMode
from stt_edge.errors import DeviceError, FaultKind
from stt_edge.model import SAMPLE_RATE
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess

FIRST_BLOCK_S: Final = 10.0
_REPORTS_HZ: Final = 10.0
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Level:
    """Decibels relative to full scale; -120 is digital silence."""

    level_db: float
    """Loudness of the last second."""
    noise_db: float
    """The noise floor, as the gate found it."""


def measure(
    pcm: str,
    seconds: float,
    *,
    patience_s: float = FIRST_BLOCK_S,
    ear_command: Sequence[str] = EAR_COMMAND,
) -> Level:
    """Listen for ``seconds``. Raises DeviceError when the device cannot be heard.

    A process of its own does it: some devices hang when they are opened, and it can be killed.
    """
    settings = EarSettings(SourceSettings(device=pcm), GateSettings(confirm="none"))
    ear = EarProcess(settings, ear_command)
    try:
        ear.send(LevelRate(_REPORTS_HZ))
        health = _listen(ear.pipe, round(seconds * SAMPLE_RATE), pcm, patience_s + seconds)
        ear.send(Stop(StopMode.STOP))
    finally:
        ear.kill()
        ear.reap()
        ear.close()
    return Level(health.level_db, health.noise_db)


def _listen(pipe: int, samples: int, pcm: str, patience_s: float) -> Health:
    decoder = Decoder()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    deadline = time.monotonic() + patience_s
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        data = os.read(pipe, _READ_BYTES)
        if not data:
            raise DeviceError(FaultKind.INTERNAL, f"{pcm}: the ear ended without a word.")
        for message in decoder.feed(data):
            if isinstance(message, Fault):
                raise DeviceError(message.kind, message.message, message.remedy)
            if isinstance(message, Health) and message.samples >= samples:
                return message
    raise DeviceError(
        FaultKind.INTERNAL,
        f"{pcm} has been opened, but no sound has come from it within {patience_s:g} s.",
        "Plug it out and in again; a slow one may need a larger audio.first_block_s.",
    )
