"""The thread that starts ears, some of them before they are asked for: loading takes longest.

The first opens its device while main loads. Later ones are kept ready while there is no device:
they have loaded everything and wait for the word.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from stt_edge.ear.settings import EarSettings
from stt_edge.ear.wire import Begin
from stt_edge.frozen import frozen
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess


@frozen
class _Ahead:
    """An ear that has not been asked for."""

    settings: EarSettings
    command: tuple[str, ...]
    process: Future[EarProcess]


class EarStarter:
    """A thread that starts ears and lives as long as the program: only it may be made to."""

    def __init__(self) -> None:
        """Begin; what main forbids itself afterwards does not bind what is started here."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ear-starter")
        self._thread.submit(os.getpid).result()  # the thread begins with its first task
        self._ahead: _Ahead | None = None

    def start_ahead(self, settings: EarSettings, command: Sequence[str] = EAR_COMMAND) -> None:
        """Start the ear that will be asked for next, and do not wait for it.

        It opens the device and hears while main loads; what it says waits in its pipe and its ring.
        """
        self.drop()
        process = self._thread.submit(EarProcess, settings, command)
        self._ahead = _Ahead(settings, tuple(command), process)

    def keep_ready(self, settings: EarSettings, command: Sequence[str] = EAR_COMMAND) -> None:
        """Have an ear ready that needs but open its device, and do not wait for it."""
        if not self._is_ahead(settings, command):
            self.start_ahead(replace(settings, stands_by=True), command)

    def drop(self) -> None:
        """End an ear that has not been asked for; does not wait for it."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._thread.submit(_end, ahead.process)

    def start(self, settings: EarSettings, command: Sequence[str] = EAR_COMMAND) -> EarProcess:
        """Return an ear that hears, started now or ahead. Raises OSError like ``EarProcess``."""
        if not self._is_ahead(settings, command):
            self.start_ahead(settings, command)
        assert self._ahead is not None
        ahead, self._ahead = self._ahead, None
        process = ahead.process.result()
        if ahead.settings.stands_by:
            process.send(Begin())  # one that is gone has said so in its pipe
        return process

    def _is_ahead(self, settings: EarSettings, command: Sequence[str]) -> bool:
        ahead = self._ahead
        return (
            ahead is not None
            and replace(ahead.settings, stands_by=False) == settings
            and ahead.command == tuple(command)
        )


def _end(ahead: Future[EarProcess]) -> None:
    """End an ear that nobody wants: it would keep the device from the one that is wanted."""
    if ahead.exception() is None:
        process = ahead.result()
        process.kill()
        process.reap()
        process.close()
