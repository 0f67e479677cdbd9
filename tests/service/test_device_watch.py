"""Noticing that sound devices come and go: real inotify on a real directory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.service import device_watch
from stt_edge.service.device_watch import DeviceWatch, is_sound_server


class Bell:
    """Counts, and can be waited for."""

    def __init__(self) -> None:
        self.rung = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.rung += 1
        self._event.set()

    async def rings(self) -> bool:
        """Return whether it rings within a moment."""
        try:
            await asyncio.wait_for(self._event.wait(), 0.3)
        except TimeoutError:
            return False
        self._event.clear()
        return True


@pytest.fixture
def snd(tmp_path: Path) -> Path:
    directory = tmp_path / "snd"
    directory.mkdir()
    return directory


@pytest.fixture
async def bell() -> Bell:
    return Bell()


@pytest.fixture
async def watch(snd: Path, bell: Bell) -> Iterator[DeviceWatch]:  # type: ignore[misc]
    watch = DeviceWatch(bell, snd)
    yield watch
    watch.close()


@pytest.mark.usefixtures("watch")
async def test_a_card_is_there_when_all_its_nodes_are_and_we_may_use_them(
    snd: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over: set[Path] = set()
    # Root may use everything: the file system cannot say it to every tester.
    monkeypatch.setattr(device_watch.os, "access", lambda path, _: path in handed_over)
    pcm, control = snd / "pcmC1D0c", snd / "controlC1"
    pcm.touch()
    handed_over.add(pcm)
    pcm.chmod(0o660)
    assert not await bell.rings(), "there is no control yet"
    control.touch()
    assert not await bell.rings(), "which is not ours yet"
    handed_over.add(control)
    control.chmod(0o660)
    assert await bell.rings()
    pcm.unlink()
    assert await bell.rings()


@pytest.mark.usefixtures("watch")
async def test_a_card_does_not_wait_for_another(
    snd: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snd / "controlC1").touch()
    assert await bell.rings()
    monkeypatch.setattr(device_watch.os, "access", lambda path, _: path.name != "controlC1")
    (snd / "pcmC10D0c").touch()
    assert not await bell.rings()
    (snd / "controlC10").touch()
    assert await bell.rings()


@pytest.mark.usefixtures("watch")
async def test_what_belongs_to_no_card_is_no_change(snd: Path, bell: Bell) -> None:
    (snd / "controlC1").touch()
    assert await bell.rings()
    for name in ("seq", "timer", "by-id"):
        (snd / name).touch()
    assert not await bell.rings()


@pytest.mark.usefixtures("watch")
async def test_using_a_device_is_not_a_change(snd: Path, bell: Bell) -> None:
    node = snd / "controlC0"
    node.touch()
    assert await bell.rings()
    with node.open("r+b") as device:
        device.write(b"x")
    assert not await bell.rings()


@pytest.mark.usefixtures("watch")
async def test_other_devices_are_of_no_interest(snd: Path, bell: Bell) -> None:
    (snd.parent / "ttyUSB0").touch()
    assert not await bell.rings()


@pytest.mark.usefixtures("watch")
async def test_the_first_card_of_a_machine_makes_the_directory_and_is_noticed(
    snd: Path, bell: Bell
) -> None:
    snd.rmdir()
    await bell.rings()
    snd.mkdir()
    (snd / "controlC0").touch()
    assert await bell.rings()
    (snd / "pcmC0D0c").touch()
    assert await bell.rings()


async def test_a_machine_without_sound_can_be_watched(tmp_path: Path, bell: Bell) -> None:
    watch = DeviceWatch(bell, tmp_path / "snd")
    (tmp_path / "snd").mkdir()
    (tmp_path / "snd" / "controlC0").touch()
    assert await bell.rings()
    watch.close()
    watch.close()


async def test_a_kernel_without_inotify_left_is_no_error(
    snd: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted:
        def inotify_init1(self, _: int) -> int:
            return -1

    monkeypatch.setattr("stt_edge.service.device_watch.ctypes.CDLL", lambda *_, **__: Exhausted())
    watch = DeviceWatch(bell, snd)
    (snd / "x").touch()
    assert not await bell.rings()
    watch.close()


def test_closing_gives_the_descriptor_back(snd: Path) -> None:
    async def round_trip() -> None:
        DeviceWatch(lambda: None, snd).close()

    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(round_trip())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("pulse", True),
        ("pipewire", True),
        ("default", True),
        ("mic", True),
        ("mic:extra", True),
        ("auto", False),
        ("hw:1,0", False),
        ("plughw:CARD=USB", False),
        ("1-1.2", False),
        ("USB", False),
        ("microphone", False),
    ],
)
def test_a_sound_server_is_told_from_a_card(tmp_path: Path, device: str, expected: bool) -> None:
    asound = tmp_path / "asound.conf"
    asound.write_text("# comment\npcm.mic { type pulse device mic.monitor }\n  pcm.!hall {}\n")
    missing = tmp_path / "missing.conf"
    assert is_sound_server(device, [missing, asound]) is expected
