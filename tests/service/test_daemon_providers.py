"""The daemon as it is run, with a provider on a network: speech goes in, lines come out.

The daemon is a process of its own that hears in real time; the provider is a simulator in this one.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stt_edge.ear.decode import open_recording
from tests.marks import needs_pulse
from tests.pulse import SINK, PulseMicrophone
from tests.service.providers_room import Room, entry, room, sentence, simulator, text
from tests.simulators.core import Simulator
from tests.simulators.registry import simulator_class

KEYED = ("tiro", "deepgram", "openai")
SPOKEN = "hello this is a test of the system"
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")


def attempts(service: Simulator) -> int:
    """Return how often a service was asked, in vain or not; some count refusals as sessions."""
    return max(len(service.sessions), service.refusals)


def voiced(directory: Path) -> Path:
    """Return a recording of a sentence, spoken by a machine."""
    path = directory / "spoken.wav"
    argv = ["flite", "-voice", "slt", "-t", SPOKEN, "-o", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", [*KEYED, "wyoming"])
async def test_what_is_said_becomes_lines(name: str, house: Room, tmp_path: Path) -> None:
    async with simulator(name) as service:
        house.configure(entry(name, service.options(tmp_path)))
        await house.start()
        await house.voice.say(sentence([0, 1, 2]))
        await house.voice.say(sentence([3, 4]))
        await house.until(lambda: len(house.records) == 2)
        await house.stop()
    assert house.texts == [text([0, 1, 2]), text([3, 4])]
    assert not any(record["delayed"] or record["lost_ms"] for record in house.records)
    assert {record["provider"] for record in house.records} == {name}


@pytest.mark.parametrize("name", KEYED)
async def test_a_wrong_key_is_said_in_one_line_and_a_right_one_is_taken_without_a_restart(
    name: str, house: Room, tmp_path: Path
) -> None:
    async with simulator(name) as service:
        options = service.options(tmp_path)
        key_file = Path(options["api_key_file"])
        key_file.write_text("wrong-0815\n")
        house.configure(entry(name, options))
        await house.start()
        await house.voice.say(sentence([0]))
        await house.until_status(lambda status: status["provider"]["state"] == "blocked")
        await house.voice.say(sentence([1]))
        await house.voice.say(sentence([2]))
        document, shown = await house.status_command()
        assert document["provider"]["retry_in_s"] > 250
        (problem,) = document["problems"]
        assert problem.startswith(f"Provider {name} is blocked: ")
        assert str(key_file) in problem
        assert "\n" not in problem
        assert problem in shown
        (line,) = [line for line in house.log.splitlines() if "blocked" in line]
        assert problem.partition(": ")[2] in line
        assert "0815" not in house.log + shown + str(document)
        assert 1 <= attempts(service) <= 3
        key_file.write_text(f"{service.key}\n")
        # The block lasts for five minutes more: nothing but the new key can end it.
        await house.until(lambda: len(house.records) == 3)
        assert (await house.status())["problems"] == []
        await house.stop()
    # Two connections at a time: which of two live utterances is done first is not said.
    records = sorted(house.records, key=lambda record: record["start_sample"])
    assert [record["text"] for record in records] == [text([0]), text([1]), text([2])]
    assert "sesame" not in house.log


async def test_what_is_said_while_the_provider_is_gone_is_transcribed_later(
    house: Room, tmp_path: Path
) -> None:
    service = simulator("deepgram")
    await service.start()
    house.configure(entry("deepgram", service.options(tmp_path)))
    await house.start()
    await service.stop()
    for number in range(5):
        await house.voice.say(sentence([number]))
    status = await house.until_status(lambda status: status["backlog"]["utterances"] == 5)
    assert status["provider"]["state"] == "backing-off"
    assert house.records == []
    # Nothing counts as late before five seconds have passed.
    await house.voice.say(bytes(32_000 * 5))
    async with service:
        await house.voice.say(sentence([5]))  # which ends the wait for the next attempt
        await house.until(lambda: len(house.records) == 6)
        await house.stop()
    assert all(record["reconnects"] <= 10 for record in house.records)
    live, *backlog = sorted(house.records, key=lambda record: record["delayed"])
    assert [record["text"] for record in backlog] == [text([number]) for number in range(5)]
    assert all(record["delayed"] for record in backlog)
    assert (live["text"], live["delayed"]) == (text([5]), False)


async def test_a_daemon_killed_in_an_outage_loses_nothing_and_doubles_nothing(
    house: Room, tmp_path: Path
) -> None:
    service = simulator("tiro")
    await service.start()
    house.configure(entry("tiro", service.options(tmp_path)))
    await house.start()
    await house.voice.say(sentence([0, 1]))
    await house.until(lambda: len(house.records) == 1)
    await service.stop()
    await house.voice.say(sentence([2, 3]))
    await house.voice.say(sentence([4]))
    await house.until_status(lambda status: status["backlog"]["utterances"] == 2)
    await house.kill()
    async with service:
        await house.start()
        await house.until(lambda: len(house.records) == 3)
        await house.voice.say(sentence([5]))
        await house.until(lambda: len(house.records) == 4)
        await house.stop()
    assert house.texts == [text([0, 1]), text([2, 3]), text([4]), text([5])]
    assert [record["delayed"] for record in house.records] == [False, True, True, False]


@pytest.mark.parametrize("hold", ["auto", 0])
async def test_a_budget_that_is_spent_keeps_speech_and_says_so(
    hold: object, house: Room, tmp_path: Path
) -> None:
    async with simulator("deepgram") as service:
        house.configure(
            entry("deepgram", service.options(tmp_path)),
            budget={"seconds_per_day": 1},
            session={"hold_s": hold},
        )
        await house.start()
        await house.voice.say(sentence([0, 1, 2, 3]))
        await house.until(lambda: len(house.records) == 1)
        await house.until_status(lambda status: status["provider"]["billed_s"] >= 1)
        await house.voice.say(sentence([4]))
        status = await house.until_status(lambda status: status["backlog"]["utterances"] == 1)
        assert any("budget" in problem for problem in status["problems"])
        assert "budget of the day is spent" in house.log
        assert house.texts == [text([0, 1, 2, 3])]
        assert sum(len(session.pcm) for session in service.sessions) < 2 * 32_000


@needs_flite
async def test_another_provider_takes_over_at_once(house: Room, tmp_path: Path) -> None:
    service = simulator("deepgram")
    await service.start()
    options = service.options(tmp_path)
    await service.stop()
    engine: dict[str, Any] = {"name": "pocketsphinx", "phrases": [SPOKEN, "lights on"]}
    house.configure(entry("deepgram", options), engine, vad={"hangover_ms": 600, "confirm": "none"})
    await house.start()
    recording = open_recording(str(voiced(tmp_path)))
    pcm = b"".join(iter(lambda: recording.read(16_000), b""))
    recording.close()
    await house.voice.say(pcm + bytes(16_000))
    await house.until(lambda: len(house.records) == 1)
    (record,) = house.records
    assert (record["provider"], record["text"]) == ("pocketsphinx", SPOKEN)
    states = {one["name"]: one["state"] for one in (await house.status())["providers"]}
    assert states == {"deepgram": "backing-off", "pocketsphinx": "up"}
    await house.stop()


@pytest.mark.sound
@needs_pulse
@needs_flite
async def test_a_microphone_is_heard_by_a_provider_on_the_network(
    house: Room, tmp_path: Path
) -> None:
    from tests.simulators.speech import TimedRecogniser

    with PulseMicrophone(tmp_path / "pulse") as microphone:
        house.heard_by(SINK, microphone.environment)
        async with simulator_class("deepgram")(recogniser=TimedRecogniser) as service:
            house.configure(entry("deepgram", service.options(tmp_path)))
            await house.start()
            microphone.start_playing(voiced(tmp_path))
            await house.until(lambda: house.records)
            await house.stop()
    record = house.records[0]
    given = len(b"".join(session.pcm for session in service.sessions)) // 2
    assert given == sum(one["end_sample"] - one["start_sample"] for one in house.records)
    assert record["text"].startswith("the kitchen")
