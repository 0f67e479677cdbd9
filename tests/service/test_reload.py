"""A reload in the middle of speech: no sample is lost, whatever changes, and however often."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.config.loader import load
from stt_edge.config.settings import (
    BudgetSection,
    Config,
    ProviderEntry,
    SinkEntry,
    SpoolSection,
    VadSection,
)
from stt_edge.errors import ConfigError, SttEdgeError
from stt_edge.providers import registry as providers
from stt_edge.service import daemon as module
from stt_edge.sinks import registry as sinks
from tests.fakes import ear
from tests.fakes.ear import FakeEar
from tests.service.test_daemon import House
from tests.session.scripted import EchoRemote, Remote


class Talk:
    """Somebody speaks for 0.6 s, goes on for 0.6 s when let, and is heard by one fake ear."""

    def __init__(self, house: House, directory: Path) -> None:
        self.house = house
        self.wires = house.remote.wires
        self._go_on = directory / "go-on"
        middle = ear.wait_for(self._go_on)
        life = [ear.opened(), ear.utterance(6, end=None), middle, ear.utterance(6), ear.hear()]
        self.ear = FakeEar(directory / "ear", life, [ear.opened(), ear.hear()])

    @asynccontextmanager
    async def in_mid_sentence(self) -> AsyncIterator[None]:
        """Run a daemon that is just transcribing; the sentence ends with the block."""
        async with self.house.running(self.ear):
            await self.house.until(lambda: self.wires and len(self.wires[0].pcm) >= 6 * 3200)
            yield
            self._go_on.touch()
            await self.house.until(lambda: self.house.lines)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


@pytest.fixture
def talk(house: House, tmp_path: Path) -> Talk:
    return Talk(house, tmp_path)


def jsonl(path: Path) -> tuple[SinkEntry, ...]:
    options = sinks.options("jsonl")
    assert options is not None
    return (SinkEntry("jsonl", options(path=str(path))),)


def another(what: str, config: Config, directory: Path) -> Config:
    """Return the configuration with something in it that is different."""
    match what:
        case "nothing":
            return replace(config)
        case "gate":
            return replace(config, vad=VadSection(hangover_ms=900, aggressiveness=3))
        case "device":
            return replace(config, audio=replace(config.audio, device="another"))
        case "provider":
            return replace(config, providers=(ProviderEntry("scripted", "scripted", "new"),))
        case "rules":
            return replace(config, budget=BudgetSection(seconds_per_day=3600))
        case "spool":
            return replace(config, spool=SpoolSection(max_mb=64, keep_free_mb=1))
        case "sink":
            return replace(config, sinks=(*jsonl(directory / "other.jsonl"),))
        case _:
            changed = config
            for each in ("gate", "device", "provider", "rules", "spool", "sink"):
                changed = another(each, changed, directory)
            return changed


CHANGES = ["nothing", "gate", "device", "provider", "rules", "spool", "sink", "everything"]


@pytest.mark.parametrize("what", CHANGES)
async def test_speech_across_a_reload_is_exact_to_the_sample(
    what: str, house: House, talk: Talk, tmp_path: Path
) -> None:
    if what in ("sink", "everything"):
        house.jsonl = tmp_path / "other.jsonl"
    before = house.remote
    async with talk.in_mid_sentence():
        if what in ("provider", "everything"):
            house.remote = EchoRemote()
        house.reloaded = another(what, house.config, tmp_path)
        assert await house.ask("reload") == {"kept": []}
        assert (await house.ask("status"))["ear"]["state"] == "hearing"
    assert len(before.wires) == 1
    assert before.wires[0].pcm == ear.pcm_of(0, 12)
    (line,) = house.lines
    assert line["duration_ms"] == 1200
    assert (line["lost_ms"], line["reconnects"], line["truncated"]) == (0, 0, False)


async def test_a_new_device_is_opened_when_the_sentence_has_ended(
    house: House, talk: Talk, tmp_path: Path
) -> None:
    async with house.running(talk.ear):
        await house.until(lambda: talk.wires and talk.wires[0].pcm)
        house.reloaded = another("device", house.config, tmp_path)
        await house.ask("reload")
        assert talk.ear.born == 1
        (tmp_path / "go-on").touch()
        await house.until(lambda: house.lines and talk.ear.born == 2)
    assert talk.ear.born == 2


async def test_ten_reloads_in_a_row_lose_nothing_and_open_the_device_once_more(
    house: House, talk: Talk, tmp_path: Path
) -> None:
    async with house.running(talk.ear):
        await house.until(lambda: talk.wires and talk.wires[0].pcm)
        for number in range(10):
            what = "everything" if number % 2 == 0 else "nothing"
            house.reloaded = another(what, house.config, tmp_path)
            await house.ask("reload")
        (tmp_path / "go-on").touch()
        await house.until(lambda: house.lines and talk.ear.born == 2)
    (line,) = house.lines
    assert (line["duration_ms"], line["lost_ms"], line["truncated"]) == (1200, 0, False)
    assert talk.wires[0].pcm == ear.pcm_of(0, 12)


async def test_signals_that_come_in_a_burst_are_one_reload_more(
    house: House, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with talk.in_mid_sentence():
        for _ in range(10):
            os.kill(os.getpid(), signal.SIGHUP)
        await house.until(lambda: "configuration was read again" in caplog.text)
        await house.ask("reload")
    reloads = caplog.text.count("configuration was read again")
    assert 2 <= reloads <= 4
    assert talk.wires[0].pcm == ear.pcm_of(0, 12)


async def test_a_reload_while_muted_opens_nothing_and_counts_when_unmuted(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with house.running(fake):
        await house.until(lambda: fake.born == 1)
        await house.ask("mute")
        house.reloaded = another("everything", house.config, tmp_path)
        await house.ask("reload")
        assert (await house.ask("status"))["ear"]["state"] == "muted"
        assert fake.born == 1
        await house.ask("unmute")
        await house.until(lambda: fake.born == 2)


async def test_a_file_that_has_vanished_leaves_the_configuration_as_it_was(
    house: House, talk: Talk, tmp_path: Path
) -> None:
    house.config = replace(house.config, path="/etc/stt-edge.yaml")
    async with talk.in_mid_sentence():
        house.reloaded = replace(Config(node="here"), providers=house.config.providers, path=None)
        with pytest.raises(SttEdgeError, match="is no longer there"):
            await house.ask("reload")
        status = await house.ask("status")
        assert "rejected" in status["problems"][0]
        assert list(status["sinks"]) == ["jsonl"]
    assert talk.wires[0].pcm == ear.pcm_of(0, 12)
    with pytest.raises(ConfigError):  # as for a file that was named
        load(tmp_path / "gone.yaml", providers, sinks)


async def test_a_reload_that_fails_half_way_changes_nothing(
    house: House, talk: Talk, tmp_path: Path
) -> None:
    first = house.remote
    async with talk.in_mid_sentence():
        house.remote = EchoRemote()
        changed = another("provider", house.config, tmp_path)
        house.reloaded = replace(changed, sinks=(SinkEntry("nonsense", None),))
        with pytest.raises(SttEdgeError, match="nonsense"):
            await house.ask("reload")
        house.reloaded = house.config
        await house.ask("reload")
    assert first.wires[0].pcm == ear.pcm_of(0, 12)
    assert house.remote.wires == []


async def test_a_second_signal_hurries_a_stop_that_waits_and_a_hangup_does_not_end_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 600.0)
    house.remote = Remote()  # takes audio and says nothing
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.hear()])
    async with house.running(fake) as task:
        await house.until(lambda: house.remote.wires and house.remote.wires[0].pcm)
        os.kill(os.getpid(), signal.SIGTERM)
        await house.until(lambda: not house.paths.control_socket.exists())
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        assert not task.done()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await task == 0
