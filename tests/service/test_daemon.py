"""The daemon as a whole, with an ear that does as it is told and a provider that echoes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stt_edge.config.settings import Config, ProviderEntry, SinkEntry, VadSection
from stt_edge.errors import ConfigError, ConfigProblem, FaultKind, SttEdgeError, UnavailableError
from stt_edge.service import daemon as module
from stt_edge.service import provider_set
from stt_edge.service.control_client import ask
from stt_edge.service.daemon import Daemon
from stt_edge.service.ear_starter import EarStarter
from stt_edge.service.mute_switch import MuteSwitch
from stt_edge.service.paths import Paths
from stt_edge.sinks import registry as sinks
from tests.fakes import ear
from tests.fakes.ear import FakeEar
from tests.session.scripted import EchoRemote, Remote


class House:
    """A machine to run daemons on, one after the other."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths(directory / "run", directory / "state", directory / "logs")
        self.jsonl = directory / "logs" / "transcripts.jsonl"
        self.remote: Remote = EchoRemote()
        monkeypatch.setattr(provider_set.registry, "build", lambda *_: self.remote.provider)
        options = sinks.options("jsonl")
        assert options is not None
        self.config = Config(
            node="here",
            providers=(ProviderEntry("scripted", "scripted", None),),
            sinks=(SinkEntry("jsonl", options(path=str(self.jsonl))),),
        )
        self.reloaded: Config | SttEdgeError = self.config

    def daemon(self, fake: FakeEar, **more: Any) -> Daemon:
        return Daemon(self.config, self._load, self.paths, ear_command=fake.command, **more)

    def _load(self) -> Config:
        if isinstance(self.reloaded, SttEdgeError):
            raise self.reloaded
        return self.reloaded

    @asynccontextmanager
    async def running(self, fake: FakeEar, **more: Any) -> AsyncIterator[asyncio.Task[int]]:
        """Run a daemon until the block ends, then stop it as systemd does."""
        task = asyncio.create_task(self.daemon(fake, **more).run())
        try:
            await self.until(lambda: self.paths.control_socket.exists() or task.done())
            yield task
        finally:
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(20):
                await asyncio.wait([task])

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not true():
                await asyncio.sleep(0.01)

    async def ask(self, command: str) -> Any:
        return await asyncio.to_thread(ask, [self.paths.control_socket], command)

    @property
    def lines(self) -> list[dict[str, Any]]:
        if not self.jsonl.exists():
            return []
        return [json.loads(line) for line in self.jsonl.read_text().splitlines()]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


async def test_speech_becomes_one_line(house: House, tmp_path: Path) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.hear()])
    async with house.running(fake) as task:
        await house.until(lambda: house.lines)
    assert task.result() == 0
    (line,) = house.lines
    assert (line["text"], line["node"], line["duration_ms"]) == ("echo", "here", 1200)
    assert house.remote.wires[0].pcm == ear.pcm_of(0, 12)


async def test_a_stop_transcribes_the_utterance_in_hand(house: House, tmp_path: Path) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12, end=None), ear.hear()])
    async with house.running(fake):
        await house.until(lambda: house.remote.wires and house.remote.wires[0].pcm)
        assert house.lines == []
    (line,) = house.lines
    assert line["truncated"] is False


async def test_the_end_of_a_source_ends_the_daemon_when_all_is_transcribed(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.finish()])
    async with asyncio.timeout(20):
        assert await house.daemon(fake).run() == 0
    assert len(house.lines) == 1


async def test_what_a_provider_did_not_finish_is_finished_by_the_next_run(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.1)
    house.remote = Remote()  # takes audio and says nothing
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.hear()])
    async with house.running(fake):
        await house.until(lambda: house.remote.wires and "goodbye" in house.remote.wires[0].words)
    assert house.lines == []
    house.remote = EchoRemote()
    async with house.running(FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])):
        await house.until(lambda: house.lines)
    (line,) = house.lines
    assert line["delayed"] is True
    assert house.remote.wires[0].pcm == ear.pcm_of(0, 12)


async def test_a_second_daemon_on_the_same_state_is_refused(house: House, tmp_path: Path) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with house.running(fake):
        with pytest.raises(UnavailableError, match=str(os.getpid())):
            await house.daemon(fake).run()


async def test_mute_ends_the_utterance_in_hand_and_outlives_a_restart(
    house: House, tmp_path: Path
) -> None:
    life = [ear.opened(), ear.utterance(12, end=None), ear.hear()]
    fake = FakeEar(tmp_path / "ear", life)
    async with house.running(fake):
        await house.until(lambda: house.remote.wires and house.remote.wires[0].pcm)
        assert await house.ask("mute") == {"muted": True, "changed": True, "warning": ""}
        await house.until(lambda: house.lines)
        assert (await house.ask("status"))["ear"]["state"] == "muted"
    again = FakeEar(tmp_path / "ear2", life)
    async with house.running(again):
        assert (await house.ask("status"))["muted"] is True
        assert again.born == 0
        assert await house.ask("unmute") == {"muted": False, "changed": True, "warning": ""}
        await house.until(lambda: again.born == 1)


