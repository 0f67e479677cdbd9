"""The commands ``mute`` and ``unmute``: the device is closed at once, or opened again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from stt_edge.errors import SttEdgeError, TemporaryError
from stt_edge.service.mute_switch import MuteSwitch

_log = logging.getLogger(__name__)

CLOSE_S: Final = 6.0
"""An ear has 2 s to obey and is then killed; longer than this and it hangs in the kernel."""


class Mutable(Protocol):
    """What can be muted: the keeper of the ear."""

    @property
    def muted(self) -> bool:
        """Whether it is, or is being, muted."""

    async def mute(self) -> None:
        """Close the device; returns when it is closed."""

    def unmute(self) -> None:
        """Open the device again."""


class MuteCommands:
    """The commands ``mute`` and ``unmute`` of the control socket."""

    def __init__(self, switch: MuteSwitch, ear: Mutable, *, close_s: float = CLOSE_S) -> None:
        """Act on an ear and remember it in a switch."""
        self._switch = switch
        self._ear = ear
        self._close_s = close_s

    async def mute(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Close the device, also in the middle of an utterance; answers when it is closed.

        Raises TemporaryError when it cannot be closed.
        """
        changed = not self._ear.muted
        closing = asyncio.ensure_future(self._ear.mute())  # before the disk: privacy comes first
        warning = await self._remember(on=True)
        try:
            async with asyncio.timeout(self._close_s):
                await closing
        except TimeoutError as error:
            raise TemporaryError(
                "The device is not closed yet: its driver hangs.", "Unplug the microphone."
            ) from error
        return {"muted": True, "changed": changed, "warning": warning}

    async def unmute(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Open the device again."""
        changed = self._ear.muted
        self._ear.unmute()
        warning = await self._remember(on=False)
        return {"muted": False, "changed": changed, "warning": warning}

    async def set(self, on: bool) -> None:
        """Do one or the other, as a sink asks for it. Raises TemporaryError."""
        answer = await (self.mute({}) if on else self.unmute({}))
        if answer["warning"]:
            _log.warning("%s", answer["warning"])

    async def _remember(self, *, on: bool) -> str:
        try:
            await asyncio.to_thread(self._switch.set, on=on)
        except SttEdgeError as error:
            return f"It will not outlast a restart of the service: {error}"
        return ""
