"""Everything on this machine that can be captured, and what it can do."""

from __future__ import annotations

import errno

from stt_edge.ear import alsa
from stt_edge.ear.capture import chooser, refusal
from stt_edge.ear.chatter import Chatter
from stt_edge.ear.device import Target
from stt_edge.errors import DeviceError
from stt_edge.frozen import frozen


@frozen
class Found:
    """One device."""

    target: Target
    formats: alsa.Formats | None = None
    """Its own, without conversion; None while it cannot be looked at."""
    is_busy: bool = False
    problem: DeviceError | None = None
    """Why it cannot be looked at, in use or not."""

    @property
    def name_to_set(self) -> str:
        """What to write into ``audio.device`` to get it."""
        card = self.target.card
        if card is not None and self.target.device == card.captures[0]:
            return card.id
        return self.target.pcm

    @property
    def converts(self) -> bool:
        """Whether it takes any rate: a sound server, or a definition that converts."""
        return self.formats is not None and set(alsa.COMMON_RATES) == set(self.formats.rates)


def survey() -> list[Found]:
    """Return all devices, cards first. Raises DeviceError when ALSA cannot be used at all."""
    with Chatter() as chatter:
        found = [_look_at(target) for target in chooser().available()]
        chatter.discard()
    return found


def _look_at(target: Target) -> Found:
    try:
        return Found(target, alsa.probe(target.raw_pcm if target.card else target.pcm))
    except alsa.AlsaError as error:
        is_busy = error.number == errno.EBUSY
        return Found(target, None, is_busy, refusal(target, error.number))
