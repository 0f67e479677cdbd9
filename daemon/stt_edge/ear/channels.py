"""One channel out of several, without a loop over samples in Python where that can be helped."""

from __future__ import annotations

from array import array
from operator import add
from typing import Final

MIX: Final = "mix"

_MOST_MIXED: Final = 8


def needed(wanted: int | str, fewest: int, most: int) -> int | None:
    """Return with how many channels to open a device that has ``fewest`` to ``most``.

    None where it does not have the channel. ALSA's plug layer makes one channel of a device that
    has no mono by taking the mean; a device that has both is asked for the channels themselves.
    """
    if wanted == MIX:
        return 1 if fewest > 1 else min(most, _MOST_MIXED)
    index = int(wanted)
    return max(fewest, index + 1) if index < most else None


def select(pcm: bytes, channels: int, wanted: int | str) -> bytes:
    """Return channel ``wanted`` (from 0, or ``mix`` for the mean) of interleaved s16 frames."""
    if channels == 1:
        return pcm
    samples = array("h", pcm)
    if wanted != MIX:
        return samples[int(wanted) :: channels].tobytes()
    total: list[int] | array[int] = samples[0::channels]
    for channel in range(1, channels):
        total = list(map(add, total, samples[channel::channels]))
    return array("h", [value // channels for value in total]).tobytes()
