"""A daemon's control socket that gives one answer, whatever it is asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class AnsweringDaemon:
    """Listens where a daemon would and keeps what it was asked."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.asked: list[Any] = []

    @contextmanager
    def answering(self, answer: dict[str, Any]) -> Iterator[None]:
        """Serve one client."""
        self._place.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._place))
            listener.listen()
            thread = threading.Thread(target=self._serve, args=(listener, answer))
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(5)
                self._place.unlink()

    def _serve(self, listener: socket.socket, answer: dict[str, Any]) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # nobody came
            return
        with connection, connection.makefile("rb") as lines:
            self.asked.append(json.loads(lines.readline()))
            connection.sendall(json.dumps(answer).encode() + b"\n")
