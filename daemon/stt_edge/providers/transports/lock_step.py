"""A WebSocket to a server that answers each message with one: never far ahead of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Outgoing
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport

_MOST_UNANSWERED: Final = 16
"""What is sent further ahead waits in the server's queue, and a ping waits behind it."""


class LockStepTransport(WebSocketTransport):
    """Holds back binary messages while too many answers are due. See ``base.Transport``."""

    def __init__(
        self,
        endpoint: Callable[[], WebSocketEndpoint],
        *,
        ca_file: str | None,
        pings: bool,
        answered: Callable[[Outgoing], bool],
        answer_s: float,
    ) -> None:
        """``answered`` tells which messages are; ``answer_s`` is how long one may take."""
        super().__init__(endpoint, ca_file=ca_file, pings=pings)
        self._is_answered = answered
        self._answer_s = answer_s
        self._due = 0
        self._news = asyncio.Event()

    async def send(self, message: Outgoing) -> None:
        """Send one message, waiting while the peer is slow.

        Raises TransportClosedError; ProviderError of kind TIMEOUT when no answer comes.
        """
        if isinstance(message, bytes):
            await self._wait_for_room()
        self._due += self._is_answered(message)
        await super().send(message)

    async def receive(self) -> bytes | str:
        """Return the next message. Raises TransportClosedError, ProviderError."""
        due = 0
        try:
            message = await super().receive()
            due = max(0, self._due - 1)
        finally:
            self._due = due  # nothing is due any more from a connection that has ended
            self._news.set()
        return message

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._answer_s):
                while self._due >= _MOST_UNANSWERED:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise ProviderError(
                FailureKind.TIMEOUT,
                f"the server has not answered {self._due} messages for {self._answer_s:g} s.",
            ) from None
