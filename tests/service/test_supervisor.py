"""Tasks that are to run as long as the daemon."""

from __future__ import annotations

import asyncio
import logging

import pytest

from stt_edge.service.supervisor import Supervisor


async def test_a_task_that_dies_is_known_by_name_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> None:
        raise KeyError("oops")

    supervisor = Supervisor()
    with caplog.at_level(logging.ERROR):
        await supervisor.start("broken", broken())
    assert supervisor.dead == ["broken"]
    assert "broken" in caplog.text
    assert "KeyError" in caplog.text


async def test_a_task_that_ends_by_itself_is_not_dead() -> None:
    supervisor = Supervisor()
    await supervisor.start("short", asyncio.sleep(0))
    assert supervisor.dead == []


async def test_stop_ends_every_task_and_waits_for_it() -> None:
    cleaned: list[str] = []

    async def lasting(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(name)

    supervisor = Supervisor()
    for name in ("a", "b"):
        supervisor.start(name, lasting(name))
    await asyncio.sleep(0)
    await supervisor.stop()
    assert sorted(cleaned) == ["a", "b"]
    assert supervisor.dead == []
