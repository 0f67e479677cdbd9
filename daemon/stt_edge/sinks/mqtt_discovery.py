"""What Home Assistant is told, so that it makes a device of this one by itself.

Source: the documentation of its MQTT integration, "MQTT discovery". Two forms: one message for the
whole device (since 2024.11), and one for each entity, for versions older than that.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.sinks.mqtt_topics import Topics

STATUS_EVERY_S: Final = 60
EVENT_TYPE: Final = "final"
_MODEL: Final = Path("/proc/device-tree/model")
_NOT_IN_ENTITY_ID: Final = re.compile(r"[^a-z0-9]+")


@frozen
class Device:
    """What is said of the device itself."""

    id: str
    """As ``device_id`` returns it."""
    name: str
    node: str
    version: str
    suggested_area: str | None = None


def messages(form: str, prefix: str, device: Device, topics: Topics) -> dict[str, bytes]:
    """Return topic and payload of every message of a form, ``device`` or ``component``.

    All of them are to be retained.
    """
    if form == "device":
        body = {**_shared(device, topics), "components": _components(device, topics)}
        return {_device_topic(prefix, device.id): _encoded(body)}
    found = {}
    for name, component in _components(device, topics).items():
        topic = _component_topic(prefix, component["platform"], device.id, name)
        entity = {key: value for key, value in component.items() if key != "platform"}
        found[topic] = _encoded({**_shared(device, topics), **entity})
    return found


def topics_of(form: str, prefix: str, device_id: str) -> tuple[str, ...]:
    """Return the topics that the messages of a form are retained on."""
    nobody = Device(device_id, "", "", "")
    return tuple(messages(form, prefix, nobody, Topics("")))


def other_form(form: str) -> str:
    """Return the form that would name the same entities a second time."""
    return "component" if form == "device" else "device"


def birth_topic(prefix: str) -> str:
    """Return where Home Assistant says ``online`` when it has started."""
    return f"{prefix}/status"


def _device_topic(prefix: str, device_id: str) -> str:
    return f"{prefix}/device/{device_id}/config"


def _component_topic(prefix: str, kind: str, device_id: str, name: str) -> str:
    return f"{prefix}/{kind}/{device_id}/{name}/config"


def _shared(device: Device, topics: Topics) -> dict[str, Any]:
    described = {
        "identifiers": [device.id],
        "name": device.name,
        "manufacturer": "stt-edge",
        "model": _model(),
        "sw_version": device.version,
    }
    if device.suggested_area is not None:
        described["suggested_area"] = device.suggested_area
    return {
        "device": described,
        "origin": {"name": "stt-edge", "sw_version": device.version},
        "availability": [{"topic": topics.availability}],
        "qos": 1,
    }


def _components(device: Device, topics: Topics) -> dict[str, dict[str, Any]]:
    components = {
        "transcript": _transcript(topics),
        "last": _last(topics),
        "speech": _speech(topics),
        "provider": _provider(topics),
        "mute": _mute(topics),
        "backlog": _backlog(topics),
    }
    slug = _slug(device)
    for name, component in components.items():
        component["unique_id"] = f"{device.id}_{name}"
        component["default_entity_id"] = f"{component['platform']}.{slug}_{name}"
    return components


def _transcript(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "event",
        "name": "Transcript",
        "state_topic": topics.transcript,
        "event_types": [EVENT_TYPE],
        "icon": "mdi:text-recognition",
    }


def _last(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "sensor",
        "name": "Last transcript",
        "state_topic": topics.last,
        "value_template": "{{ value_json.text[:255] }}",  # a longer state becomes 'unknown'
        "json_attributes_topic": topics.last,
        "icon": "mdi:text",
    }


def _speech(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "binary_sensor",
        "name": "Speech",
        "device_class": "sound",
        "state_topic": topics.speech,
    }


def _provider(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "binary_sensor",
        "name": "Provider",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.provider,
    }


def _mute(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "switch",
        "name": "Mute",
        "icon": "mdi:microphone-off",
        "state_topic": topics.mute,
        "command_topic": topics.set_mute,
    }


def _backlog(topics: Topics) -> dict[str, Any]:
    return {
        "platform": "sensor",
        "name": "Spooled audio",
        "device_class": "duration",
        "unit_of_measurement": "s",
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "state_topic": topics.status,
        "value_template": "{{ value_json.spool_seconds }}",
        "expire_after": 3 * STATUS_EVERY_S,
    }


def _model() -> str:
    try:
        return _MODEL.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:  # no device tree: a PC
        return f"{platform.system()} {platform.machine()}"


def _slug(device: Device) -> str:
    """Return what entity ids begin with; they are made of ``[a-z0-9_]``."""
    return _NOT_IN_ENTITY_ID.sub("_", device.node.lower()).strip("_") or device.id


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
