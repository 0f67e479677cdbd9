"""Publishes records on an MQTT broker, keeps the device's states current, and takes commands.

Nothing waits in the library: a record stays in the store until the broker has acknowledged it.
States are what they are at the moment they are sent; none is sent late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import ClassVar, Final

from stt_edge.errors import SecretError
from stt_edge.frozen import frozen
from stt_edge.model import Record
from stt_edge.secret_file import SecretFile
from stt_edge.sinks import mqtt_discovery, mqtt_states
from stt_edge.sinks.base import (
    Sink,
    SinkContext,
    SinkError,
    SinkRefusedError,
    SinkUnavailableError,
)
from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_commands import Commands
from stt_edge.sinks.mqtt_discovery import STATUS_EVERY_S, Device, birth_topic
from stt_edge.sinks.mqtt_link import IN_FLIGHT, Broker, Link, PublishRefusedError, open_link
from stt_edge.sinks.mqtt_states import OFFLINE, ONLINE, State
from stt_edge.sinks.mqtt_topics import Topics, device_id
from stt_edge.waiting import is_set_within

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 1.0
"""What is still to be said before a clean end may take this long."""
_SPACING_S: Final = 0.1
"""States and partials that change faster are passed over, all but the newest."""
_LARGE_BYTES: Final = 16 * 1024
_LOSSES: Final = 3
"""A large record with which the connection has ended so often is what ends it: MQTT 3.1.1 has no
other way to refuse a message."""


@frozen
class Patience:
    """How long the sink waits; tests wait less."""

    ack_s: float = 10.0
    """For the broker to acknowledge a message."""
    status_every_s: float = STATUS_EVERY_S
    birth_s: float = 5.0
    """At most so long after Home Assistant's birth message; not all devices speak at once."""


