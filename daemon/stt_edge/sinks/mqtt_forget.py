"""Takes back everything that is retained on a broker about one node."""

from __future__ import annotations

from stt_edge.errors import PermissionDeniedError, UnavailableError
from stt_edge.sinks import mqtt_discovery
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_link import LoginRefusedError, PublishRefusedError, open_link
from stt_edge.sinks.mqtt_sink import broker_of
from stt_edge.sinks.mqtt_topics import Topics, device_id

_ACK_S = 10.0


def topics_of(options: Options, node: str) -> list[str]:
    """Return every topic on which something may be retained about a node, discovery first."""
    prefix, device = options.discovery_prefix, device_id(node)
    announced = [
        topic
        for form in ("device", "component")
        for topic in mqtt_discovery.topics_of(form, prefix, device)
    ]
    return [*announced, *Topics(options.base_topic(node)).retained]


async def forget(options: Options, node: str) -> list[str]:
    """Empty every retained topic of a node and return them.

    Raises UnavailableError when the broker cannot be reached, PermissionDeniedError when it, or
    the file with the password, refuses.
    """
    topics = topics_of(options, node)
    try:
        # Under another name: the running service would lose its connection to one of its own.
        broker = broker_of(options, node, suffix="-forget")
        link = await open_link(broker, None, _listen_to_nothing, _nothing, ack_s=_ACK_S)
        try:
            for topic in topics:
                await link.publish(topic, b"", retain=True)
        finally:
            await link.close()
    except (LoginRefusedError, PublishRefusedError) as error:
        raise PermissionDeniedError(error.message, error.remedy) from error
    except SinkUnavailableError as error:
        raise UnavailableError(error.message, error.remedy) from error
    return topics


async def _listen_to_nothing(_topic: str, _payload: bytes, _retained: bool) -> None:
    pass


def _nothing() -> None:
    pass
