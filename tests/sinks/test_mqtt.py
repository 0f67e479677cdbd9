"""The MQTT sink at a real mosquitto: what is published, retained, asked and answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stt_edge.errors import TemporaryError
from stt_edge.record_json import record_to_json
from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_sink import Patience
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, retained
from tests.sinks.mqtt_room import BASE, Program, ids, room, until
from tests.sinks.samples import START

pytestmark = needs_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
async def listener(broker: Mosquitto) -> AsyncIterator[Listener]:
    async with Listener.at(broker.port) as listener:
        yield listener


async def test_a_record_is_one_event_with_the_keys_of_the_jsonl_file_and_its_type(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("open the window — größe 漢字")
        await until(lambda: listener.on(f"{BASE}/transcript"))
    (event,) = [each for each in listener.heard if each.topic == f"{BASE}/transcript"]
    expected = {**record_to_json(kitchen.store.records[0]), "event_type": "final"}
    assert json.loads(event.payload) == expected
    assert event.qos == 1
    assert f"{BASE}/transcript" not in await retained(broker.port)


async def test_it_speaks_mqtt_5_and_goes_by_the_name_of_its_node(broker: Mosquitto) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
    assert "as stt-edge-kitchen (p5," in broker.log


async def test_the_newest_record_is_retained_without_its_words(broker: Mosquitto) -> None:
    from stt_edge.model import Word

    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("one two", words=(Word("one", 16_000, 20_000),))
        await kitchen.until_delivered(1)
    last = json.loads((await retained(broker.port))[f"{BASE}/last"])
    assert last["text"] == "one two"
    assert "words" not in last


async def test_a_delayed_record_does_not_take_the_place_of_a_later_one(broker: Mosquitto) -> None:
    from datetime import timedelta

    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("live")
        kitchen.say("of an hour ago", start=START - timedelta(hours=1), delayed=True)
        await kitchen.until_delivered(2)
    assert json.loads((await retained(broker.port))[f"{BASE}/last"])["text"] == "live"


async def test_every_state_is_retained_and_offline_after_a_clean_stop(broker: Mosquitto) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
        running = await retained(broker.port)
    assert running[f"{BASE}/availability"] == b"online"
    assert running[f"{BASE}/mute"] == b"OFF"
    assert running[f"{BASE}/speech"] == b"OFF"
    assert running[f"{BASE}/provider"] == b"ON"
    assert json.loads(running[f"{BASE}/status"])["spool_seconds"] == 0
    stopped = await retained(broker.port)
    assert stopped[f"{BASE}/availability"] == b"offline"
    assert {name for name in stopped if name.startswith(BASE)} == {
        f"{BASE}/{name}"
        for name in ("availability", "last", "mute", "provider", "speech", "status")
    }


async def test_states_are_published_as_they_change(broker: Mosquitto, listener: Listener) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        kitchen.program.speaking = True
        kitchen.sink.speech(open=True)
        await until(lambda: listener.newest(f"{BASE}/speech") == b"ON")
        kitchen.program.speaking = False
        kitchen.sink.speech(open=False)
        await until(lambda: listener.newest(f"{BASE}/speech") == b"OFF")
        kitchen.program.provider = "backing-off"
        kitchen.sink.changed()
        await until(lambda: listener.newest(f"{BASE}/provider") == b"OFF")
        await until(lambda: b"backing-off" in (listener.newest(f"{BASE}/status") or b""))


async def test_a_status_that_changed_in_nothing_that_matters_waits_for_its_time(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        kitchen.sink.changed()  # only the uptime has
        kitchen.program.muted = True
        kitchen.sink.changed()
        await until(lambda: listener.newest(f"{BASE}/mute") == b"ON")
        await until(lambda: len(listener.on(f"{BASE}/status")) == 2)
    assert len(listener.on(f"{BASE}/status")) == 2


async def test_the_status_comes_again_and_again_though_nothing_changes(
    broker: Mosquitto, listener: Listener
) -> None:
    often = Patience(ack_s=5, status_every_s=0.05)
    async with room(Options(url=broker.url), patience=often):
        await until(lambda: len(listener.on(f"{BASE}/status")) >= 3)
    assert len(listener.on(f"{BASE}/mute")) == 1


async def test_partials_are_published_when_asked_for_and_never_retained(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url, partials=True)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        kitchen.sink.partial("some-id", "open the")
        await until(lambda: listener.on(f"{BASE}/partial"))
    (partial,) = [each for each in listener.heard if each.topic == f"{BASE}/partial"]
    assert json.loads(partial.payload) == {"id": "some-id", "text": "open the"}
    assert partial.qos == 0
    assert f"{BASE}/partial" not in await retained(broker.port)


async def test_partials_are_not_published_unless_asked_for(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        kitchen.sink.partial("some-id", "open the")
        kitchen.say("open the window")
        await until(lambda: listener.on(f"{BASE}/transcript"))
    assert listener.on(f"{BASE}/partial") == []


async def test_another_base_moves_every_topic(broker: Mosquitto) -> None:
    async with room(Options(url=broker.url, base="house/kitchen/ear", discovery="off")) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
    topics = await retained(broker.port)
    assert topics
    assert all(topic.startswith("house/kitchen/ear/") for topic in topics)


# Commands


async def test_the_mute_switch_mutes_and_unmutes(broker: Mosquitto, listener: Listener) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.newest(f"{BASE}/mute") == b"OFF")
        await listener.say(f"{BASE}/mute/set", "ON")
        await until(lambda: listener.newest(f"{BASE}/mute") == b"ON")
        await listener.say(f"{BASE}/mute/set", "OFF")
        await until(lambda: listener.newest(f"{BASE}/mute") == b"OFF")
    assert kitchen.program.wishes == [True, False]


async def test_a_retained_command_is_ignored(broker: Mosquitto, listener: Listener) -> None:
    await listener.say(f"{BASE}/mute/set", "ON", retain=True)
    await listener.say(f"{BASE}/cmd/mute", "", retain=True)
    await listener.say(f"{BASE}/cmd/unmute", "{}", retain=True)
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.newest(f"{BASE}/mute") == b"OFF")
        await listener.say(f"{BASE}/cmd/status", "")
        await until(lambda: listener.on(f"{BASE}/reply/status"))
    assert kitchen.program.wishes == []


@pytest.mark.parametrize("payload", [b"on", b"", b"1", b"true", b"\xff\xfe", b"ON" * 9000])
async def test_a_mute_switch_that_is_sent_something_else_stays_and_says_so(
    payload: bytes, broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.newest(f"{BASE}/mute") == b"OFF")
        await listener.say(f"{BASE}/mute/set", payload)
        await until(lambda: listener.on(f"{BASE}/reply/mute"))
    answer = json.loads(listener.on(f"{BASE}/reply/mute")[0])
    assert (answer["ok"], answer["error"]) == (False, "mute/set takes ON or OFF.")
    assert kitchen.program.wishes == []


async def test_a_command_is_answered_with_its_transaction(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        await listener.say(f"{BASE}/cmd/status", '{"transaction": "t-1"}')
        await listener.say(f"{BASE}/cmd/mute", '{"transaction": 7}')
        await listener.say(f"{BASE}/cmd/unmute", "")
        await until(lambda: listener.on(f"{BASE}/reply/unmute"))
    status = json.loads(listener.on(f"{BASE}/reply/status")[0])
    assert (status["ok"], status["transaction"]) == (True, "t-1")
    assert status["result"]["version"] == "9.9"
    mute = json.loads(listener.on(f"{BASE}/reply/mute")[0])
    assert mute == {"ok": True, "result": {"muted": True}, "transaction": 7}
    unmute = json.loads(listener.on(f"{BASE}/reply/unmute")[0])
    assert unmute == {"ok": True, "result": {"muted": False}}
    assert kitchen.program.wishes == [True, False]


@pytest.mark.parametrize(
    ("verb", "payload", "answered_on"),
    [
        ("reboot", b"", "reboot"),
        ("status", b"[1, 2]", "status"),
        ("status", b'"text"', "status"),
        ("status", b"{", "status"),
        ("status", b"\xff\x00", "status"),
        ("status", b"[" * 4000, "status"),
        ("status", b" " * 5000, "status"),
        ("mute", b'{"transaction": [1]}', "mute"),
        ("mute", b'{"transaction": "' + b"x" * 200 + b'"}', "mute"),
        ("öffnen", b"", "error"),
        ("", b"", "error"),
        ("x" * 100, b"", "error"),
    ],
)
async def test_a_bad_command_is_answered_with_an_error_and_harms_nothing(
    verb: str, payload: bytes, answered_on: str, broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        await listener.say(f"{BASE}/cmd/{verb}", payload)
        await until(lambda: listener.on(f"{BASE}/reply/{answered_on}"))
        kitchen.say("still here")
        await kitchen.until_delivered(1)
    answer = json.loads(listener.on(f"{BASE}/reply/{answered_on}")[0])
    assert answer["ok"] is False
    assert answer["error"]
    assert kitchen.program.wishes == []


async def test_a_microphone_that_cannot_be_closed_is_said_to_whoever_asked(
    broker: Mosquitto, listener: Listener
) -> None:
    program = Program()
    program.stuck = TemporaryError("Its driver hangs.", "Unplug it.")
    async with room(Options(url=broker.url), program=program):
        await until(lambda: listener.on(f"{BASE}/status"))
        await listener.say(f"{BASE}/cmd/mute", "")
        await until(lambda: listener.on(f"{BASE}/reply/mute"))
    answer = json.loads(listener.on(f"{BASE}/reply/mute")[0])
    assert answer == {"ok": False, "error": "Its driver hangs.", "remedy": "Unplug it."}
    assert listener.newest(f"{BASE}/mute") == b"OFF"


async def test_a_flood_of_commands_does_not_keep_records_away(
    broker: Mosquitto, listener: Listener
) -> None:
    async with room(Options(url=broker.url)) as kitchen:
        await until(lambda: listener.on(f"{BASE}/status"))
        for number in range(300):
            await listener.say(f"{BASE}/cmd/{number}", b"?")
        wanted = kitchen.say(*map(str, range(20)))
        await until(lambda: len(listener.on(f"{BASE}/transcript")) == 20)
    assert ids(listener.on(f"{BASE}/transcript")) == wanted