class MqttSink(Sink):
    """Publishes each record; the broker has acknowledged it when ``write`` returns."""

    name: ClassVar[str] = "mqtt"
    at_once: ClassVar[int] = IN_FLIGHT

    def __init__(
        self,
        options: Options,
        context: SinkContext,
        patience: Patience | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        """Publish where ``options`` say; nothing is connected to until ``open``."""
        self._options = options
        self._context = context
        self._patience = patience or Patience()
        self._rng = rng or random.Random()  # noqa: S311  jitter, not secrecy
        self._topics = Topics(options.base_topic(context.node))
        self._commands = Commands(self._topics, context)
        self._link: Link | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._trouble: Callable[[], None] = _nobody_to_tell
        self._news = asyncio.Event()
        self._born = asyncio.Event()
        self._told: dict[str, object] = {}
        self._last: Record | None = None
        self._partial: tuple[str, str] | None = None
        self._losses: dict[str, int] = {}
        self._refused: set[str] = set()

    def watch(self, trouble: Callable[[], None]) -> None:
        """Have ``trouble`` called when the connection is lost between records."""
        self._trouble = trouble

    def check(self) -> None:
        """Raise SinkUnavailableError if the connection was lost."""
        if self._link is not None:
            self._link.check()

    async def open(self) -> None:
        """Connect, subscribe, and tell who and how we are. Raises SinkUnavailableError."""
        will = (self._topics.availability, OFFLINE)
        ack_s = self._patience.ack_s
        link = await open_link(
            broker_of(self._options, self._context.node),
            will,
            self._take,
            self._lost,
            ack_s=ack_s,
        )
        self._link = link
        self._told.clear()
        try:
            await self._subscribe(link)
            await link.publish(self._topics.availability, ONLINE, retain=True)
            await self._announce(link, tidy=True)
            await self._tell_states(link)
        except SinkError as error:
            await self.close()
            raise SinkUnavailableError(error.message, error.remedy) from error
        self._tasks = [
            asyncio.create_task(self._keep_current(link), name="mqtt-states"),
            asyncio.create_task(self._greet(link), name="mqtt-birth"),
        ]
        for task in self._tasks:
            task.add_done_callback(_tell_mistake)

    async def write(self, record: Record) -> None:
        """Publish the record. Raises SinkUnavailableError, SinkRefusedError."""
        link = self._link
        if link is None:
            raise SinkUnavailableError("The broker is not connected.")
        payload = mqtt_states.transcript(record)
        if self._losses.get(record.id, 0) >= _LOSSES:
            raise SinkRefusedError(
                f"The broker ends the connection when it is sent {len(payload)} bytes.",
                "Raise the size of messages it takes.",
            )
        try:
            await link.publish(self._topics.transcript, payload)
        except PublishRefusedError as error:
            if error.unauthorized:  # so will be all others, until somebody has allowed it
                raise SinkUnavailableError(error.message, error.remedy) from error
            raise
        except SinkUnavailableError:
            if link.cut_off and len(payload) > _LARGE_BYTES:
                self._losses[record.id] = self._losses.get(record.id, 0) + 1
            raise
        self._losses.pop(record.id, None)
        self._note_last(record)

    async def close(self) -> None:
        """Say that we are gone, where there is somebody to hear it, and let go."""
        link, self._link = self._link, None
        if link is None:
            return
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if link.alive:
            with contextlib.suppress(SinkError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._tell_states(link)
                    await link.publish(self._topics.availability, OFFLINE, retain=True)
        await link.close()

    def partial(self, utterance_id: str, text: str) -> None:
        """Publish what is understood so far, if that is wanted; only the newest waits."""
        if self._options.partials and self._link is not None:
            self._partial = (utterance_id, text)
            self._news.set()

    def speech(self, open: bool) -> None:  # noqa: A002  as in the protocol
        """Look at the status: somebody has begun or ceased to speak."""
        del open
        self._news.set()

    def changed(self) -> None:
        """Look at the status."""
        self._news.set()

    # --- what comes in ---

    async def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:  # somebody's wish of long ago
            return
        if topic == birth_topic(self._options.discovery_prefix):
            if payload == ONLINE:
                self._born.set()
            return
        reply = await self._commands.take(topic, payload)
        self._news.set()
        if reply is not None and self._link is not None:
            with contextlib.suppress(SinkError):  # who asks again is answered again
                await self._link.publish(reply.topic, reply.payload)

    def _lost(self) -> None:
        self._news.set()
        self._trouble()

    # --- what goes out ---

    async def _subscribe(self, link: Link) -> None:
        topics = list(self._commands.subscriptions)
        if self._options.form != "off":
            topics.append(birth_topic(self._options.discovery_prefix))
        for topic in await link.subscribe(topics):
            self._warn(topic, f"The broker does not let us subscribe to {topic}.")

    async def _announce(self, link: Link, *, tidy: bool) -> None:
        """Show the device to Home Assistant; ``tidy`` takes back what another form left there."""
        form, prefix = self._options.form, self._options.discovery_prefix
        if form == "off":
            return
        device = self._device()
        if tidy:
            other = mqtt_discovery.other_form(form)
            for topic in mqtt_discovery.topics_of(other, prefix, device.id):
                await self._retain(link, topic, b"")
        messages = mqtt_discovery.messages(form, prefix, device, self._topics)
        for topic, payload in messages.items():
            await self._retain(link, topic, payload)

    def _device(self) -> Device:
        node = self._context.node
        return Device(
            id=device_id(node),
            name=self._options.device_name or f"stt-edge {node}",
            node=node,
            version=self._context.version,
            suggested_area=self._options.suggested_area,
        )

    async def _keep_current(self, link: Link) -> None:
        """Publish states as they change, and the status once in a while, until the link is lost."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self._patience.status_every_s
        while link.alive:
            await is_set_within(self._news, due_s - loop.time())
            self._news.clear()
            if loop.time() >= due_s:
                self._told.pop(self._topics.status, None)
                due_s = loop.time() + self._patience.status_every_s
            with contextlib.suppress(SinkUnavailableError):  # then the link is lost
                await self._tell_states(link)
                await self._tell_partial(link)
            await asyncio.sleep(_SPACING_S)

    async def _greet(self, link: Link) -> None:
        """Tell everything again a while after Home Assistant has started."""
        while True:
            await self._born.wait()
            await asyncio.sleep(self._rng.uniform(0, self._patience.birth_s))
            self._born.clear()
            try:
                await self._announce(link, tidy=False)
            except SinkUnavailableError:
                return
            self._told.clear()
            self._news.set()

    async def _tell_states(self, link: Link) -> None:
        states = mqtt_states.states_of(self._context.status(), self._topics)
        if self._last is not None:
            states.append(mqtt_states.last(self._last, self._topics))
        for state in states:
            await self._tell(link, state)

    async def _tell(self, link: Link, state: State) -> None:
        if self._told.get(state.topic) != state.key:
            await self._retain(link, state.topic, state.payload)
            self._told[state.topic] = state.key

    async def _tell_partial(self, link: Link) -> None:
        partial, self._partial = self._partial, None
        if partial is not None:
            body = {"id": partial[0], "text": partial[1]}
            await link.show(self._topics.partial, mqtt_states.encoded(body))

    async def _retain(self, link: Link, topic: str, payload: bytes) -> None:
        """Retain a message; one that is refused is told once, and keeps nothing else away."""
        try:
            await link.publish(topic, payload, retain=True)
        except PublishRefusedError as error:
            self._warn(topic, str(error))

    def _warn(self, topic: str, message: str) -> None:
        if topic not in self._refused:
            self._refused.add(topic)
            _log.warning("%s", message)

    def _note_last(self, record: Record) -> None:
        if self._last is None or record.start >= self._last.start:
            self._last = record
            self._news.set()


def broker_of(options: Options, node: str, *, suffix: str = "") -> Broker:
    """Return whom to connect to, with the password read from its file.

    Raises SinkUnavailableError when there is no password to be had.
    """
    password = None
    if options.password_file is not None:
        try:
            password = SecretFile(options.password_file, kind="password").read()
        except SecretError as error:
            raise SinkUnavailableError(error.message, error.remedy) from error
    host, port, tls = options.address
    return Broker(
        host=host,
        port=port,
        client_id=f"stt-edge-{node}{suffix}",
        tls=tls,
        username=options.username,
        password=password,
        ca_file=options.ca_file,
        cert_file=options.cert_file,
        key_file=options.key_file,
        keepalive_s=options.keepalive_s,
    )


def _nobody_to_tell() -> None:
    pass


def _tell_mistake(task: asyncio.Task[None]) -> None:
    """Log what has ended a task that nobody waits for."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s has ended", task.get_name(), exc_info=error)
