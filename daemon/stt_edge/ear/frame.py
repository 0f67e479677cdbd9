"""What the two stages of detection tell the gate: 20 ms at a time."""

from __future__ import annotations

from typing import Final

from stt_edge.frozen import frozen, frozen_and_compiled
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE

FRAME_SAMPLES: Final = SAMPLE_RATE // 50
"""20 ms."""
FRAME_BYTES: Final = FRAME_SAMPLES * SAMPLE_BYTES


@frozen_and_compiled
class Frame:
    """20 ms of audio, and what the first stage found in it."""

    sample: int
    voiced: bool
    level_db: float

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.sample + FRAME_SAMPLES


@frozen
class Verdict:
    """What the second stage makes of everything up to the end of a frame."""

    confirmed: bool
    """It is sure enough of speech to pay for a session."""
    heard: bool
    """It hears speech at this moment."""
    hopeless: bool
    """It is sure that there has been no speech for a while."""
