"""The items of a realtime session: which there are, in what order, and which have been said.

Texts of different items may be completed in any order; each item names the one before it (OpenAI,
Realtime transcription, ordering).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from stt_edge.providers import base
from stt_edge.providers.json_fields import MalformedError

_MOST: Final = 1000
_LONGEST_TEXT: Final = 1_000_000
_LONGEST_ID: Final = 256
_REMEMBERED: Final = 256


@dataclass(slots=True)
class _Item:
    text: str = ""
    final: base.Final | None = None


class Items:
    """Items that have not been passed on as results, in the order in which they were said.

    An item that was passed on is remembered: what is said of it again is of no interest.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._items: dict[str, _Item] = {}
        self._order: list[str] = []
        self._said: deque[str] = deque(maxlen=_REMEMBERED)
        self._length = 0

    @property
    def pending(self) -> bool:
        """Whether there is an item whose text is not complete."""
        return bool(self._items)

    @property
    def text(self) -> str:
        """What is understood so far."""
        return " ".join(filter(None, (self._items[item].text.strip() for item in self._order)))

    def commit(self, item_id: str, previous_id: str) -> None:
        """Note an item, which follows another. Raises MalformedError."""
        if item_id == previous_id:
            raise MalformedError("an item follows itself")
        if self._item(item_id) is not None and previous_id in self._items:
            self._order.remove(item_id)
            self._order.insert(self._order.index(previous_id) + 1, item_id)

    def append(self, item_id: str, delta: str) -> None:
        """Take a piece of an item's text. Raises MalformedError."""
        item = self._item(item_id)
        if item is not None and item.final is None:
            self._length += len(delta)
            if self._length > _LONGEST_TEXT:
                raise MalformedError("an item has too much text")
            item.text += delta

    def complete(self, item_id: str, final: base.Final) -> None:
        """Take an item's whole text. Raises MalformedError."""
        item = self._item(item_id)
        if item is not None:
            item.text, item.final = final.text, final

    def take(self) -> list[base.Final]:
        """Return the results before which nothing is missing, and forget their items."""
        taken = []
        while self._order and (final := self._items[self._order[0]].final) is not None:
            item_id = self._order.pop(0)
            del self._items[item_id]
            self._said.append(item_id)
            if final.text:
                taken.append(final)
        if not self._items:
            self._length = 0
        return taken

    def _item(self, item_id: str) -> _Item | None:
        """Return an item, a new one where there was none; None where it was passed on before."""
        if not 0 < len(item_id) <= _LONGEST_ID:
            raise MalformedError("item_id is no id")
        if item_id in self._said:
            return None
        if item_id not in self._items:
            if len(self._items) == _MOST:
                raise MalformedError("there are too many items")
            self._items[item_id] = _Item()
            self._order.append(item_id)
        return self._items[item_id]
