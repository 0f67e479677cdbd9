"""Home Assistant, as far as MQTT discovery goes: it takes messages and keeps entities and states.

The rules are those of the documentation of its MQTT integration, and of what it does in
``components/mqtt`` (``schemas``, ``event``, ``sensor``, ``util``). What is wrong is refused with a
complaint, as it would be in its log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

LONGEST_STATE = 255
PLATFORMS = frozenset(("event", "sensor", "binary_sensor", "switch"))
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_DEVICE_TOPIC = re.compile(r"(?P<prefix>.+)/device/(?P<object>[^/]+)/config")
_COMPONENT_TOPIC = re.compile(
    r"(?P<prefix>.+)/(?P<platform>[a-z_]+)/(?:(?P<node>[^/]+)/)?(?P<object>[^/]+)/config"
)
_TEMPLATE = re.compile(r"\{\{ value_json\.(?P<key>\w+)(?:\[:(?P<length>\d+)\])? \}\}")
_SHARED = ("device", "origin", "availability", "qos", "state_topic", "command_topic", "encoding")


@dataclass
class Entity:
    """What it has made of one component."""

    platform: str
    config: dict[str, Any]
    discovered_by: str
    state: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    available: bool = False
    expires_at_s: float | None = None

    @property
    def unique_id(self) -> str:
        return str(self.config["unique_id"])


class HomeAssistant:
    """Has a clock of its own: ``now_s`` is moved by whoever tests."""

    def __init__(self, prefix: str = "homeassistant") -> None:
        self.prefix = prefix
        self.entities: dict[str, Entity] = {}
        """By unique id."""
        self.complaints: list[str] = []
        self.now_s = 0.0
        self._retained: dict[str, bytes] = {}

    def receive(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Take a message, as it came from the broker."""
        if topic.startswith(f"{self.prefix}/") and topic.endswith("/config"):
            self._discover(topic, payload)
            return
        if retained:
            self._retained[topic] = payload
        for entity in self.entities.values():
            self._deliver(entity, topic, payload, retained=retained)

    def entity(self, name: str) -> Entity:
        """Return the entity whose unique id ends with a name."""
        (found,) = [each for each in self.entities.values() if each.unique_id.endswith(f"_{name}")]
        return found

    def state(self, name: str) -> str:
        """Return what it would show of an entity."""
        entity = self.entity(name)
        if not entity.available:
            return "unavailable"
        if entity.expires_at_s is not None and self.now_s >= entity.expires_at_s:
            return "unavailable"
        return "unknown" if entity.state is None else entity.state

    def command(self, name: str, payload: str) -> tuple[str, str]:
        """Return what it publishes when somebody throws a switch."""
        return self.entity(name).config["command_topic"], payload

    # --- discovery ---

    def _discover(self, topic: str, payload: bytes) -> None:
        device = _DEVICE_TOPIC.fullmatch(topic)
        component = _COMPONENT_TOPIC.fullmatch(topic)
        match = device or component
        if match is None or match["prefix"] != self.prefix:
            self._complain(topic, "is no topic of discovery")
            return
        names = [name for name in match.groupdict().values() if name and name != self.prefix]
        if not all(_ID.fullmatch(name) for name in names):
            self._complain(topic, "has characters other than [a-zA-Z0-9_-]")
            return
        if not payload:
            self._remove(topic)
            return
        try:
            body = json.loads(payload)
        except ValueError:
            self._complain(topic, "is not JSON")
            return
        if device is not None:
            self._discover_device(topic, body)
        else:
            assert component is not None
            self._add(topic, component["platform"], body)

    def _discover_device(self, topic: str, body: dict[str, Any]) -> None:
        for mandatory in ("device", "origin", "components"):
            if not body.get(mandatory):
                self._complain(topic, f"has no {mandatory}")
                return
        shared = {key: body[key] for key in _SHARED if key in body}
        for component in body["components"].values():
            if "platform" not in component:
                self._complain(topic, "has a component without platform")
                continue
            rest = {key: value for key, value in component.items() if key != "platform"}
            self._add(topic, component["platform"], {**shared, **rest})

    def _add(self, topic: str, platform: str, config: dict[str, Any]) -> None:
        wrong = _wrong_with(platform, config)
        if wrong:
            self._complain(topic, wrong)
            return
        known = self.entities.get(config["unique_id"])
        if known is not None and known.discovered_by != topic:
            self._complain(topic, f"does not generate unique IDs: {config['unique_id']}")
            return
        if known is not None:
            known.config = config
            return
        entity = self.entities[config["unique_id"]] = Entity(platform, config, topic)
        for source, payload in self._retained.items():  # it subscribes, and is sent these
            self._deliver(entity, source, payload, retained=True)

    def _remove(self, topic: str) -> None:
        self.entities = {
            name: each for name, each in self.entities.items() if each.discovered_by != topic
        }

    def _complain(self, topic: str, what: str) -> None:
        self.complaints.append(f"{topic} {what}")

    # --- states ---

    def _deliver(self, entity: Entity, topic: str, payload: bytes, *, retained: bool) -> None:
        config = entity.config
        for source in config.get("availability", ()):
            if source["topic"] == topic:
                entity.available = payload.decode() == source.get("payload_available", "online")
        if topic == config.get("json_attributes_topic"):
            self._take_attributes(entity, payload)
        if topic == config.get("state_topic"):
            if entity.platform == "event":
                self._take_event(entity, payload, retained=retained)
            else:
                self._take_state(entity, payload)

    def _take_attributes(self, entity: Entity, payload: bytes) -> None:
        try:
            body = json.loads(payload)
        except ValueError:
            self._complain(entity.unique_id, "has attributes that are not JSON")
            return
        if not isinstance(body, dict):
            self._complain(entity.unique_id, "has attributes that are no mapping")
            return
        entity.attributes = body

    def _take_event(self, entity: Entity, payload: bytes, *, retained: bool) -> None:
        if retained:
            return  # as event.py does: what is retained has happened long ago
        try:
            body = json.loads(payload)
        except ValueError:
            self._complain(entity.unique_id, "has an event that is not JSON")
            return
        if not isinstance(body, dict) or body.get("event_type") not in entity.config["event_types"]:
            self._complain(entity.unique_id, "has an event of no known type")
            return
        entity.events.append(body)
        entity.state = "happened"

    def _take_state(self, entity: Entity, payload: bytes) -> None:
        value = _rendered(entity.config.get("value_template"), payload.decode())
        if entity.platform in ("binary_sensor", "switch") and value not in ("ON", "OFF"):
            self._complain(entity.unique_id, f"has no such state: {value!r}")
            return
        if len(value) > LONGEST_STATE:
            self._complain(entity.unique_id, "has a state of more than 255 characters")
            entity.state = None
            return
        entity.state = value
        if "expire_after" in entity.config:
            entity.expires_at_s = self.now_s + entity.config["expire_after"]


