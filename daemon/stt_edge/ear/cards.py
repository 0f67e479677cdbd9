"""Sound cards as the kernel lists them in /sys/class/sound; nothing is opened.

/proc/asound would say more, and is hidden from the service (``ProcSubset=pid``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stt_edge.frozen import frozen

SYSFS: Final = Path("/sys/class/sound")

_CARD: Final = re.compile(r"card(\d+)")
_NODE: Final = re.compile(r"(?:controlC|pcmC|card)(\d+)")
_USB_INTERFACE: Final = re.compile(r"(\d+-\d+(?:\.\d+)*):\d+\.\d+")


@frozen
class Card:
    """One sound card."""

    number: int
    """Given in the order of detection; may change at every boot."""
    id: str
    """Stays the same as long as no two cards are alike."""
    captures: tuple[int, ...]
    """The numbers of its devices that can capture."""
    usb_path: str | None = None
    """Bus and ports, such as ``1-1.4``; stays the same as long as the plug does."""
    product: str | None = None
    """What a USB device calls itself."""

    @property
    def label(self) -> str:
        """The card as a person would name it."""
        about = [self.product or "", f"USB {self.usb_path}" if self.usb_path else ""]
        text = ", ".join(part for part in about if part)
        return f"{self.id} ({text})" if text else self.id


def cards(sysfs: Path = SYSFS) -> list[Card]:
    """Return all sound cards, in the order of their numbers."""
    if not sysfs.is_dir():
        return []
    names = [path.name for path in sysfs.iterdir()]
    numbers = sorted(int(found[1]) for name in names if (found := _CARD.fullmatch(name)))
    return [card for number in numbers if (card := _card(sysfs, number, names))]


def card_number_at(path: Path) -> int | None:
    """Return the number of the card a path in /dev/snd or /sys belongs to, if to any."""
    for part in reversed(path.resolve().parts):
        if found := _NODE.match(part):
            return int(found[1])
    return None


def _card(sysfs: Path, number: int, names: list[str]) -> Card | None:
    folder = sysfs / f"card{number}"
    card_id = _line(folder / "id")
    if card_id is None:
        return None  # it is being unplugged at this moment
    capture = re.compile(rf"pcmC{number}D(\d+)c")
    captures = sorted(int(found[1]) for name in names if (found := capture.fullmatch(name)))
    usb_path, product = _usb(folder)
    return Card(number, card_id, tuple(captures), usb_path, product)


def _usb(folder: Path) -> tuple[str | None, str | None]:
    interface = (folder / "device").resolve()
    found = _USB_INTERFACE.fullmatch(interface.name)
    if not found:
        return None, None
    return found[1], _line(interface.parent / "product")


def _line(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
