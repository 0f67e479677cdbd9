"""A real daemon in an outage: what is said reaches the disk and outlives a power cut."""

from __future__ import annotations

import json
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.providers_room import Room, entry, room, sentence, simulator, text


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


def on_disk(status: dict[str, Any], utterances: int) -> bool:
    spool = status["spool"]
    settled = spool["on_disk_bytes"] == spool["bytes"] > 0
    return spool["utterances"] == utterances and settled and not status["speech"]["open"]


async def in_an_outage(house: Room, tmp_path: Path, *numbers: list[int]) -> Any:
    """Start a daemon, take its provider away, and speak; returns the provider's simulator."""
    service = simulator("tiro")
    await service.start()
    house.configure(entry("tiro", service.options(tmp_path)), spool={"keep_free_mb": 0})
    await house.start()
    await service.stop()
    for sentence_of in numbers:
        await house.voice.say(sentence(sentence_of))
    await house.until_status(lambda status: on_disk(status, len(numbers)))
    return service


async def test_what_was_said_in_an_outage_outlives_a_power_cut(house: Room, tmp_path: Path) -> None:
    service = await in_an_outage(house, tmp_path, [0, 1], [2])
    await house.kill()
    house.lose_power()
    async with service:
        await house.start()
        await house.until(lambda: len(house.records) == 2)
        await house.stop()
    assert house.texts == [text([0, 1]), text([2])]
    assert [record["delayed"] for record in house.records] == [True, True]
    assert [record["truncated"] for record in house.records] == [False, False]
    assert list((tmp_path / "state" / "spool").iterdir()) == []


async def test_a_stop_puts_what_waits_on_the_disk(house: Room, tmp_path: Path) -> None:
    service = simulator("tiro")
    await service.start()
    house.configure(entry("tiro", service.options(tmp_path)), spool={"keep_free_mb": 0})
    await house.start()
    await service.stop()
    await house.voice.say(sentence([3, 4]))
    await house.stop()
    house.lose_power()
    async with service:
        await house.start()
        await house.until(lambda: len(house.records) == 1)
        await house.stop()
    assert house.texts == [text([3, 4])]


async def test_with_durable_always_speech_is_on_the_disk_though_the_provider_is_there(
    house: Room, tmp_path: Path
) -> None:
    async with simulator("tiro") as service:
        house.configure(
            entry("tiro", service.options(tmp_path)),
            spool={"keep_free_mb": 0, "durable": "always", "keep_audio": True},
        )
        await house.start()
        await house.voice.say(sentence([0]))
        await house.until(lambda: len(house.records) == 1)
        status = await house.until_status(lambda status: on_disk(status, 0))
        assert status["spool"]["kept"] == 1
        listed = json.loads(await house.command("spool", "ls", "--json"))
        assert [each["state"] for each in listed] == ["kept"]
        (path,) = (await house.command("spool", "export", "--all", "-o", str(tmp_path))).split()
        with wave.open(path) as recording:
            assert recording.getnframes() == round(listed[0]["seconds"] * 16_000)
        replayed = await house.command("spool", "replay", listed[0]["id"], "--json")
        assert json.loads(replayed) == {"replayed": [listed[0]["id"]], "refused": []}
        await house.until(lambda: len(house.records) == 2)
        first, second = house.records
        assert (second["supersedes"], second["text"]) == (first["id"], first["text"])
        await house.stop()


async def test_what_waits_can_be_purged_beside_the_daemon(house: Room, tmp_path: Path) -> None:
    await in_an_outage(house, tmp_path, [0], [1])
    listed = json.loads(await house.command("spool", "ls", "--json"))
    assert [each["state"] for each in listed] == ["waiting", "waiting"]
    purged = json.loads(await house.command("spool", "purge", "--all", "--json"))
    assert purged["purged"] == [each["id"] for each in listed]
    await house.until_status(lambda status: status["spool"]["bytes"] == 0)
    assert list((tmp_path / "state" / "spool").iterdir()) == []
    await house.stop()
