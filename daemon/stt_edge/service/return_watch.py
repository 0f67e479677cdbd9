"""Looks for signs that a provider may be back: its key file has changed, or the network has.

While all providers are well it sleeps; while one is not it looks once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stt_edge.session.dispatcher import Dispatcher

LOOK_S: Final = 1.0
# Routes and addresses, without the counters other files of /proc/net have. They belong to the
# process, so that a unit that hides the rest of /proc still shows them.
_NETWORK: Final = (Path("/proc/self/net/route"), Path("/proc/self/net/if_inet6"))

_Sign = tuple[int, int, int] | None


class ReturnWatch:
    """Wakes the dispatcher when there is something new to try with."""

    def __init__(self, dispatcher: Dispatcher, network: tuple[Path, ...] = _NETWORK) -> None:
        """Watch for ``dispatcher``; nothing happens until ``run``."""
        self._dispatcher = dispatcher
        self._network_files = network
        self._trouble = asyncio.Event()

    def provider_failed(self) -> None:
        """Take that a provider is not well any more."""
        self._trouble.set()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self._trouble.wait()
            self._trouble.clear()
            await self._while_trouble_lasts()

    async def _while_trouble_lasts(self) -> None:
        network, files = self._network(), self._files()
        while self._in_trouble():
            await asyncio.sleep(LOOK_S)
            now_network, now_files = self._network(), self._files()
            if now_network != network:
                self._dispatcher.hint()
            for provider, signs in now_files.items():
                if provider in files and signs != files[provider]:
                    self._dispatcher.mended(provider)
            network, files = now_network, now_files

    def _in_trouble(self) -> bool:
        return any(lane.health != "up" for lane in self._dispatcher.status().lanes)

    def _files(self) -> Mapping[str, list[_Sign]]:
        watched = self._dispatcher.watched()
        return {name: [_sign(Path(path)) for path in paths] for name, paths in watched.items()}

    def _network(self) -> list[bytes]:
        return [_content(path) for path in self._network_files]


def _sign(path: Path) -> _Sign:
    """Return what changes when a file is written or replaced; None while it cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # no IPv6, or no /proc: then it does not change either
        return b""
