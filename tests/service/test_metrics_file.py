"""The file of metrics: whole at any moment, and never a reason for anything else to fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from stt_edge.config.settings import MetricsSection
from stt_edge.service.metrics_file import MetricsFile


class Number:
    """A text that counts how often it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    async def text(self) -> str:
        self.asked += 1
        return f"asked {self.asked}\n" + "x" * 100_000 + "\nwhole\n"


def settings(path: Path | None, interval_s: float = 0.01) -> MetricsSection:
    return MetricsSection(None if path is None else str(path), interval_s)


@pytest.fixture
def number() -> Number:
    return Number()


@pytest.fixture
async def metrics(number: Number) -> AsyncIterator[MetricsFile]:
    made = MetricsFile(number.text)
    task = asyncio.create_task(made.run())
    yield made
    await made.close()
    async with asyncio.timeout(10):
        await task


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_it_is_written_again_and_again_and_always_whole(
    metrics: MetricsFile, number: Number, tmp_path: Path
) -> None:
    path = tmp_path / "stt-edge.prom"
    metrics.configure(settings(path))
    await until(path.exists)
    while number.asked < 20:
        assert path.read_text().endswith("\nwhole\n")
        await asyncio.sleep(0)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.glob("*.prom")] == ["stt-edge.prom"]


async def test_its_mode_lets_the_collector_read_it_whatever_the_umask(
    metrics: MetricsFile, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        metrics.configure(settings(tmp_path / "a.prom"))
        await until((tmp_path / "a.prom").exists)
    finally:
        os.umask(before)
    assert (tmp_path / "a.prom").stat().st_mode & 0o777 == 0o644


async def test_nothing_is_asked_for_while_none_is_configured(
    metrics: MetricsFile, number: Number, tmp_path: Path
) -> None:
    metrics.configure(settings(tmp_path / "a.prom"))
    await until((tmp_path / "a.prom").exists)
    metrics.configure(settings(None))
    await until(lambda: not (tmp_path / "a.prom").exists())
    asked = number.asked
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert number.asked == asked


async def test_a_new_place_takes_over_from_the_old(metrics: MetricsFile, tmp_path: Path) -> None:
    metrics.configure(settings(tmp_path / "a.prom"))
    await until((tmp_path / "a.prom").exists)
    metrics.configure(settings(tmp_path / "b.prom"))
    await until((tmp_path / "b.prom").exists)
    await until(lambda: not (tmp_path / "a.prom").exists())
    assert [each.name for each in tmp_path.glob("*.prom")] == ["b.prom"]


async def test_a_directory_that_is_missing_is_told_once_an_episode_and_cured_when_it_comes(
    metrics: MetricsFile, number: Number, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "later" / "a.prom"
    with caplog.at_level(logging.INFO):
        metrics.configure(settings(path))
        await until(lambda: number.asked > 5)
        assert "No such file" in metrics.trouble
        assert "ReadWritePaths" in metrics.trouble
        path.parent.mkdir()
        await until(path.exists)
        await until(lambda: not metrics.trouble)
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("can be written again") == 1


async def test_a_full_disk_leaves_the_file_before_and_no_rest(
    metrics: MetricsFile,
    number: Number,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.prom"
    metrics.configure(settings(path))
    await until(path.exists)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        await until(lambda: metrics.trouble)
        assert "No space left" in metrics.trouble
        last = path.read_text().partition("\n")[0]
        asked = number.asked
        await until(lambda: number.asked > asked + 2)
        assert path.read_text().partition("\n")[0] == last
        await until(lambda: [each.name for each in tmp_path.iterdir()] == ["a.prom"])
    await until(lambda: not metrics.trouble)
    await metrics.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_link_put_in_the_way_is_not_followed(metrics: MetricsFile, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.prom.tmp").symlink_to(victim)
    metrics.configure(settings(tmp_path / "a.prom"))
    await until(lambda: metrics.trouble or (tmp_path / "a.prom").exists())
    assert victim.read_text() == "precious"


async def test_after_the_end_no_stale_numbers_lie_about(number: Number, tmp_path: Path) -> None:
    metrics = MetricsFile(number.text)
    metrics.configure(settings(tmp_path / "a.prom", 3600))
    task = asyncio.create_task(metrics.run())
    await until((tmp_path / "a.prom").exists)
    await metrics.close()
    assert list(tmp_path.iterdir()) == []
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task
