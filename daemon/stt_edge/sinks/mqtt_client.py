"""aiomqtt's client, which also tells what the broker answers.

What aiomqtt 2 keeps to itself: the reason code of a PUBACK, the limits in a CONNACK, and that a
broker has closed the connection in place of a CONNACK. Three of its callbacks are extended here;
nothing else in the program touches what is private to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS

from stt_edge.waiting import is_set_within

_DEFAULT_WINDOW: Final = 65_535
FAILURE: Final = 0x80
"""Reason codes from here on say that it was not done (MQTT 5, section 2.4)."""


class HungUpError(aiomqtt.MqttError):
    """The broker has closed the connection in place of an answer to CONNECT."""


class Client(aiomqtt.Client):
    """A connection; whoever has opened it must end with ``abandon``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what ``aiomqtt.Client`` takes."""
        super().__init__(*arguments, **options)
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._closed = asyncio.Event()
        self._connecting = False
        self.largest_packet_bytes: int | None = None
        """The broker takes none that is larger; None where it has not said so."""
        self.window = _DEFAULT_WINDOW
        """So many messages may wait for their acknowledgement at a time."""

    async def connect(self) -> None:
        """Connect. Raises aiomqtt.MqttError, HungUpError among them."""
        self._connecting = True
        try:
            await self.__aenter__()
        finally:
            self._connecting = False

    async def deliver(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Publish with QoS 1 and return the reason code of the acknowledgement, 0 in MQTT 3.

        Waits for it without limit. Raises aiomqtt.MqttError when the connection ends.
        """
        info = self._client.publish(topic, payload, 1, retain)
        if info.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[info.mid] = answer
        try:
            return await answer
        finally:
            self._answers.pop(info.mid, None)

    async def say_goodbye(self) -> None:
        """Send DISCONNECT, so that the will is not published. Raises aiomqtt.MqttError."""
        await self.__aexit__(None, None, None)

    async def abandon(self, patience_s: float) -> None:
        """Close the socket, whatever the broker thinks of it."""
        held = self._client.socket()
        if isinstance(held, socket.socket):
            with contextlib.suppress(OSError):  # it may be closed already
                held.shutdown(socket.SHUT_RDWR)  # the library sees the end, and cleans up
            await is_set_within(self._closed, patience_s)
        self._fail_answers(aiomqtt.MqttError("The connection has ended."))
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # looked at, or asyncio complains that nobody did

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: Any,
        properties: Any = None,
    ) -> None:
        self.largest_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self.window = getattr(properties, "ReceiveMaximum", _DEFAULT_WINDOW)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any
    ) -> None:
        answer = self._answers.pop(mid, None)
        if answer is None:
            super()._on_publish(client, userdata, mid, reason_code, properties)
        elif not answer.done():
            answer.set_result(reason_code.value)
            self._hurry()

    def _on_disconnect(
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: Any,
        properties: Any = None,
    ) -> None:
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._closed.set()
        self._fail_answers(aiomqtt.MqttCodeError(reason_code, "The connection has ended."))
        if self._connecting and not self._connected.done():
            self._connected.set_exception(HungUpError("The connection was closed."))

    def _hurry(self) -> None:
        """Have the kernel confirm what has come at once.

        A broker that collects small packets (Nagle), as mosquitto does, would hold back further
        acknowledgements until then, for 40 ms. The kernel forgets the option, so it is set anew.
        """
        held = self._client.socket()
        if isinstance(held, socket.socket):
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _fail_answers(self, error: aiomqtt.MqttError) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
