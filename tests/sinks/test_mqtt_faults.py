"""The MQTT sink and a broker that is away, refuses, hangs, or is an old one: nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from stt_edge.sinks.follower import FollowerState
from stt_edge.sinks.mqtt import Options
from stt_edge.sinks.mqtt_sink import Patience
from tests.fakes.mqtt_broker import Manners, MqttBroker
from tests.mosquitto import Listener, Mosquitto, free_port, needs_mosquitto, retained
from tests.sinks.mqtt_room import BASE, ONLY_WHEN_TOLD, ids, room, until

HASTY = Patience(ack_s=0.3, status_every_s=3600)


@needs_mosquitto
@pytest.mark.parametrize("persistent", [False, True])
async def test_records_of_an_outage_arrive_in_order_when_the_broker_is_back(
    persistent: bool, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path / "broker", persistent=persistent) as broker:
        async with room(Options(url=broker.url), settings=ONLY_WHEN_TOLD) as kitchen:
            async with Listener.at(broker.port) as listener:
                before = kitchen.say("before")
                await until(lambda: ids(listener.on(f"{BASE}/transcript")) == before)
            broker.kill()
            await until(lambda: kitchen.follower.status().state is FollowerState.DOWN)
            during = kitchen.say(*(f"during {number}" for number in range(20)))
            broker.start()
            async with Listener.at(broker.port) as listener:
                kitchen.follower.reopen()  # now somebody listens
                await kitchen.until_delivered(21)
                after = kitchen.say("after")
                await until(lambda: len(listener.on(f"{BASE}/transcript")) >= 21)
                assert ids(listener.on(f"{BASE}/transcript")) == [*during, *after]
                await until(lambda: b'"after"' in (listener.newest(f"{BASE}/last") or b""))
            states = await retained(broker.port)
            assert states[f"{BASE}/availability"] == b"online"
            assert json.loads(states[f"{BASE}/last"])["text"] == "after"
            assert any(topic.startswith("homeassistant/device/") for topic in states)


@needs_mosquitto
async def test_a_broker_killed_while_records_flow_gets_each_at_least_once_and_in_order(
    tmp_path: Path,
) -> None:
    heard: list[str] = []
    topic = f"{BASE}/transcript"
    with Mosquitto(tmp_path / "broker") as broker:
        async with room(Options(url=broker.url), settings=ONLY_WHEN_TOLD) as kitchen:
            await until(lambda: kitchen.follower.status().state is FollowerState.UP)
            wanted: list[str] = []
            for _ in range(3):
                # With QoS 1 the broker would hold messages for the listener, and die with them.
                async with Listener.at(broker.port, qos=0) as listener:
                    kitchen.follower.reopen()
                    await until(lambda: kitchen.follower.status().state is FollowerState.UP)
                    before = len(listener.on(topic))
                    wanted += kitchen.say(*map(str, range(300)))
                    await listener.until(topic, before + 20)
                    broker.kill()
                    await listener.gone.wait()
                    await until(lambda: kitchen.follower.status().state is FollowerState.DOWN)
                    heard += ids(listener.on(topic))
                broker.start()
            async with Listener.at(broker.port) as listener:
                kitchen.follower.reopen()
                await kitchen.until_delivered(900)
                wanted += kitchen.say("last")
                await kitchen.until_delivered(901)
                await listener.until(topic, 1, lambda payload: b'"last"' in payload)
                heard += ids(listener.on(topic))
    assert list(dict.fromkeys(heard)) == wanted


@needs_mosquitto
async def test_a_connection_lost_in_silence_is_made_again_though_there_is_nothing_to_say(
    tmp_path: Path,
) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with room(Options(url=broker.url)) as kitchen:
            await until(lambda: kitchen.follower.status().state is FollowerState.UP)
            broker.kill()
            await until(lambda: kitchen.follower.status().state is FollowerState.DOWN)
            assert str(broker.port) in kitchen.trouble
            broker.start()
            await until(lambda: kitchen.follower.status().state is FollowerState.UP)
            assert (await retained(broker.port))[f"{BASE}/availability"] == b"online"


@needs_mosquitto
async def test_a_broker_that_holds_the_connection_and_hangs_is_left_and_found_again(
    tmp_path: Path,
) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with room(Options(url=broker.url), patience=HASTY) as kitchen:
            kitchen.say("one")
            await kitchen.until_delivered(1)
            broker.freeze()
            kitchen.say("two")
            await until(lambda: "acknowledges nothing within 0.3 s" in kitchen.trouble)
            broker.thaw()
            await kitchen.until_delivered(2)


@needs_mosquitto
async def test_a_killed_program_is_offline_by_its_last_will(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with room(Options(url=broker.url), settings=ONLY_WHEN_TOLD) as kitchen:
            await until(lambda: kitchen.follower.status().state is FollowerState.UP)
            assert kitchen.sink._link is not None
            await kitchen.sink._link._client.abandon(1)  # the connection ends and nobody says so
            await until(lambda: kitchen.follower.status().state is FollowerState.DOWN)
            async with Listener.at(broker.port) as listener:
                await until(lambda: listener.newest(f"{BASE}/availability") == b"offline")


async def test_without_a_broker_records_wait_and_it_is_said_where_it_was_looked_for() -> None:
    port = free_port()
    async with room(Options(url=f"mqtt://127.0.0.1:{port}")) as kitchen:
        kitchen.say("one")
        await until(lambda: kitchen.trouble)
        assert kitchen.trouble == f"Broker 127.0.0.1:{port} cannot be reached: Connection refused."
        assert kitchen.follower.status().delivered == 0


async def test_a_host_without_an_address_is_said() -> None:
    async with room(Options(url="mqtt://nowhere.invalid")) as kitchen:
        await until(lambda: kitchen.trouble)
    assert kitchen.trouble.startswith("Broker nowhere.invalid:1883 cannot be reached: ")


async def test_a_broker_that_accepts_and_says_nothing_is_left_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stt_edge.sinks.mqtt_link.CONNECT_S", 0.2)
    async with MqttBroker.running(Manners(silent=True)) as broker:
        async with room(Options(url=broker.url)) as kitchen:
            await until(lambda: "no answer within 0.2 s" in kitchen.trouble)
            await until(lambda: kitchen.follower._failures >= 3)
            assert broker.open <= 1, "connections that were given up are closed"
        await until(lambda: broker.open == 0)


async def test_a_broker_that_lets_us_in_and_acknowledges_nothing_gets_no_record() -> None:
    async with MqttBroker.running(Manners(acknowledges=False)) as broker:
        async with room(Options(url=broker.url), patience=HASTY) as kitchen:
            kitchen.say("one", "two")
            await until(lambda: "acknowledges nothing" in kitchen.trouble)
            await until(lambda: kitchen.follower._failures >= 3)
            assert kitchen.follower.status().delivered == 0
            assert broker.open <= 1, "connections that were given up are closed"
            broker.manners.acknowledges = True
            await kitchen.until_delivered(2)
        wanted = [each.id for each in kitchen.store.records]
        assert ids(broker.on(f"{BASE}/transcript"))[-2:] == wanted
        assert broker.goodbyes >= 1


async def test_acknowledgements_that_cease_in_the_middle_lose_nothing() -> None:
    async with (
        MqttBroker.running() as broker,
        room(Options(url=broker.url), patience=HASTY) as kitchen,
    ):
        first = kitchen.say(*map(str, range(50)))
        await kitchen.until_delivered(50)
        broker.manners.acknowledges = False
        second = kitchen.say(*map(str, range(50)))
        await until(lambda: kitchen.follower.status().state is FollowerState.DOWN)
        broker.manners.acknowledges = True
        await kitchen.until_delivered(100)
        assert list(dict.fromkeys(ids(broker.on(f"{BASE}/transcript")))) == first + second


async def test_at_most_eight_messages_wait_for_their_acknowledgement() -> None:
    async with MqttBroker.running() as broker, room(Options(url=broker.url)) as kitchen:
        wanted = kitchen.say(*map(str, range(200)))
        await kitchen.until_delivered(200)
        assert ids(broker.on(f"{BASE}/transcript")) == wanted
        assert 2 <= broker.most_unacknowledged <= 8


async def test_a_broker_that_takes_fewer_at_a_time_is_given_no_more() -> None:
    async with (
        MqttBroker.running(Manners(receive_maximum=2)) as broker,
        room(Options(url=broker.url)) as kitchen,
    ):
        kitchen.say(*map(str, range(50)))
        await kitchen.until_delivered(50)
        assert broker.most_unacknowledged == 2


# Versions


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1(hangs_up: bool) -> None:
    manners = Manners(versions=(4,), hangs_up_on_unknown_version=hangs_up)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        wanted = kitchen.say("one", "two")
        await kitchen.until_delivered(2)
        assert broker.versions_asked == [5, 4]
        assert ids(broker.on(f"{BASE}/transcript")) == wanted


async def test_a_broker_that_knows_neither_is_said_to() -> None:
    manners = Manners(versions=(), hangs_up_on_unknown_version=True)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        await until(lambda: "hangs up instead of letting us in" in kitchen.trouble)


# Refusals


@pytest.mark.parametrize(
    ("versions", "code", "said"),
    [
        ((4, 5), 0x86, "does not let a client without a name in"),
        ((4, 5), 0x87, "does not let a client without a name in"),
        ((4, 5), 0x8A, "does not let"),
        ((4, 5), 0x85, "does not take 'stt-edge-kitchen' as a client id"),
        ((4, 5), 0x88, "server unavailable"),
        ((4, 5), 0x89, "server busy"),
        ((4,), 4, "does not let a client without a name in"),
        ((4,), 5, "does not let a client without a name in"),
        ((4,), 2, "client id"),
        ((4,), 3, "unavailable"),
    ],
)
async def test_a_broker_that_does_not_let_us_in_says_why_and_is_asked_again(
    versions: tuple[int, ...], code: int, said: str
) -> None:
    manners = Manners(versions=versions, connack=code)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        kitchen.say("one")
        await until(lambda: said in kitchen.trouble)
        manners.connack = 0
        await kitchen.until_delivered(1)
        assert kitchen.follower.status().set_aside == 0


async def test_a_record_too_large_for_the_broker_is_set_aside_and_not_in_the_way() -> None:
    manners = Manners(largest_packet_bytes=4000)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        first, _, third = kitchen.say("one", "x" * 5000, "three")
        await kitchen.until_delivered(2)
        status = kitchen.follower.status()
        assert (status.set_aside, status.state) == (1, FollowerState.UP)
        assert ids(broker.on(f"{BASE}/transcript")) == [first, third]


async def test_a_large_record_that_ends_every_connection_is_set_aside_too() -> None:
    manners = Manners(versions=(4,), largest_packet_bytes=20_000)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        first, _, third = kitchen.say("one", "x" * 30_000, "three")
        await kitchen.until_delivered(2)
        assert kitchen.follower.status().set_aside == 1
        delivered = dict.fromkeys(ids(broker.on(f"{BASE}/transcript")))
        assert list(delivered) == [first, third]


async def test_a_large_record_outlasts_a_broker_that_only_hangs() -> None:
    async with (
        MqttBroker.running(Manners(acknowledges=False)) as broker,
        room(Options(url=broker.url), patience=Patience(ack_s=0.05)) as kitchen,
    ):
        kitchen.say("x" * 30_000)
        await until(lambda: kitchen.follower._failures > 6)
        broker.manners.acknowledges = True
        await kitchen.until_delivered(1)


async def test_records_wait_while_the_access_list_does_not_let_us_publish() -> None:
    manners = Manners(refused_topics={f"{BASE}/transcript": 0x87})
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        wanted = kitchen.say("one", "two")
        await until(lambda: kitchen.trouble)
        assert f"publish on {BASE}/transcript" in kitchen.trouble
        assert kitchen.follower.status().set_aside == 0
        manners.refused_topics.clear()
        await kitchen.until_delivered(2)
        assert ids(broker.on(f"{BASE}/transcript"))[-2:] == wanted


async def test_a_record_refused_for_what_it_is_is_set_aside() -> None:
    manners = Manners(refused_topics={f"{BASE}/transcript": 0x99})
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        kitchen.say("one")
        await until(lambda: kitchen.follower.status().set_aside == 1)
        manners.refused_topics.clear()
        (second,) = kitchen.say("two")
        await kitchen.until_delivered(1)
        assert ids(broker.on(f"{BASE}/transcript"))[-1] == second


async def test_a_state_that_is_refused_is_told_once_and_keeps_no_record_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manners = Manners(refused_topics={f"{BASE}/mute": 0x87}, suback=0x87)
    async with MqttBroker.running(manners) as broker, room(Options(url=broker.url)) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
        broker.hang_up()
        kitchen.say("two")
        await kitchen.until_delivered(2)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len([text for text in warnings if f"publish on {BASE}/mute." in text]) == 1
    assert len([text for text in warnings if f"subscribe to {BASE}/mute/set" in text]) == 1


async def test_another_client_of_the_same_name_is_said_to_be_one() -> None:
    async with MqttBroker.running() as broker, room(Options(url=broker.url)) as kitchen:
        await until(lambda: kitchen.follower.status().state is FollowerState.UP)
        broker.manners.disconnects_with = 0x8E
        kitchen.say("one")
        await until(lambda: "let another client in as stt-edge-kitchen" in kitchen.trouble)
        assert "a node of its own" in kitchen.trouble
        broker.manners.disconnects_with = None
        await kitchen.until_delivered(1)


async def test_a_stop_does_not_wait_for_a_broker_that_is_away() -> None:
    async with MqttBroker.running(Manners(acknowledges=False)) as broker:
        async with room(Options(url=broker.url), patience=Patience(ack_s=3600)) as kitchen:
            await until(lambda: broker.taken)
            kitchen.say("one")
            async with asyncio.timeout(20):
                await kitchen.follower.stop(0.05)
        assert kitchen.store.cursors["mqtt"] == 0
