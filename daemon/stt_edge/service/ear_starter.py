"""The thread that starts ears, before they are asked for: loading takes longest.

An ear is ready when the program begins, and while there is no device: it has loaded everything and
opened nothing. The first one may hear already while main loads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from stt_edge.ear.settings import EarSettings
from stt_edge.frozen import frozen
from stt_edge.service.ear_process import EAR_COMMAND, EarProcess


@frozen
class _Ready:
    """An ear that has not been asked for."""

    process: Future[EarProcess]
    command: tuple[str, ...]
    settings: EarSettings | None = None
    """What it has been told to begin with."""

    def fits(self, settings: EarSettings, command: Sequence[str]) -> bool:
        """Return whether it is, or can be, an ear of these settings and this command."""
        return self.settings in (None, settings) and self.command == tuple(command)


class EarStarter:
    """A thread that starts ears and lives as long as the program: only it may be made to."""

    def __init__(self) -> None:
        """Begin; what main forbids itself afterwards does not bind what is started here."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ear-starter")
        self._thread.submit(os.getpid).result()  # the thread begins with its first task
        self._ready: _Ready | None = None

    def prepare(self, command: Sequence[str] = EAR_COMMAND) -> None:
        """Have an ear ready, if none is, and do not wait for it."""
        if self._ready is None:
            self._ready = _Ready(self._thread.submit(EarProcess, command), tuple(command))

    def begin_ahead(self, settings: EarSettings) -> None:
        """Let the ear that is ready hear; what it says waits in its pipe and its ring."""
        if self._ready is not None and self._ready.process.exception() is None:
            self._ready.process.result().begin(settings)
            self._ready = replace(self._ready, settings=settings)

    def drop(self) -> None:
        """End the ear that is ready, if one is; does not wait for it."""
        ready, self._ready = self._ready, None
        if ready is not None:
            self._thread.submit(_end, ready.process)

    def start(self, settings: EarSettings, command: Sequence[str] = EAR_COMMAND) -> EarProcess:
        """Return an ear that hears: the one that is ready, where it will do.

        Raises OSError like ``EarProcess``.
        """
        if self._ready is not None and not self._ready.fits(settings, command):
            self.drop()
        self.prepare(command)
        ready, self._ready = self._ready, None
        assert ready is not None
        process = ready.process.result()
        if ready.settings is None:
            process.begin(settings)
        return process


def _end(ready: Future[EarProcess]) -> None:
    """End an ear that nobody wants: it would keep the device from the one that is wanted."""
    if ready.exception() is None:
        process = ready.result()
        process.kill()
        process.reap()
        process.close()
