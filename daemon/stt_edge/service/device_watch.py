"""Notices that sound devices come, go or change their permissions, without polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

DEVICES: Final = Path("/dev/snd")

_ATTRIB: Final = 0x4  # udev hands a new node to its group a moment after it was made
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_EVENT: Final = struct.Struct("iIII")
_CARD: Final = re.compile(r"C\d+(?=D|$)")
"""In ``controlC1``, ``pcmC1D0c``, ``hwC1D0``, ``midiC1D0``."""
_READ_BYTES: Final = 1 << 14

_SERVERS: Final = frozenset(("default", "jack", "pipewire", "pulse"))


class DeviceWatch:
    """Calls back on the loop when something changes in the directory of sound devices.

    A kernel without inotify instances left is no error: the keeper also looks from time to time.
    """

    def __init__(self, on_change: Callable[[], None], directory: Path = DEVICES) -> None:
        """Watch ``directory`` and, because it may not exist yet, the one it lies in."""
        self._directory = directory
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._parent = self._inner = -1
        if self._inotify >= 0:
            self._parent = self._add(directory.parent, _CREATE)
            self._inner = self._add_inner()
            self._loop.add_reader(self._inotify, self._read)

    def close(self) -> None:
        """Stop watching."""
        if self._inotify >= 0:
            self._loop.remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1

    def _add(self, directory: Path, mask: int) -> int:
        watch: int = self._libc.inotify_add_watch(self._inotify, os.fsencode(directory), mask)
        return watch

    def _add_inner(self) -> int:
        return self._add(self._directory, _CREATE | _DELETE | _MOVED_TO | _ATTRIB)

    def _read(self) -> None:
        changed = False
        data = os.read(self._inotify, _READ_BYTES)
        while data:
            watch, mask, _, length = _EVENT.unpack_from(data)
            name = os.fsdecode(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
            data = data[_EVENT.size + length :]
            if watch != self._parent:
                changed = changed or bool(mask & _DELETE) or self._is_ready(name)
            elif name == self._directory.name:
                self._inner = self._add_inner()
                changed = changed or any(map(self._is_ready, self._nodes()))
        if changed:
            self._on_change()

    def _is_ready(self, name: str) -> bool:
        """Return whether the card of a node can be opened.

        Its nodes are made one by one, the control last, and handed to their group in any order. To
        try earlier is to fail, and to wait for the next try.
        """
        card = _CARD.search(name)
        if card is None:
            return False
        nodes = [node for node in self._nodes() if _CARD.findall(node) == [card[0]]]
        return f"control{card[0]}" in nodes and all(
            os.access(self._directory / node, os.R_OK) for node in nodes
        )

    def _nodes(self) -> list[str]:
        try:
            return [node.name for node in self._directory.iterdir()]
        except OSError:  # gone again
            return []


def is_sound_server(device: str, configurations: Iterable[Path]) -> bool:
    """Return whether a device name leads to a sound server rather than to a card of /dev/snd.

    A card announces itself when it is plugged in; a sound server has to be asked again and again.
    ``configurations`` are the files ALSA reads: a name they define is not a card's own.
    """
    name = device.partition(":")[0]
    if name in _SERVERS:
        return True
    defined = re.compile(rf"(?m)^\s*pcm\.!?{re.escape(name)}\b")
    return any(defined.search(_text(path)) for path in configurations)


def alsa_configurations() -> list[Path]:
    """Return the files in which a user or administrator may define ALSA devices."""
    paths = [Path("/etc/asound.conf"), Path.home() / ".asoundrc"]
    if named := os.environ.get("ALSA_CONFIG_PATH"):
        paths += [Path(part) for part in named.split(":") if part]
    return paths


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not there, or not for us: then ALSA does not read it either
        return ""
