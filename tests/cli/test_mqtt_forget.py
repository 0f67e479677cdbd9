"""``stt-edge mqtt-forget``, at a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.sinks.mqtt import Options
from tests.fakes.mqtt_broker import Manners, MqttBroker
from tests.mosquitto import Listener, Mosquitto, free_port, needs_mosquitto, retained
from tests.sinks.mqtt_room import NODE, room


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(autouse=True)
def _nobody_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def configuration(directory: Path, url: str, **options: object) -> str:
    path = directory / "test.yaml"
    path.write_text(json.dumps({"node": NODE, "sinks": {"mqtt": {"url": url, **options}}}))
    return str(path)


async def forget(*arguments: str) -> int:
    import asyncio

    return await asyncio.to_thread(main, ["mqtt-forget", *arguments])


@needs_mosquitto
@pytest.mark.parametrize("form", ["device", "component"])
async def test_nothing_is_retained_afterwards_but_what_is_others(
    form: str, broker: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Listener.at(broker.port) as listener:
        await listener.say("somebody/else", b"stays", retain=True)
    async with room(Options(url=broker.url, discovery=form)) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)
    before = await retained(broker.port)
    assert await forget("-c", configuration(tmp_path, broker.url)) == 0
    assert await retained(broker.port) == {"somebody/else": b"stays"}
    lines = capsys.readouterr().out.splitlines()
    assert set(before) - {"somebody/else"} <= set(lines)
    assert lines[-1] == f"13 topics are empty now on {broker.url}."


@needs_mosquitto
async def test_a_name_the_node_had_before_can_be_forgotten(
    broker: Mosquitto, tmp_path: Path
) -> None:
    for node in ("kitchen", "old"):
        async with room(Options(url=broker.url), node=node) as kitchen:
            kitchen.say("one")
            await kitchen.until_delivered(1)
    assert await forget("-c", configuration(tmp_path, broker.url), "--node", "old") == 0
    topics = await retained(broker.port)
    assert "stt-edge/kitchen/availability" in topics
    assert "stt-edge/old/availability" not in topics


async def test_a_broker_that_is_away_is_69(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    assert await forget("-c", configuration(tmp_path, url)) == 69
    assert "cannot be reached: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "manners",
    [Manners(connack=0x87), Manners(versions=(4,), connack=5), Manners(puback=0x87)],
)
async def test_a_broker_that_refuses_is_77(
    manners: Manners, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with MqttBroker.running(manners) as broker:
        assert await forget("-c", configuration(tmp_path, broker.url)) == 77
    assert "does not let" in capsys.readouterr().err


async def test_without_the_sink_there_is_nothing_to_say_which_broker_and_it_is_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "test.yaml"
    path.write_text("node: kitchen\n")
    assert await forget("-c", str(path)) == 78
    assert "there is no mqtt" in capsys.readouterr().err
