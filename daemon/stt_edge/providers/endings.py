"""What the end of a connection means where a service does not, or not always, confirm it."""

from __future__ import annotations

from typing import Final

ORDINARY_CODES: Final = frozenset((None, 1000, 1005, 1006))
"""Close codes without a complaint; 1006 is a connection that ended without a close frame."""


class Endings:
    """How the goodbyes of one provider were answered, over all its connections.

    An end that lacks what usually comes before it may be a lost connection, or the service's way.
    The first is taken for a loss, and the utterance is sent again; where the next one ends alike it
    is the service's way, until an end in good order is seen.
    """

    def __init__(self) -> None:
        """Begin without an opinion."""
        self._doubtful = 0

    def good(self) -> None:
        """Note an end in good order."""
        self._doubtful = 0

    def is_loss(self) -> bool:
        """Note an end that lacks something, and return whether to take it for a loss."""
        self._doubtful += 1
        return self._doubtful == 1
