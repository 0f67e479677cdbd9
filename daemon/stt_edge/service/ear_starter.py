"""The thread that starts ears, the first of them before main has loaded all that it needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from stt_edge.ear.settings import EarSettings
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess


class EarStarter:
    """A thread that starts ears and lives as long as the program: only it may be made to."""

    def __init__(self) -> None:
        """Begin; what main forbids itself afterwards does not bind what is started here."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ear-starter")
        self._thread.submit(os.getpid).result()  # the thread begins with its first task
        self._ahead: tuple[EarSettings, Future[EarProcess]] | None = None

    def start_ahead(self, settings: EarSettings) -> None:
        """Start the ear that will be asked for first, and do not wait for it.

        It opens the device and hears while main loads; what it says waits in its pipe and its ring.
        """
        self._ahead = settings, self._thread.submit(EarProcess, settings)

    def drop_ahead(self) -> None:
        """End the ear that was started ahead, if it was not asked for; does not wait for it."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._thread.submit(_end, ahead[1])

    def __call__(self, settings: EarSettings, command: Sequence[str] = EAR_COMMAND) -> EarProcess:
        """Return an ear, started now or ahead. Raises OSError like ``EarProcess``."""
        if self._ahead is not None and self._ahead[0] == settings:
            ahead, self._ahead = self._ahead[1], None
            return ahead.result()
        self.drop_ahead()
        return self._thread.submit(EarProcess, settings, command).result()


def _end(ahead: Future[EarProcess]) -> None:
    """End an ear that nobody wants: it would keep the device from the one that is wanted."""
    if ahead.exception() is None:
        process = ahead.result()
        process.kill()
        process.reap()
        process.close()
