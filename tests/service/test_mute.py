"""Mute: remembered on disk, and obeyed through the control socket's commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stt_edge.errors import PermissionDeniedError, TemporaryError, UnavailableError
from stt_edge.service.mute import MuteCommands
from stt_edge.service.mute_switch import MuteSwitch


class Ear:
    """What can be muted, at once or never."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.muted = False
        self._hangs = hangs

    async def mute(self) -> None:
        self.muted = True
        if self._hangs:
            await asyncio.Event().wait()

    def unmute(self) -> None:
        self.muted = False


def test_mute_is_found_again_by_the_next_run(tmp_path: Path) -> None:
    assert not MuteSwitch(tmp_path).is_on()
    MuteSwitch(tmp_path).set(on=True)
    assert MuteSwitch(tmp_path).is_on()
    MuteSwitch(tmp_path).set(on=True)
    MuteSwitch(tmp_path).set(on=False)
    assert not MuteSwitch(tmp_path).is_on()
    MuteSwitch(tmp_path).set(on=False)


def test_mute_reaches_the_disk_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(
        "stt_edge.service.mute_switch.os.fsync",
        lambda _: synced.append((tmp_path / "muted").exists()),
    )
    MuteSwitch(tmp_path).set(on=True)
    MuteSwitch(tmp_path).set(on=False)
    assert synced == [True, False]


def test_nobody_else_may_read_that_it_is_muted(tmp_path: Path) -> None:
    MuteSwitch(tmp_path).set(on=True)
    assert (tmp_path / "muted").stat().st_mode & 0o777 == 0o600


def test_a_state_directory_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"Cannot write .*gone/muted"):
        MuteSwitch(tmp_path / "gone").set(on=True)


def test_a_state_directory_that_is_somebody_elses_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stt_edge.service.mute_switch.os.open", refuse)
    with pytest.raises(PermissionDeniedError, match="as the user the service runs as"):
        MuteSwitch(tmp_path).set(on=True)


async def test_mute_says_whether_anything_changed(tmp_path: Path) -> None:
    commands = MuteCommands(MuteSwitch(tmp_path), Ear())
    assert await commands.mute({}) == {"muted": True, "changed": True, "warning": ""}
    assert await commands.mute({}) == {"muted": True, "changed": False, "warning": ""}
    assert MuteSwitch(tmp_path).is_on()
    assert await commands.unmute({}) == {"muted": False, "changed": True, "warning": ""}
    assert await commands.unmute({}) == {"muted": False, "changed": False, "warning": ""}
    assert not MuteSwitch(tmp_path).is_on()


async def test_mute_that_cannot_be_remembered_still_closes_the_device(tmp_path: Path) -> None:
    ear = Ear()
    answer = await MuteCommands(MuteSwitch(tmp_path / "gone"), ear).mute({})
    assert ear.muted
    assert "will not outlast a restart" in answer["warning"]


async def test_a_device_that_cannot_be_closed_is_never_called_muted(tmp_path: Path) -> None:
    commands = MuteCommands(MuteSwitch(tmp_path), Ear(hangs=True), close_s=0.05)
    with pytest.raises(TemporaryError, match="not closed yet"):
        await commands.mute({})
    assert MuteSwitch(tmp_path).is_on()
