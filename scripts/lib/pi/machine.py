"""An emulated arm64 computer: boot, run commands as root, power off, cut the power."""

from __future__ import annotations

import base64
import contextlib
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scripts.lib.container import ContainerError

_CONSOLE: Final = "console=ttyAMA0 quiet cryptomgr.notests"
_PORT: Final = "virtserialport,chardev=agent,name=agent"
_NO_SERVER: Final = "hubport,id=net,hubid=1"
"""A network in which nobody answers: the interface is up, and never gets an address."""

_SLOWEST: Final = 10
"""How many seconds of ours one of the machine's may take."""


def make_disk(path: Path, base: Path, kind: str) -> None:
    """Make a disk that may be written to; its base (``raw`` or ``qcow2``) stays as it is."""
    path.unlink(missing_ok=True)
    image = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(base), str(path)]
    subprocess.run(image, check=True, capture_output=True)


class Machine:
    """One boot of the emulated computer; a context manager that powers off at its end."""

    def __init__(
        self,
        cache: Path,
        disk: Path,
        *,
        kernel_arguments: str = "",
        devices: tuple[str, ...] = (),
        boot_s: float = 90 * _SLOWEST,
    ) -> None:
        """Take the folder with kernel and initrd, the disk, and what else qemu is to be told."""
        self._cache = cache
        self._disk = disk
        self._arguments = kernel_arguments
        self._devices = devices
        self._boot_s = boot_s
        self._folder = tempfile.TemporaryDirectory(prefix="pi-machine-")
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = b""
        self._agent = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        """Boot and wait until the shell of the machine answers. Raises ContainerError."""
        try:
            self._boot()
        except BaseException:
            self.cut_the_power()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Power off, in good order where the machine still answers."""
        self.power_off()

    def run(self, script: str, *, check: bool = True, timeout_s: float = 120) -> str:
        """Run a bash script as root and return its output. Raises ContainerError if it fails."""
        limited = f"timeout -k 5 {timeout_s:g} bash -c {shlex.quote(script)}"
        self._agent.sendall(base64.b64encode(limited.encode()) + b"\n")
        code, output, errors = self._answer(timeout_s * _SLOWEST + 60)
        if check and code != 0:
            said = (errors or output).strip()
            raise ContainerError(f"{script[:120]}: exit code {code}: {said[-400:]}")
        return output

    def spawn(self, script: str) -> int:
        """Start a bash script as root and do not wait for it; return its process id."""
        quiet = "> /dev/null 2>&1 < /dev/null &"
        return int(self.run(f"setsid bash -c {shlex.quote(script)} {quiet} echo $!"))

    def pause(self, seconds: float) -> None:
        """Let time pass, as the machine counts it."""
        self.run(f"sleep {seconds}", timeout_s=seconds + 30)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until a condition holds, so many seconds of the machine's. Raises ContainerError."""
        begun_s = self.uptime_s()
        while not condition():
            if self.uptime_s() - begun_s > timeout_s:
                raise ContainerError(f"not within {timeout_s:.0f} s: {what}")
            self.pause(0.1)

    def write(self, path: str, text: str) -> None:
        """Write a small file."""
        encoded = base64.b64encode(text.encode()).decode()
        self.run(f"mkdir -p {Path(path).parent}; base64 -d <<< {encoded} > {path}")

    def is_on(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.poll() is None

    def uptime_s(self) -> float:
        """Return the seconds since the kernel started, as the machine counts."""
        return float(self.run("cat /proc/uptime").split()[0])

    def power_off(self) -> None:
        """Shut down as a person would, and wait for it."""
        with contextlib.suppress(ContainerError, OSError, subprocess.TimeoutExpired):
            self.run("systemctl poweroff --no-block", timeout_s=30)
            if self._process is not None:
                self._process.wait(90 * _SLOWEST)
        self.cut_the_power()

    def cut_the_power(self) -> None:
        """End it at this very moment: what it has not written to its disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._agent.close()
        self._folder.cleanup()

    def console(self) -> str:
        """Return what it has said on its console."""
        path = self._cache / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _boot(self) -> None:
        path = Path(self._folder.name) / "agent"
        with (self._cache / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                self._qemu(path),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + self._boot_s
        while not path.exists():
            self._look(deadline_s)
        self._agent.connect(str(path))
        while b"hello\n" not in self._answers:
            self._look(deadline_s)
            self._receive(1)
        self._answers = b""

    def _qemu(self, agent: Path) -> list[str]:
        devices = [part for device in self._devices for part in shlex.split(device)]
        return [
            "qemu-system-aarch64",
            *("-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", str(self._cache / "kernel"), "-initrd", str(self._cache / "initrd")),
            *("-append", f"{_CONSOLE} {self._arguments}"),
            *("-drive", f"file={self._disk},format=qcow2,if=none,id=disk"),
            *("-device", "virtio-blk-device,drive=disk"),
            *("-netdev", _NO_SERVER, "-device", "virtio-net-device,netdev=net"),
            *("-chardev", f"socket,id=agent,path={agent},server=on,wait=off"),
            *("-device", "virtio-serial-device", "-device", _PORT),
            *devices,
        ]

    def _answer(self, timeout_s: float) -> tuple[int, str, str]:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._answers:
            self._look(deadline_s)
            self._receive(1)
        line, _, self._answers = self._answers.partition(b"\n")
        code, output, errors = line.split(b" ")
        texts = [base64.b64decode(part[1:]).decode(errors="replace") for part in (output, errors)]
        return int(code), texts[0], texts[1]

    def _look(self, deadline_s: float) -> None:
        if self._process is None or self._process.poll() is not None:
            raise ContainerError(f"the machine has ended by itself: {self.console()[-600:]}")
        if time.monotonic() > deadline_s:
            raise ContainerError(f"the machine does not answer: {self.console()[-600:]}")
        if not self._answers:
            time.sleep(0.01)

    def _receive(self, timeout_s: float) -> None:
        self._agent.settimeout(timeout_s)
        with contextlib.suppress(TimeoutError):
            data = self._agent.recv(1 << 16)
            if not data:
                raise ContainerError(f"the machine is gone: {self.console()[-600:]}")
            self._answers += data