@pytest.mark.parametrize("muted", [False, True])
async def test_an_ear_that_hears_already_is_ended_where_somebody_has_muted_meanwhile(
    house: House, tmp_path: Path, muted: bool
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    house.paths.create()
    MuteSwitch(house.paths.state).set(on=muted)
    starter = EarStarter()
    starter.prepare(fake.command)
    starter.begin_ahead(house.config.ear())
    assert starter._ready is not None
    process = starter._ready.process.result()
    await house.until(lambda: fake.born == 1)
    async with house.running(fake, ear_starter=starter):
        assert (await house.ask("status"))["muted"] is muted
        if muted:
            await house.until(lambda: process._process.returncode == -signal.SIGKILL)
        else:
            assert (await house.ask("status"))["ear"]["pid"] == process.pid
    assert fake.born == 1


async def test_a_bad_configuration_is_rejected_and_the_old_one_stays(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    house.reloaded = ConfigError([ConfigProblem("/etc/stt-edge.yaml", 3, 9, "no such key")])
    async with house.running(fake):
        with caplog.at_level(logging.ERROR):
            os.kill(os.getpid(), signal.SIGHUP)
            await house.until(lambda: "/etc/stt-edge.yaml:3:9: no such key" in caplog.text)
        assert "rejected" in (await house.ask("status"))["problems"][0]
        house.reloaded = house.config
        assert await house.ask("reload") == {"kept": []}
        assert "rejected" not in str((await house.ask("status"))["problems"])
        await house.until(lambda: fake.born)
        assert fake.born == 1


async def test_a_reload_takes_up_what_it_can_and_names_what_it_cannot(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with house.running(fake):
        await house.until(lambda: fake.born == 1)
        gate = replace(house.config, vad=VadSection(hangover_ms=900), node="elsewhere")
        house.reloaded = gate
        assert await house.ask("reload") == {"kept": ["node"]}
        assert await house.ask("reload") == {"kept": ["node"]}
        assert fake.born == 1
        device = replace(house.config, audio=replace(house.config.audio, device="other"))
        house.reloaded = device
        await house.ask("reload")
        await house.until(lambda: fake.born == 2)


async def test_a_sink_that_cannot_be_built_leaves_the_configuration_as_it_was(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with house.running(fake):
        house.reloaded = replace(house.config, sinks=(SinkEntry("nonsense", None),))
        with pytest.raises(SttEdgeError, match="nonsense"):
            await house.ask("reload")
        assert list((await house.ask("status"))["sinks"]) == ["jsonl"]


async def test_a_reload_that_failed_halfway_is_made_good_by_the_next(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    renamed = replace(house.config, providers=(ProviderEntry("renamed", "scripted", None),))
    async with house.running(fake):
        house.remote.provider = replace(house.remote.provider, name="renamed")
        house.reloaded = replace(renamed, sinks=(SinkEntry("nonsense", None),))
        with pytest.raises(SttEdgeError, match="nonsense"):
            await house.ask("reload")
        house.reloaded = renamed
        await house.ask("reload")
        assert [one["name"] for one in (await house.ask("status"))["providers"]] == ["renamed"]


async def test_a_sink_that_is_no_longer_named_is_closed(house: House, tmp_path: Path) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])
    async with house.running(fake):
        house.reloaded = replace(house.config, sinks=())
        await house.ask("reload")
        assert (await house.ask("status"))["sinks"] == {}


async def test_a_recording_that_cannot_be_heard_ends_the_daemon_as_bad_configuration(
    house: House, tmp_path: Path
) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.fault(FaultKind.FILE, "speech.wav: is no recording")])
    with pytest.raises(SttEdgeError, match="is no recording") as caught:
        await house.daemon(fake).run()
    assert caught.value.exit_code == 78


async def test_status_tells_of_every_part(house: House, tmp_path: Path) -> None:
    fake = FakeEar(tmp_path / "ear", [ear.opened(), ear.utterance(12), ear.hear()])
    async with house.running(fake):
        await house.until(lambda: house.lines)
        while (status := await house.ask("status"))["sinks"]["jsonl"]["pending"]:
            await asyncio.sleep(0.01)
        assert status["ear"]["device"] == "Fake microphone"
        assert status["provider"]["name"] == "scripted"
        assert status["store"]["records"] == 1
        assert status["problems"] == []
        assert "echo" not in json.dumps(status)
