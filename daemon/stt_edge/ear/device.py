"""Which device ``audio.device`` means.

``auto`` is the one card that can capture. Everything else is tried in this order: a path in
/dev/snd or /sys, a card's id, a card's USB path, ``hw:`` and ``plughw:`` names, a name ALSA's
configuration defines, and a part of a name that fits one device only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from stt_edge.ear.cards import Card, card_number_at
from stt_edge.errors import DeviceError, FaultKind
from stt_edge.frozen import frozen

_HARDWARE: Final = re.compile(
    r"(?:plug)?hw:(?:CARD=)?(?P<card>[^,]+)(?:,(?:DEV=)?(?P<device>\d+))?(?:,.*)?"
)
_PATHS: Final = ("/dev/", "/sys/")


@frozen
class Target:
    """The device that was meant."""

    pcm: str
    """What ALSA calls it; a card is reached through the plug layer."""
    description: str
    """The device as a person would name it."""
    card: Card | None = None
    device: int = 0
    """The number of the card's device."""
    warning: str | None = None

    @property
    def raw_pcm(self) -> str:
        """What ALSA calls it without the plug layer."""
        return self.pcm.removeprefix("plug")


class Chooser:
    """Knows what is there and finds what is meant."""

    def __init__(
        self,
        cards: Sequence[Card],
        defined_names: Callable[[], Iterable[str]],
        *,
        card_name: Callable[[int], str | None] = lambda _: None,
        usable: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Take the cards, and ways to ask for what costs more to know.

        ``defined_names`` are those of ALSA's configuration, ``usable`` tells whether one of them
        can capture, ``card_name`` is the name a driver gives a card.
        """
        self._cards = [card for card in cards if card.captures]
        self._defined_names = defined_names
        self._card_name = card_name
        self._usable = usable

    def choose(self, wanted: str) -> Target:
        """Return what is meant. Raises DeviceError: ABSENT or AMBIGUOUS."""
        if wanted == "auto":
            return self._only_card()
        if wanted.startswith(_PATHS):
            return self._by_path(wanted)
        matching = [card for card in self._cards if _is_called(card, wanted)]
        if len(matching) == 1:
            return _on_card(matching[0], label=self._label(matching[0]))
        if found := _HARDWARE.fullmatch(wanted):
            return self._hardware(wanted, found["card"], found["device"])
        if ":" in wanted or wanted in self._defined_names():
            return Target(wanted, wanted)
        return self._by_part(wanted)

    def available(self) -> list[Target]:
        """Return everything that can capture, cards first."""
        cards = [
            _on_card(card, device, self._label(card))
            for card in self._cards
            for device in card.captures
        ]
        defined = [Target(name, name) for name in self._defined_names() if self._usable(name)]
        return cards + defined

    def absent(self, wanted: str) -> DeviceError:
        """Return the error that says what there is instead, and which name is the nearest."""
        from difflib import get_close_matches

        available = self.available()
        if not available:
            return DeviceError(
                FaultKind.ABSENT,
                f"There is no device {wanted}, and no other that can capture.",
                "Plug in a microphone.",
            )
        listed = ", ".join(_spoken(target) for target in available)
        names = {name.casefold(): name for target in available for name in _names(target)}
        nearest = get_close_matches(wanted.casefold(), names, n=1, cutoff=0.4)
        remedy = "Set audio.device to one of them."
        if nearest:
            remedy = f"Did you mean {names[nearest[0]]}?"
        return DeviceError(
            FaultKind.ABSENT, f"There is no device {wanted} that can capture: {listed}.", remedy
        )

    def _only_card(self) -> Target:
        if len(self._cards) == 1:
            return _on_card(self._cards[0], label=self._label(self._cards[0]))
        if self._cards:
            raise DeviceError(
                FaultKind.AMBIGUOUS,
                f"{len(self._cards)} sound cards can capture: {self._listed_cards()}.",
                "Set audio.device to the id or the USB path of one of them.",
            )
        remedy = "Plug in a microphone; it is found by itself."
        if defined := [target.pcm for target in self.available()]:
            remedy += f" Or set audio.device to what ALSA offers here: {', '.join(defined)}."
        raise DeviceError(FaultKind.ABSENT, "No sound card here can capture.", remedy)

    def _by_path(self, wanted: str) -> Target:
        number = card_number_at(Path(wanted))
        card = next((card for card in self._cards if card.number == number), None)
        if card is None:
            raise self.absent(wanted)
        return _on_card(card, label=self._label(card))

    def _hardware(self, wanted: str, name: str, device: str | None) -> Target:
        by_number = name.isdigit()
        card = next(
            (c for c in self._cards if (c.number == int(name) if by_number else c.id == name)), None
        )
        number = int(device) if device else None
        if card is None or (number is not None and number not in card.captures):
            raise self.absent(wanted)
        warning = None
        if by_number:
            warning = (
                f"{wanted} names a card by its number, which may change at every boot; "
                f"audio.device: {card.id} would stay the same."
            )
        return _on_card(card, number, self._label(card), warning)

    def _by_part(self, wanted: str) -> Target:
        part = wanted.casefold()
        fits = [
            target
            for target in self.available()
            if part in target.description.casefold() or part in target.pcm.casefold()
        ]
        if not fits:
            raise self.absent(wanted)
        if len({target.card.id if target.card else target.pcm for target in fits}) > 1:
            names = ", ".join(_spoken(target) for target in fits)
            raise DeviceError(
                FaultKind.AMBIGUOUS,
                f"{wanted!r} fits {len(fits)} devices: {names}.",
                "Set audio.device to the whole name of one of them.",
            )
        return fits[0]

    def _label(self, card: Card) -> str:
        name = card.product or self._card_name(card.number)
        if name == card.id:
            name = None
        return Card(card.number, card.id, card.captures, card.usb_path, name).label

    def _listed_cards(self) -> str:
        return ", ".join(self._label(card) for card in self._cards)


def _on_card(
    card: Card, device: int | None = None, label: str | None = None, warning: str | None = None
) -> Target:
    number = card.captures[0] if device is None else device
    description = label or card.label
    if number != card.captures[0]:
        description += f", device {number}"
    return Target(f"plughw:CARD={card.id},DEV={number}", description, card, number, warning)


def _is_called(card: Card, name: str) -> bool:
    return card.id.casefold() == name.casefold() or card.usb_path == name


def _names(target: Target) -> list[str]:
    card = target.card
    if card is None:
        return [target.pcm]
    return [name for name in (card.id, card.usb_path, card.product, target.pcm) if name]


def _spoken(target: Target) -> str:
    return target.description if target.card else target.pcm
