"""One connection to a broker, from the moment it has let us in to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stt_edge.frozen import frozen
from stt_edge.sinks.base import SinkRefusedError, SinkUnavailableError
from stt_edge.sinks.mqtt_client import FAILURE, Client, HungUpError

_LIBRARY_LOG: Final = logging.getLogger("stt_edge.mqtt_library")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # what it has to say is said by whoever catches its errors

IN_FLIGHT: Final = 8
"""Messages that wait for their acknowledgement at a time; more make a small machine slower."""
CONNECT_S: Final = 10.0
_GOODBYE_S: Final = 1.0
_USER_TIMEOUT_MS: Final = 15_000
_LARGEST_COMMAND_BYTES: Final = 64 * 1024
_COMMANDS_WAITING: Final = 32
_PACKET_OVERHEAD_BYTES: Final = 10
"""Fixed header, length of the topic, packet identifier, no properties."""

_UNSPECIFIED: Final = 0x80
_UNSUPPORTED_VERSION: Final = 0x84
_NOT_AUTHORIZED: Final = 0x87
_WRONG_LOGIN: Final = (0x86, _NOT_AUTHORIZED, 0x8A, 0x8C)
_SESSION_TAKEN_OVER: Final = 0x8E
_WRONG_ID: Final = 0x85
_CLUTTER: Final = re.compile(r"^\[[^\]]*\] | \(_ssl\.c:\d+\)")

MessageHandler = Callable[[str, bytes, bool], Awaitable[None]]
"""Gets topic, payload and whether it was retained; must not raise."""


class LoginRefusedError(SinkUnavailableError):
    """The broker does not let us in, or not do what we want to do."""


class PublishRefusedError(SinkRefusedError):
    """The broker is there and does not take this message."""

    def __init__(self, message: str, remedy: str = "", *, unauthorized: bool = False) -> None:
        """Keep whether it is a matter of what we may do, not of the message."""
        super().__init__(message, remedy)
        self.unauthorized = unauthorized


@frozen
class Broker:
    """Whom to connect to, and who we are."""

    host: str
    port: int
    client_id: str
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = 60

    def __str__(self) -> str:
        """Return what messages call it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Link:
    """A connection that the broker has accepted."""

    def __init__(
        self,
        client: Client,
        broker: Broker,
        ack_s: float,
        on_message: MessageHandler,
        on_lost: Callable[[], None],
    ) -> None:
        """Begin to read. ``on_lost`` is called once, if the connection ends by itself."""
        self._client = client
        self._broker = broker
        self._ack_s = ack_s
        self._on_message = on_message
        self._on_lost = on_lost
        self._window = asyncio.Semaphore(min(IN_FLIGHT, max(1, client.window)))
        self._trouble: SinkUnavailableError | None = None
        self.cut_off = False
        """The broker, or something on the way, has ended the connection."""
        # Also where there is nothing to read: it is the reader that hears of a lost connection.
        self._reader = asyncio.create_task(self._read(), name="mqtt-reader")
        self._reader.add_done_callback(self._reading_ended)

    @property
    def alive(self) -> bool:
        """Return whether the connection is there, as far as is known."""
        return self._trouble is None

    def check(self) -> None:
        """Raise SinkUnavailableError when the connection is lost."""
        if self._trouble is not None:
            raise self._trouble

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1; the broker has acknowledged it on return.

        Raises SinkUnavailableError, and PublishRefusedError when the broker does not take it.
        """
        largest = self._client.largest_packet_bytes
        size = len(payload) + len(topic.encode()) + _PACKET_OVERHEAD_BYTES
        if largest is not None and size > largest:
            raise PublishRefusedError(
                f"Broker {self._broker} takes at most {largest} bytes, and this is {size}.",
                "Raise its max_packet_size.",
            )
        async with self._window:
            self.check()
            try:
                async with asyncio.timeout(self._ack_s):
                    code = await self._client.deliver(topic, payload, retain=retain)
            except TimeoutError:
                raise self._lose(f"acknowledges nothing within {self._ack_s:g} s") from None
            except aiomqtt.MqttError as error:
                self.cut_off = True
                raise self._lose(*_how_lost(error)) from error
        if code >= FAILURE:
            raise self._refusal(topic, code)

    async def show(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0: nobody knows whether it arrives. Raises SinkUnavailableError."""
        self.check()
        try:
            await self._client.publish(topic, payload, 0, timeout=self._ack_s)
        except aiomqtt.MqttError as error:
            raise self._lose(*_how_lost(error)) from error

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Ask for messages; return the topics that the broker refuses.

        Raises SinkUnavailableError.
        """
        self.check()
        try:
            answers = await self._client.subscribe([(topic, 1) for topic in topics])
        except aiomqtt.MqttError as error:
            raise self._lose(*_how_lost(error)) from error
        codes = [answer if isinstance(answer, int) else answer.value for answer in answers]
        return [topic for topic, code in zip(topics, codes, strict=False) if code >= FAILURE]

    async def close(self) -> None:
        """Take leave where the connection is good, so that the will is not published."""
        self._reader.remove_done_callback(self._reading_ended)
        self._reader.cancel()
        if self.alive:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._client.say_goodbye()
        await self._client.abandon(_GOODBYE_S)
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            async for message in self._client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else b""
                await self._on_message(str(message.topic), payload, message.retain)
        except aiomqtt.MqttError as error:
            self._lose(*_how_lost(error))

    def _reading_ended(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled() and (error := reader.exception()) is not None:
            self._lose(f"sent what cannot be dealt with: {type(error).__name__}")

    def _lose(self, what: str, code: int = 0) -> SinkUnavailableError:
        """Take that the connection is of no use any more, and why."""
        if self._trouble is None:
            remedy = ""
            if code == _SESSION_TAKEN_OVER:
                what = f"has let another client in as {self._broker.client_id}"
                remedy = "Give each machine a node of its own."
            self._trouble = SinkUnavailableError(f"Broker {self._broker} {what}.", remedy)
            self._on_lost()
        return self._trouble

    def _refusal(self, topic: str, code: int) -> PublishRefusedError:
        if code == _NOT_AUTHORIZED:
            who = self._broker.username or "a client without a name"
            return PublishRefusedError(
                f"Broker {self._broker} does not let {who} publish on {topic}.",
                "Allow it in the broker's access list.",
                unauthorized=True,
            )
        text = f"Broker {self._broker} refuses a message on {topic} (reason 0x{code:02X})."
        return PublishRefusedError(text)


async def open_link(
    broker: Broker,
    will: tuple[str, bytes] | None,
    on_message: MessageHandler,
    on_lost: Callable[[], None],
    *,
    ack_s: float,
) -> Link:
    """Connect, in MQTT 5 where the broker has it, else in 3.1.1. ``will`` is a retained message.

    Raises SinkUnavailableError, LoginRefusedError among them.
    """
    context = await asyncio.to_thread(_tls_context, broker) if broker.tls else None
    try:
        client = await _connect(broker, will, context, aiomqtt.ProtocolVersion.V5)
    except _OtherVersionError:
        client = await _connect(broker, will, context, aiomqtt.ProtocolVersion.V311)
    return Link(client, broker, ack_s, on_message, on_lost)


class _OtherVersionError(SinkUnavailableError):
    """The broker may understand an older version of the protocol."""


async def _connect(
    broker: Broker,
    will: tuple[str, bytes] | None,
    context: ssl.SSLContext | None,
    version: aiomqtt.ProtocolVersion,
) -> Client:
    client = _client(broker, will, context, version)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.abandon, _GOODBYE_S)
        try:
            await client.connect()
        except aiomqtt.MqttError as error:
            raise _refusal_of(broker, error, version) from error
        stack.pop_all()
    return client


def _client(
    broker: Broker,
    will: tuple[str, bytes] | None,
    context: ssl.SSLContext | None,
    version: aiomqtt.ProtocolVersion,
) -> Client:
    newest = version is aiomqtt.ProtocolVersion.V5
    return Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        identifier=broker.client_id,
        logger=_LIBRARY_LOG,
        protocol=version,
        will=None if will is None else aiomqtt.Will(*will, qos=1, retain=True),
        clean_session=None if newest else True,
        clean_start=True if newest else MQTT_CLEAN_START_FIRST_ONLY,
        properties=_connect_properties() if newest else None,
        timeout=CONNECT_S,
        keepalive=broker.keepalive_s,
        max_queued_incoming_messages=_COMMANDS_WAITING,
        tls_context=context,
        socket_options=(
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
        ),
    )


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = _LARGEST_COMMAND_BYTES
    return properties


class _TidySocket(ssl.SSLSocket):
    """Closes itself where the handshake fails; the library leaves that to chance."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls_context(broker: Broker) -> ssl.SSLContext:
    """Return a context that verifies the broker, always."""
    context = ssl.create_default_context()
    context.sslsocket_class = _TidySocket
    try:
        if broker.ca_file is not None:
            context.load_verify_locations(broker.ca_file)
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file, password="")
    except OSError as error:  # ssl.SSLError is one
        names = (broker.ca_file, broker.cert_file, broker.key_file)
        files = ", ".join(name for name in names if name is not None)
        raise SinkUnavailableError(
            f"The certificates for broker {broker} cannot be used: {error.strerror or error}.",
            f"Look at {files}: PEM, readable, the key not encrypted and that of the certificate.",
        ) from error
    return context


