"""Disks and boots of the emulated computer: one boot is shared, others are a scenario's own."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scripts.lib.container import ContainerError
from scripts.lib.pi.machine import Machine, make_disk
from scripts.lib.pi.room import PiRoom

LOOPBACK: Final = "modules_load=snd-aloop snd_aloop.pcm_substreams=1"
"""The loopback card, as a microphone would be: with one place to capture from."""
SPEAKER: Final = "-audiodev none,id=quiet -device qemu-xhci -device usb-audio,audiodev=quiet"
"""A USB sound card that plays, and cannot capture."""
PACKAGE: Final = """\
-drive file={deb},format=raw,readonly=on,if=none,id=deb
-device virtio-blk-device,drive=deb,serial=deb
"""


class House:
    """Everything a scenario may boot; at most one machine runs at a time."""

    def __init__(self, cache: Path, deb: Path) -> None:
        """Take the folder of the image and the package to install."""
        self.cache = cache
        self.deb = deb
        self.installed = cache / "installed.qcow2"
        self._stamp = cache / "installed.stamp"
        self._work = Path(tempfile.mkdtemp(prefix="disks-", dir=cache))
        self._shared: Machine | None = None
        self._failed = ""
        """The journal of a scenario's own machine on which something failed."""
        self._disks = 0

    def close(self) -> None:
        """Power off and throw the disks away."""
        self.rest()
        shutil.rmtree(self._work, ignore_errors=True)

    def rest(self) -> None:
        """Power off the machine that scenarios share, if it runs."""
        if self._shared is not None:
            self._shared.power_off()
            self._shared = None

    def journal(self) -> str:
        """Return, once, what the service wrote where something has just failed."""
        failed, self._failed = self._failed, ""
        return failed or _journal(self._shared)

    def room(self) -> PiRoom:
        """Return the machine that scenarios share, booted with the loopback card."""
        if self._shared is None or not self._shared.is_on():
            self._shared = Machine(self.cache, self.disk(), kernel_arguments=LOOPBACK)
            self._shared.__enter__()
        return PiRoom(self._shared)

    def disk(self) -> Path:
        """Return a new disk with the package installed."""
        self._disks += 1
        path = self._work / f"{self._disks}.qcow2"
        make_disk(path, self.installed, "qcow2")
        return path

    def is_installed(self) -> bool:
        """Return whether this very package was installed before, with nothing going wrong."""
        return (
            self.installed.exists()
            and self._stamp.exists()
            and self._of_now() == self._stamp.read_text()
        )

    @contextmanager
    def blank(self, **more: Any) -> Iterator[PiRoom]:
        """Boot a machine without the package; what is done there is on every disk made later."""
        self._stamp.unlink(missing_ok=True)
        self.rest()
        make_disk(self.installed, self.cache / "disk.raw", "raw")
        with self.boot(self.installed, **more) as room:
            yield room
        self._stamp.write_text(self._of_now())

    @contextmanager
    def boot(
        self, disk: Path, *, arguments: str = LOOPBACK, devices: tuple[str, ...] = (), **more: Any
    ) -> Iterator[PiRoom]:
        """Boot a machine for one scenario only; it is powered off at the end."""
        self.rest()
        with Machine(
            self.cache, disk, kernel_arguments=arguments, devices=devices, **more
        ) as machine:
            try:
                yield PiRoom(machine)
            except BaseException:
                self._failed = _journal(machine)
                raise

    def _of_now(self) -> str:
        with self.deb.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _journal(machine: Machine | None) -> str:
    """Return what the service wrote since the boot; nothing, where the machine is not on."""
    if machine is None or not machine.is_on():
        return ""
    read = "journalctl -b -u stt-edge -o short-monotonic --no-pager -n 300"
    with contextlib.suppress(ContainerError, OSError):
        return machine.run(read, check=False)
    return ""
