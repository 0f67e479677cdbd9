"""``python -m stt_edge.ear.look DEVICE``: what a device can do by itself, as one JSON object.

A process of its own, because a driver may hang, and because libasound prints what it likes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from stt_edge.ear import alsa
from stt_edge.ear.capture import chooser
from stt_edge.errors import DeviceError


def look(device: str) -> dict[str, Any]:
    """Return ``description, card, number, warning`` of a device, and ``rates, channels``.

    The last two are None while it cannot be opened; all are None where there is no such device.
    ``converts_well`` says whether ALSA here has more than linear interpolation for other rates.
    """
    found: dict[str, Any] = dict.fromkeys(
        ("description", "card", "number", "warning", "rates", "channels")
    )
    found["converts_well"] = alsa.converts_rates_well()
    try:
        target = chooser().choose(device)
    except DeviceError:
        return found
    found["description"], found["warning"] = target.description, target.warning
    if target.card is not None:
        found["card"], found["number"] = target.card.number, target.device
    try:
        formats = alsa.probe(target.raw_pcm if target.card else target.pcm)
    except alsa.AlsaError:
        return found
    found["rates"] = list(formats.rates)
    found["channels"] = [formats.channels_min, formats.channels_max]
    return found


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1])))
