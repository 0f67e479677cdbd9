"""Writes the metrics where node_exporter reads them; nothing of it ever disturbs the daemon.

The collector must never see half a file, so each is written beside its place and renamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from stt_edge.config.settings import MetricsSection
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)


class MetricsFile:
    """A file of metrics, written anew again and again while one is configured."""

    def __init__(self, text: Callable[[], Awaitable[str]]) -> None:
        """Write what ``text`` returns; nothing happens before ``configure`` and ``run``."""
        self._text = text
        self._settings = MetricsSection()
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._written: Path | None = None
        self._closed = False
        self.trouble = ""
        """Why it cannot be written, and what to do; empty while it can."""

    def configure(self, settings: MetricsSection) -> None:
        """Write to another place or at another pace, from now on."""
        if settings != self._settings:
            self._settings = settings
            self._wake.set()

    async def run(self) -> None:
        """Write until ``close``; while none is configured this only waits."""
        while not self._closed:
            self._wake.clear()
            await self._update()
            await is_set_within(self._wake, self._settings.interval_s if self._path else None)

    async def close(self) -> None:
        """Remove the file: what it says is not so any more."""
        self._closed = True
        self._wake.set()
        await self._update()

    @property
    def _path(self) -> Path | None:
        text = self._settings.textfile
        return None if text is None or self._closed else Path(text)

    async def _update(self) -> None:
        async with self._writing:
            path = self._path
            if self._written not in (None, path):
                await asyncio.to_thread(_remove, self._written)
                self._written = None
            if path is None:
                self.trouble = ""
                return
            text = await self._text()
            try:
                await asyncio.to_thread(_replace, path, text)
            except OSError as error:
                self._failed(path, error)
            else:
                self._written = path
                if self.trouble:
                    _log.info("the metrics can be written again")
                self.trouble = ""

    def _failed(self, path: Path, error: OSError) -> None:
        trouble = (
            f"The metrics cannot be written to {path}: {error.strerror or error}. Give the user "
            "that runs stt-edge a directory it may write to (ReadWritePaths= in the unit), or set "
            "metrics.textfile to null."
        )
        if not self.trouble:
            _log.warning("%s", trouble)
        self.trouble = trouble


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(fresh, flags, 0o644), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask: its reader is another user
            file.write(text)
        fresh.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _remove(path: Path | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()
