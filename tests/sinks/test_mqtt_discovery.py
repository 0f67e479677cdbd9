"""Home Assistant finds the device by itself; one test for each rule that it has."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_discovery import Device, messages, topics_of
from stt_edge.sinks.mqtt_sink import Patience
from stt_edge.sinks.mqtt_topics import Topics, device_id
from tests.fakes.home_assistant import HomeAssistant
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, retained
from tests.sinks.mqtt_room import BASE, NODE, Room, room, until

ENTITIES = {
    "transcript": "event",
    "last": "sensor",
    "speech": "binary_sensor",
    "provider": "binary_sensor",
    "mute": "switch",
    "backlog": "sensor",
}
FORMS = pytest.mark.parametrize("form", ["device", "component"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


class House:
    """Home Assistant at the broker of a sink."""

    def __init__(self, assistant: HomeAssistant, listener: Listener) -> None:
        self.assistant = assistant
        self._listener = listener
        self._told = 0

    def listen(self) -> HomeAssistant:
        """Let it take what has come."""
        for each in self._listener.heard[self._told :]:
            self.assistant.receive(each.topic, each.payload, retained=each.retained)
        self._told = len(self._listener.heard)
        return self.assistant

    async def until(self, name: str, state: str) -> None:
        await until(lambda: self._found(name) and self.listen().state(name) == state)

    def _found(self, name: str) -> bool:
        return any(each.endswith(f"_{name}") for each in self.listen().entities)


@asynccontextmanager
async def house(broker: Mosquitto) -> AsyncIterator[House]:
    async with Listener.at(broker.port) as listener:
        yield House(HomeAssistant(), listener)


async def settled(house: House, kitchen: Room) -> HomeAssistant:
    """Wait until everything was announced and told."""
    await house.until("backlog", "0.0")
    return house.assistant


def configs(form: str, **changes: Any) -> dict[str, dict[str, Any]]:
    """What is announced, by entity; shared parts stand with each."""
    device = Device(device_id(NODE), "Kitchen", NODE, "9.9", **changes)
    found = messages(form, "homeassistant", device, Topics(BASE))
    if form == "component":
        return {topic.split("/")[3]: json.loads(payload) for topic, payload in found.items()}
    (payload,) = found.values()
    body = json.loads(payload)
    shared = {key: value for key, value in body.items() if key != "components"}
    return {name: {**shared, **each} for name, each in body["components"].items()}


# At a broker


@needs_mosquitto
@FORMS
async def test_it_becomes_one_device_with_all_its_entities_and_no_complaint(
    form: str, broker: Mosquitto
) -> None:
    async with house(broker) as home, room(Options(url=broker.url, discovery=form)) as kitchen:
        assistant = await settled(home, kitchen)
    assert assistant.complaints == []
    found = {each.unique_id.rpartition("_")[2]: each for each in assistant.entities.values()}
    assert {name: each.platform for name, each in found.items()} == ENTITIES
    assert len({tuple(each.config["device"]["identifiers"]) for each in found.values()}) == 1


@needs_mosquitto
@FORMS
async def test_a_transcript_is_an_event_with_the_record_as_attributes(
    form: str, broker: Mosquitto
) -> None:
    async with house(broker) as home, room(Options(url=broker.url, discovery=form)) as kitchen:
        await settled(home, kitchen)
        (wanted,) = kitchen.say("open the window")
        await until(lambda: home.listen().entity("transcript").events)
    (event,) = home.assistant.entity("transcript").events
    assert (event["event_type"], event["id"], event["text"]) == ("final", wanted, "open the window")
    assert home.assistant.complaints == []


@needs_mosquitto
async def test_an_event_of_long_ago_does_not_happen_again_for_who_comes_later(
    broker: Mosquitto,
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("open the window")
        await kitchen.until_delivered(1)
        async with house(broker) as home:
            await settled(home, kitchen)
            assert home.assistant.entity("transcript").events == []
            await home.until("last", "open the window")


@needs_mosquitto
async def test_a_long_transcript_is_cut_to_what_a_state_may_be_and_whole_in_the_attributes(
    broker: Mosquitto,
) -> None:
    long = "open the window " * 40
    async with house(broker) as home, room(Options(url=broker.url)) as kitchen:
        await settled(home, kitchen)
        kitchen.say(long)
        await home.until("last", long[:255])
    assert home.assistant.entity("last").attributes["text"] == long
    assert home.assistant.complaints == []


@needs_mosquitto
async def test_all_entities_are_unavailable_after_a_stop_and_available_after_a_start(
    broker: Mosquitto,
) -> None:
    async with house(broker) as home:
        async with room(Options(url=broker.url)):
            await home.until("speech", "OFF")
        await home.until("speech", "unavailable")
        assert {home.assistant.state(name) for name in ENTITIES} == {"unavailable"}
        async with room(Options(url=broker.url)):
            await home.until("speech", "OFF")


@needs_mosquitto
async def test_the_last_will_makes_them_unavailable_when_the_program_dies(
    broker: Mosquitto,
) -> None:
    async with house(broker) as home, room(Options(url=broker.url)) as kitchen:
        await home.until("mute", "OFF")
        link = kitchen.sink._link
        assert link is not None
        heard = len(home._listener.on(f"{BASE}/availability"))
        await link._client.abandon(1)
        await home._listener.until(f"{BASE}/availability", heard + 1)
        assert home._listener.on(f"{BASE}/availability")[heard] == b"offline"


@needs_mosquitto
async def test_the_mute_switch_of_home_assistant_mutes(broker: Mosquitto) -> None:
    async with house(broker) as home, room(Options(url=broker.url)) as kitchen:
        await home.until("mute", "OFF")
        await home._listener.say(*home.assistant.command("mute", "ON"))
        await home.until("mute", "ON")
    assert kitchen.program.muted


@needs_mosquitto
async def test_what_waits_is_shown_in_seconds_and_expires_only_when_no_status_comes(
    broker: Mosquitto,
) -> None:
    async with house(broker) as home, room(Options(url=broker.url)) as kitchen:
        await settled(home, kitchen)
        kitchen.program.waiting_s = 12.5
        kitchen.sink.changed()
        await home.until("backlog", "12.5")
        home.assistant.now_s += 179
        assert home.assistant.state("backlog") == "12.5"
        home.assistant.now_s += 2
        assert home.assistant.state("backlog") == "unavailable"
        assert home.assistant.state("last") == "unknown"
        assert home.assistant.state("speech") == "OFF"


@needs_mosquitto
@FORMS
async def test_it_is_announced_again_when_home_assistant_is_born_and_so_are_its_states(
    form: str, broker: Mosquitto
) -> None:
    async with house(broker) as home, room(Options(url=broker.url, discovery=form)) as kitchen:
        await settled(home, kitchen)
        home.assistant.entities.clear()
        await home._listener.say("homeassistant/status", "online")
        await settled(home, kitchen)
    assert {each.rpartition("_")[2] for each in home.assistant.entities} == set(ENTITIES)


@needs_mosquitto
async def test_the_death_of_home_assistant_and_a_birth_of_long_ago_change_nothing(
    broker: Mosquitto,
) -> None:
    async with Listener.at(broker.port) as listener:
        await listener.say("homeassistant/status", "online", retain=True)
        async with room(Options(url=broker.url)) as kitchen:
            await until(lambda: listener.on(f"{BASE}/status"))
            await listener.say("homeassistant/status", "offline")
            kitchen.say("one")
            await listener.until(f"{BASE}/last", 1)
        (topic,) = topics_of("device", "homeassistant", device_id(NODE))
        assert len(listener.on(topic)) == 1


class NoWait(random.Random):
    """Draws the shortest wait there is, and notes between what it could choose."""

    drawn: tuple[float, float] | None = None

    def uniform(self, a: float, b: float) -> float:
        self.drawn = (a, b)
        return a


@needs_mosquitto
async def test_after_a_birth_it_waits_for_up_to_five_seconds_as_chance_has_it(
    broker: Mosquitto,
) -> None:
    chance = NoWait()
    async with (
        Listener.at(broker.port) as listener,
        room(Options(url=broker.url), patience=Patience(), rng=chance),
    ):
        await until(lambda: listener.on(f"{BASE}/status"))
        assert chance.drawn is None
        await listener.say("homeassistant/status", "online")
        await listener.until(f"{BASE}/status", 2)
    assert chance.drawn == (0, 5.0)


@needs_mosquitto
async def test_a_change_of_form_leaves_no_entity_twice(broker: Mosquitto) -> None:
    async with house(broker) as home:
        for form in ("device", "component", "device"):
            async with room(Options(url=broker.url, discovery=form)) as kitchen:
                await settled(home, kitchen)
                await until(lambda: len(home.listen().entities) == len(ENTITIES))
                assert home.assistant.complaints == []
        left = [topic for topic in await retained(broker.port) if topic.endswith("/config")]
    assert left == list(topics_of("device", "homeassistant", device_id(NODE)))


@needs_mosquitto
@pytest.mark.parametrize("off", ["off", False])
async def test_switched_off_it_is_not_announced(off: str | bool, broker: Mosquitto) -> None:
    async with room(Options(url=broker.url, discovery=off)) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
        topics = await retained(broker.port)
    assert topics
    assert not [topic for topic in topics if topic.startswith("homeassistant")]


@needs_mosquitto
async def test_an_empty_message_on_the_topic_of_discovery_removes_the_device(
    broker: Mosquitto,
) -> None:
    async with house(broker) as home:
        async with room(Options(url=broker.url)) as kitchen:
            await settled(home, kitchen)
        (topic,) = topics_of("device", "homeassistant", device_id(NODE))
        await home._listener.say(topic, b"", retain=True)
        await until(lambda: not home.listen().entities)


# What is announced


@FORMS
def test_device_and_origin_are_there(form: str) -> None:
    for config in configs(form).values():
        assert config["device"]["name"] == "Kitchen"
        assert config["device"]["sw_version"] == config["origin"]["sw_version"] == "9.9"
        assert config["origin"]["name"] == "stt-edge"
        assert config["device"]["model"]


@FORMS
def test_every_id_is_made_of_letters_digits_dash_and_underscore(form: str) -> None:
    device = Device(device_id("Küche 2 – hinten"), "Küche", "Küche 2 – hinten", "9.9")
    for topic, payload in messages(form, "homeassistant", device, Topics(BASE)).items():
        assert re.fullmatch(r"[a-zA-Z0-9_/-]+", topic)
        for name in re.findall(rb'"unique_id":"([^"]*)"', payload):
            assert re.fullmatch(rb"[a-zA-Z0-9_-]+", name)


@FORMS
@pytest.mark.parametrize("node", ["kitchen", "Küche 2", "東京", "a.b-c"])
def test_entity_ids_are_proposed_by_default_entity_id_and_never_by_object_id(
    form: str, node: str
) -> None:
    device = Device(device_id(node), "name", node, "9.9")
    assistant = HomeAssistant()
    for topic, payload in messages(form, "homeassistant", device, Topics(BASE)).items():
        assert b'"object_id"' not in payload
        assert b'"default_entity_id"' in payload
        assistant.receive(topic, payload)
    assert assistant.complaints == []


@FORMS
def test_unique_ids_are_unique(form: str) -> None:
    found = [config["unique_id"] for config in configs(form).values()]
    assert len(set(found)) == len(found) == len(ENTITIES)


def test_both_forms_say_the_same() -> None:
    whole, parts = configs("device"), configs("component")
    for name, config in whole.items():
        assert {key: config[key] for key in config if key != "platform"} == parts[name]


@FORMS
def test_only_the_periodic_status_expires(form: str) -> None:
    expiring = {name for name, config in configs(form).items() if "expire_after" in config}
    assert expiring == {"backlog"}


@FORMS
def test_the_room_is_suggested_when_it_is_known(form: str) -> None:
    for config in configs(form, suggested_area="Kitchen").values():
        assert config["device"]["suggested_area"] == "Kitchen"
    assert all("suggested_area" not in each["device"] for each in configs(form).values())


# Who we are


def test_the_id_stays_the_same_and_shows_nothing_of_the_machine_id(tmp_path: Path) -> None:
    machine = tmp_path / "machine-id"
    machine.write_text("3f9c1a2b3f9c1a2b3f9c1a2b3f9c1a2b\n")
    found = device_id("kitchen", machine)
    assert found == device_id("kitchen", machine)
    assert re.fullmatch(r"stt_edge_[0-9a-f]{12}", found)
    assert "3f9c1a2b" not in found


def test_other_nodes_and_other_machines_have_other_ids(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1" * 32)
    two.write_text("2" * 32)
    found = {device_id(node, path) for node in ("kitchen", "bedroom") for path in (one, two)}
    assert len(found) == 4


def test_a_machine_without_an_id_goes_by_its_node(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert device_id("kitchen", nowhere) == device_id("kitchen", nowhere)
    assert device_id("kitchen", nowhere) != device_id("bedroom", nowhere)
