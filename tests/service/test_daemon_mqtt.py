"""The daemon at a real broker: what it hears, how it is, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.config.settings import SinkEntry
from stt_edge.sinks.mqtt import Options
from tests.fakes import ear
from tests.fakes.ear import FakeEar
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, retained
from tests.service.test_daemon import House
from tests.session.scripted import Remote

pytestmark = needs_mosquitto
BASE = "stt-edge/here"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: Mosquitto) -> House:
    from dataclasses import replace

    house = House(tmp_path, monkeypatch)
    sinks = (*(house.config.sinks or ()), SinkEntry("mqtt", Options(url=broker.url, partials=True)))
    house.config = house.reloaded = replace(house.config, sinks=sinks)
    return house


async def test_speech_becomes_one_event_and_the_states_tell_of_it(
    house: House, broker: Mosquitto, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.hear()])
    async with Listener.at(broker.port) as listener:
        async with house.running(fake):
            await listener.until(f"{BASE}/transcript", 1)
            await listener.until(f"{BASE}/last", 1)
            states = await retained(broker.port)
        (event,) = listener.on(f"{BASE}/transcript")
        assert json.loads(event) == {**house.lines[0], "event_type": "final"}
        assert states[f"{BASE}/provider"] == b"ON"
        assert json.loads(states[f"{BASE}/status"])["node"] == "here"
        await listener.until(f"{BASE}/availability", 2)
        assert listener.on(f"{BASE}/availability") == [b"online", b"offline"]


async def test_somebody_who_speaks_is_shown(
    house: House, broker: Mosquitto, tmp_path: Path
) -> None:
    house.remote = Remote()
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12, end=None), ear.hear()])
    async with Listener.at(broker.port) as listener, house.running(fake):
        await listener.until(f"{BASE}/speech", 1, lambda payload: payload == b"ON")


async def test_a_mute_over_mqtt_closes_the_ear_and_outlives_a_restart(
    house: House, broker: Mosquitto, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with Listener.at(broker.port) as listener:
        async with house.running(fake):
            await listener.until(f"{BASE}/mute", 1)
            await listener.say(f"{BASE}/mute/set", "ON")
            await listener.until(f"{BASE}/mute", 1, lambda payload: payload == b"ON")
            assert (await house.ask("status"))["ear"]["state"] == "muted"
        async with house.running(FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])):
            assert (await house.ask("status"))["muted"] is True
            # Before, nobody listens to commands.
            await house.until(lambda: listener.newest(f"{BASE}/availability") == b"online")
            await listener.say(f"{BASE}/cmd/unmute", "")
            await house.until(lambda: listener.on(f"{BASE}/reply/unmute"))
            assert (await house.ask("status"))["muted"] is False


async def test_a_mute_on_the_command_line_is_shown_at_once(
    house: House, broker: Mosquitto, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with Listener.at(broker.port) as listener, house.running(fake):
        await listener.until(f"{BASE}/mute", 1)
        await house.ask("mute")
        await listener.until(f"{BASE}/mute", 1, lambda payload: payload == b"ON")
        await house.ask("unmute")
        await house.until(lambda: listener.newest(f"{BASE}/mute") == b"OFF")