def _refusal_of(
    broker: Broker, error: aiomqtt.MqttError, version: aiomqtt.ProtocolVersion
) -> SinkUnavailableError:
    code = getattr(getattr(error, "rc", None), "value", None)
    may_be_older = version is aiomqtt.ProtocolVersion.V5
    if may_be_older and (isinstance(error, HungUpError) or code == _UNSUPPORTED_VERSION):
        return _OtherVersionError(f"Broker {broker} does not speak MQTT 5.")
    if code in _WRONG_LOGIN:
        who = "a client without a name" if broker.username is None else repr(broker.username)
        remedy = "Correct username and password_file, or what the broker allows."
        return LoginRefusedError(f"Broker {broker} does not let {who} in.", remedy)
    if code == _WRONG_ID:
        text = f"Broker {broker} does not take {broker.client_id!r} as a client id."
        return LoginRefusedError(text, "Choose another node, or allow it there.")
    if isinstance(error, HungUpError):
        return SinkUnavailableError(
            f"Broker {broker} hangs up instead of letting us in.",
            "Look at its log; a TLS port wants a url that begins with mqtts://.",
        )
    return SinkUnavailableError(f"Broker {broker} cannot be reached: {_why_not(error)}.")


def _why_not(error: aiomqtt.MqttError) -> str:
    """Return why there is no connection, for the end of a sentence."""
    if isinstance(error, aiomqtt.MqttCodeError):
        return f"it answers {str(error.rc).lower()!r}"
    text = _CLUTTER.sub("", str(error)).rstrip(".")
    return f"no answer within {CONNECT_S:g} s" if text == "Operation timed out" else text


def _how_lost(error: aiomqtt.MqttError) -> tuple[str, int]:
    """Return how a connection has ended, and the reason code, 0 where there is none."""
    cause = error.__cause__ if isinstance(error.__cause__, aiomqtt.MqttCodeError) else error
    reason = getattr(cause, "rc", None)
    if str(error) == "Operation timed out":
        return f"acknowledges nothing within {CONNECT_S:g} s", 0
    if isinstance(reason, ReasonCode) and reason.value not in (0, _UNSPECIFIED):
        return f"has ended the connection: {str(reason).lower()}", reason.value
    return "has ended the connection", 0
