"""Collects what is wrong with a file, so that all of it is told at once."""

from __future__ import annotations

from stt_edge.config.document import Node, place_of
from stt_edge.errors import ConfigError, ConfigProblem

_AT_MOST = 100


class Problems:
    """The problems found so far in one file; each once, and no more than anybody reads."""

    def __init__(self, path: str) -> None:
        """Start with none; ``path`` is what the messages call the file."""
        self._path = path
        self._found: dict[ConfigProblem, None] = {}

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self._found)

    def add(self, node: Node, message: str) -> None:
        """Note a problem at the beginning of a node. Raises ConfigError when they are too many."""
        place = place_of(node)
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message)
        self._found[ConfigProblem(self._path, place.line, place.column, line)] = None
        if len(self._found) >= _AT_MOST:
            last = ConfigProblem(self._path, 0, 0, f"only the first {_AT_MOST} problems are shown")
            raise ConfigError([*self._found, last])

    def raise_if_any(self) -> None:
        """Raise ConfigError with all of them, if there are any."""
        if self._found:
            raise ConfigError(list(self._found))
