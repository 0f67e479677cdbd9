"""A broker that speaks the wire protocol of MQTT 3.1.1 and 5, and misbehaves as it is told.

From the OASIS standards, sections 2 and 3. It takes messages and passes none on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14


@dataclass
class Manners:
    """How it behaves; may be changed while it runs."""

    versions: tuple[int, ...] = (4, 5)
    """Protocol levels: 4 is MQTT 3.1.1."""
    silent: bool = False
    """It accepts connections and says nothing at all."""
    hangs_up_on_unknown_version: bool = False
    """In place of saying that it does not know it."""
    connack: int = 0
    """Return code, or reason code in MQTT 5."""
    acknowledges: bool = True
    puback: int = 0
    refused_topics: dict[str, int] = field(default_factory=dict)
    """Reason codes for messages on some topics, MQTT 5 only."""
    suback: int = 1
    largest_packet_bytes: int | None = None
    """It ends the connection when it gets a larger one; it says so in MQTT 5 only."""
    says_largest: bool = True
    receive_maximum: int | None = None
    disconnects_with: int | None = None
    """Reason code of a DISCONNECT that it sends when the next message comes, MQTT 5 only."""


@dataclass(frozen=True)
class Taken:
    """A message it was sent."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class MqttBroker:
    """Serves any number of clients, one after the other or at a time."""

    def __init__(self, manners: Manners | None = None) -> None:
        self.manners = manners or Manners()
        self.port = 0
        self.versions_asked: list[int] = []
        self.client_ids: list[str] = []
        self.taken: list[Taken] = []
        self.goodbyes = 0
        self.most_unacknowledged = 0
        self.open = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls, manners: Manners | None = None) -> AsyncIterator[MqttBroker]:
        broker = cls(manners)
        server = await asyncio.start_server(broker._serve, HOST, 0)
        broker.port = server.sockets[0].getsockname()[1]
        try:
            yield broker
        finally:
            server.close()
            for writer in broker._writers:
                writer.transport.abort()
            await server.wait_closed()

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def on(self, topic: str) -> list[bytes]:
        return [each.payload for each in self.taken if each.topic == topic]

    def hang_up(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.open += 1
        try:
            await _Session(self, reader, writer).run()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.transport.abort()


class _Session:
    def __init__(
        self, broker: MqttBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._broker = broker
        self._manners = broker.manners
        self._reader = reader
        self._writer = writer
        self._version = 0
        self._waiting: list[bytes] = []

    async def run(self) -> None:
        if self._manners.silent:
            await self._reader.read()
            return
        while True:
            head = (await self._reader.readexactly(1))[0]
            body = await self._reader.readexactly(await self._length())
            if self._too_large(len(body)) or not self._handle(head >> 4, head & 15, body):
                return
            await self._writer.drain()

    async def _length(self) -> int:
        value, shift = 0, 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return value

    def _too_large(self, size: int) -> bool:
        largest = self._manners.largest_packet_bytes
        return largest is not None and size > largest

    def _handle(self, kind: int, flags: int, body: bytes) -> bool:
        """Answer a packet; return whether the connection goes on."""
        if kind == CONNECT:
            return self._connect(body)
        if kind == PUBLISH:
            return self._publish(flags, body)
        if kind == SUBSCRIBE:
            self._subscribe(body)
        elif kind == PINGREQ:
            self._send(PINGRESP, b"")
        elif kind == DISCONNECT:
            self._broker.goodbyes += 1
            return False
        return True

    def _connect(self, body: bytes) -> bool:
        name_length = int.from_bytes(body[:2])
        self._version = body[2 + name_length]
        rest = body[2 + name_length + 4 :]
        if self._version == 5:
            rest = rest[1 + rest[0] :]  # the properties of ours are short
        id_length = int.from_bytes(rest[:2])
        self._broker.versions_asked.append(self._version)
        self._broker.client_ids.append(rest[2 : 2 + id_length].decode())
        if self._version not in self._manners.versions:
            if not self._manners.hangs_up_on_unknown_version:
                self._send(CONNACK, b"\0\1")  # as a broker of 3.1.1 answers
            return False
        self._send(CONNACK, bytes([0, self._manners.connack]) + self._connack_properties())
        return self._manners.connack == 0

    def _connack_properties(self) -> bytes:
        if self._version != 5:
            return b""
        properties = b""
        if self._manners.receive_maximum is not None:
            properties += b"\x21" + self._manners.receive_maximum.to_bytes(2)
        if self._manners.largest_packet_bytes is not None and self._manners.says_largest:
            properties += b"\x27" + self._manners.largest_packet_bytes.to_bytes(4)
        return bytes([len(properties)]) + properties

    def _publish(self, flags: int, body: bytes) -> bool:
        if self._manners.disconnects_with is not None:
            self._send(DISCONNECT, bytes([self._manners.disconnects_with]))
            return False
        topic_length = int.from_bytes(body[:2])
        topic = body[2 : 2 + topic_length].decode()
        rest = body[2 + topic_length :]
        qos = flags >> 1 & 3
        packet_id, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        payload = rest[1 + rest[0] :] if self._version == 5 else rest
        self._broker.taken.append(Taken(topic, payload, qos, bool(flags & 1)))
        if qos:
            self._acknowledge(packet_id, topic)
        return True

    def _acknowledge(self, packet_id: bytes, topic: str) -> None:
        self._waiting.append(packet_id)
        most = max(self._broker.most_unacknowledged, len(self._waiting))
        self._broker.most_unacknowledged = most
        if not self._manners.acknowledges:
            return
        code = self._manners.refused_topics.get(topic, self._manners.puback)
        asyncio.get_running_loop().call_later(0.002, self._puback, packet_id, code)

    def _puback(self, packet_id: bytes, code: int) -> None:
        self._waiting.remove(packet_id)
        reason = bytes([code]) if self._version == 5 and code else b""
        self._send(PUBACK, packet_id + reason)

    def _subscribe(self, body: bytes) -> None:
        packet_id, rest = body[:2], body[2:]
        if self._version == 5:
            rest = rest[1 + rest[0] :]
        count = 0
        while rest:
            rest = rest[2 + int.from_bytes(rest[:2]) + 1 :]
            count += 1
        properties = b"\0" if self._version == 5 else b""
        self._send(SUBACK, packet_id + properties + bytes([self._manners.suback]) * count)

    def _send(self, kind: int, body: bytes) -> None:
        assert len(body) < 128
        self._writer.write(bytes([kind << 4, len(body)]) + body)
