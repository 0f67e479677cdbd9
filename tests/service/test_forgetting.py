"""``forget`` as the daemon does it: what was said is gone everywhere the daemon keeps it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stt_edge.config.settings import MetricsSection, StoreSection
from stt_edge.errors import ConfigError, ConfigProblem, FailureKind, ProviderError
from stt_edge.providers.base import Final, WordOffset
from stt_edge.service import daemon as module
from stt_edge.service.control_client import RefusedError, ask
from stt_edge.store.store import Store
from tests.fakes import ear
from tests.fakes.ear import FakeEar
from tests.service.exposition import read, value
from tests.service.test_daemon import House
from tests.session.scripted import EchoRemote, Remote


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


async def forget(house: House, **request: Any) -> Any:
    sockets = [house.paths.control_socket]
    return await asyncio.to_thread(lambda: ask(sockets, "forget", timeout_s=30, **request))


def later() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def segments(house: House) -> list[Path]:
    return sorted(house.paths.hot_audio.glob("*.seg"))


def content(house: House) -> bytes:
    state = house.paths.state
    return b"".join(
        path.read_bytes() for path in (state / "store.db", state / "store.db-wal") if path.exists()
    )


async def test_what_is_done_is_gone_from_every_file_of_the_store(
    house: House, tmp_path: Path
) -> None:
    life = [ear.opened(), ear.utterance(12), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: len(house.lines) == 2)
        ids = [line["id"] for line in house.lines]
        assert all(id_.encode() in content(house) for id_ in ids)
        counted = await forget(house, before=later(), count=True)
        assert (counted["utterances"], counted["records"]) == (2, 2)
        answer = await forget(house, before=later())
        assert answer == {
            "utterances": 2,
            "records": 2,
            "waiting": 0,
            "kept": 0,
            "more": False,
            "erased": True,
            "aside": (),
        } | {"aside": []}
        assert not any(id_.encode() in content(house) for id_ in ids)
        assert (await forget(house, before=later()))["utterances"] == 0
        assert (await house.ask("status"))["store"]["records"] == 2
    assert len(house.lines) == 2


async def test_what_was_said_after_the_moment_stays(house: House, tmp_path: Path) -> None:
    life = [ear.opened(), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: house.lines)
        hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        assert (await forget(house, before=hour_ago))["utterances"] == 0
        assert (await forget(house, before=None))["utterances"] == 1


async def test_audio_that_waits_is_forgotten_and_never_transcribed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.2)
    house.remote.refuse = ProviderError(FailureKind.CONNECT, "no route")
    life = [ear.opened(), ear.utterance(12), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: len(segments(house)) == 2)
        async with asyncio.timeout(15):
            while (await forget(house, before=None, count=True))["waiting"] < 2:
                await asyncio.sleep(0.02)
        answer = await forget(house, before=None)
        assert (answer["utterances"], answer["waiting"]) == (2, 2)
        assert segments(house) == []
    house.remote = EchoRemote()
    async with house.running(FakeEar(tmp_path / "ear2", [ear.opened(), ear.hear()])):
        assert (await house.ask("status"))["backlog"]["utterances"] == 0
    assert house.lines == []
    assert house.remote.wires == []


async def test_a_result_that_is_on_its_way_when_it_is_forgotten_is_not_stored(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 2.0)
    house.remote = Remote()  # takes all audio, and says nothing until it is told to
    life = [ear.opened(), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: house.remote.wires and "goodbye" in house.remote.wires[0].words)
        assert (await forget(house, before=None))["utterances"] == 1
        word = WordOffset("echo", 0, 12 * ear.BLOCK, 0.9)
        house.remote.wires[0].say(Final("echo", words=(word,), confidence=0.9))
        house.remote.wires[0].hang_up()
    assert house.lines == []
    assert "a result the store cannot take" not in caplog.text
    store = Store.open_read_only(house.paths.database)
    assert store.last_records(9) == []
    store.close()


async def test_what_is_being_said_stays_and_becomes_a_record(house: House, tmp_path: Path) -> None:
    life = [ear.opened(), ear.utterance(12), ear.utterance(12, end=None), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(
            lambda: (
                len(house.lines) == 1 and len(house.remote.wires) > 0 and len(segments(house)) == 1
            )
        )
        assert (await forget(house, before=None))["utterances"] == 1
        assert len(segments(house)) == 1
    assert len(house.lines) == 2
    assert house.lines[0]["id"] != house.lines[1]["id"]


async def test_what_was_set_aside_as_damaged_is_named(house: House, tmp_path: Path) -> None:
    house.paths.create()
    damaged = house.paths.state / "store.db.damaged-20261120T000000Z"
    damaged.write_bytes(b"something said")
    async with house.running(FakeEar(tmp_path / "ear", [ear.opened(), ear.hear()])):
        assert (await forget(house, before=None))["aside"] == [str(damaged)]
    assert damaged.exists()


@pytest.mark.parametrize(
    "request_", [{}, {"before": "soon"}, {"before": "2026-11-20T16:00"}, {"before": 7}]
)
async def test_a_request_without_a_moment_deletes_nothing(
    house: House, tmp_path: Path, request_: dict[str, Any]
) -> None:
    life = [ear.opened(), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: house.lines)
        with pytest.raises(RefusedError, match="a moment with its zone"):
            await forget(house, **request_)
        assert (await forget(house, before=None, count=True))["utterances"] == 1


async def test_the_bounds_of_the_store_are_kept_and_taken_up_by_a_reload(
    house: House, tmp_path: Path
) -> None:
    house.config = replace(house.config, store=StoreSection(keep_days=3))
    life = [ear.opened(), ear.utterance(12), ear.hear()]
    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(lambda: house.lines)
        status = await house.ask("status")
        assert status["store"]["max_bytes"] == 64 << 20
        assert 0 < status["store"]["used_bytes"] < 1 << 20
        house.reloaded = replace(house.config, store=StoreSection(max_mb=2))
        assert await house.ask("reload") == {"kept": []}
        assert (await house.ask("status"))["store"]["max_bytes"] == 2 << 20
        house.reloaded = ConfigError([ConfigProblem("file", 1, 1, "wrong")])
        with pytest.raises(RefusedError):
            await house.ask("reload")
        assert (await house.ask("status"))["store"]["max_bytes"] == 2 << 20


async def test_metrics_are_written_as_the_configuration_says(house: House, tmp_path: Path) -> None:
    path = tmp_path / "stt-edge.prom"
    house.config = replace(house.config, metrics=MetricsSection(str(path), 1))
    life = [ear.opened(), ear.utterance(12), ear.hear()]

    def finals() -> float:
        found = read(path.read_text()) if path.exists() else {}
        has_any = "stt_edge_finals_total" in found
        labels = {"node": "here", "provider": "scripted"}
        return value(found, "stt_edge_finals_total", **labels) if has_any else 0

    async with house.running(FakeEar(tmp_path / "ear", life)):
        await house.until(finals)
        found = read(path.read_text())
        assert finals() == 1
        assert value(found, "stt_edge_final_latency_seconds_count", node="here") == 1
        assert value(found, "stt_edge_speech_seconds_total", node="here") > 0
        assert value(found, "stt_edge_store_bytes", node="here") > 0
        status = await house.ask("status")
        assert status["counters"]["finals"] == {"scripted": 1}
        assert status["counters"]["latency"]["count"] == 1
        assert set(status["spool"]) >= {"bytes", "seconds", "dropped_s", "trouble"}
        house.reloaded = replace(house.config, metrics=MetricsSection())
        await house.ask("reload")
        await house.until(lambda: not path.exists())
        missing = tmp_path / "missing" / "stt-edge.prom"
        house.reloaded = replace(house.config, metrics=MetricsSection(str(missing), 1))
        await house.ask("reload")
        async with asyncio.timeout(15):
            while "cannot be written" not in str((await house.ask("status"))["problems"]):
                await asyncio.sleep(0.02)
        house.reloaded = house.config
        await house.ask("reload")
        await house.until(path.exists)
    assert not path.exists()