def _wrong_with(platform: str, config: dict[str, Any]) -> str:
    entity_id = config.get("default_entity_id", f"{platform}.any")
    rules = {
        f"has no known platform: {platform}": platform in PLATFORMS,
        "has no unique_id": bool(config.get("unique_id")),
        "has a unique_id of other characters than [a-zA-Z0-9_-]": bool(
            _ID.fullmatch(config.get("unique_id", ""))
        ),
        "has no device": bool(config.get("device", {}).get("identifiers")),
        "has no origin": bool(config.get("origin", {}).get("name")),
        "has an object_id, which is gone since 2026.4": "object_id" not in config,
        "has an entity id that cannot be one": bool(
            re.fullmatch(rf"{platform}\.[a-z0-9_]+", entity_id)
        ),
        "has no state_topic": "state_topic" in config,
        "has no event_types": platform != "event" or bool(config.get("event_types")),
        "has an expire_after, which events do not have": platform != "event"
        or "expire_after" not in config,
        "has no command_topic": platform != "switch" or "command_topic" in config,
    }
    return next((what for what, kept in rules.items() if not kept), "")


def _rendered(template: str | None, payload: str) -> str:
    """Return a value by a template of the two kinds that are used here."""
    if template is None:
        return payload
    match = _TEMPLATE.fullmatch(template)
    assert match is not None, f"a template of another kind: {template}"
    value = json.loads(payload)[match["key"]]
    text = value if isinstance(value, str) else json.dumps(value)
    return text[: int(match["length"])] if match["length"] else text
