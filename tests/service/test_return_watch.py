"""Signs that a provider may be back: a key file, the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stt_edge.service import return_watch
from stt_edge.service.return_watch import ReturnWatch


@dataclass
class Lane:
    health: str


@dataclass
class Status:
    lanes: list[Lane]


@dataclass
class Sessions:
    """What the watch sees of the dispatcher, and what it tells it."""

    health: str = "blocked"
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def status(self) -> Status:
        return Status([Lane("up"), Lane(self.health)])

    def watched(self) -> Mapping[str, tuple[str, ...]]:
        return self.files

    def mended(self, provider: str) -> None:
        self.told.append(provider)

    def hint(self) -> None:
        self.told.append("network")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
async def watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Sessions, ReturnWatch, Path]]:
    monkeypatch.setattr(return_watch, "LOOK_S", 0.01)
    sessions: Any = Sessions(files={"cloud": (str(tmp_path / "key"),)})
    watch = ReturnWatch(sessions, (tmp_path / "route",))
    task = asyncio.create_task(watch.run())
    yield sessions, watch, tmp_path
    task.cancel()
    await asyncio.wait([task])


Watched = tuple[Sessions, ReturnWatch, Path]


@pytest.mark.parametrize("how", ["appears", "is written", "is replaced", "goes"])
async def test_a_change_of_the_key_file_is_told(watched: Watched, how: str) -> None:
    sessions, watch, directory = watched
    key = directory / "key"
    if how != "appears":
        key.write_text("wrong")
    watch.provider_failed()
    await asyncio.sleep(0.05)
    assert sessions.told == []
    if how == "is replaced":
        (directory / "new").write_text("wrong")
        (directory / "new").rename(key)
    elif how == "goes":
        key.unlink()
    else:
        key.write_text("right!")
    await until(lambda: sessions.told)
    assert sessions.told == ["cloud"]


async def test_a_change_of_the_network_is_told(watched: Watched) -> None:
    sessions, watch, directory = watched
    sessions.health = "backing-off"
    watch.provider_failed()
    await asyncio.sleep(0.03)
    (directory / "route").write_text("eth0 00000000 0101A8C0")
    await until(lambda: sessions.told)
    assert set(sessions.told) == {"network"}


async def test_while_all_is_well_nothing_is_looked_at(watched: Watched) -> None:
    sessions, watch, directory = watched
    watch.provider_failed()
    await asyncio.sleep(0.03)
    sessions.health = "up"
    await asyncio.sleep(0.05)
    (directory / "key").write_text("right")
    (directory / "route").write_text("wlan0")
    await asyncio.sleep(0.05)
    assert sessions.told == []
