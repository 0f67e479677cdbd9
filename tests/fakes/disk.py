"""Disks that behave badly on demand."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from stt_edge.utterance.disk import Disk, RealDisk


@dataclass
class Fault:
    """An operation that fails, after some that do not, for a number of times or until healed."""

    operation: str
    code: int
    after: int
    times: int | None
    takes_bytes: int
    """For ``write``: how much is written all the same, in a call of its own before the error."""

    @property
    def only_shortens(self) -> bool:
        """Whether a write is cut short and the next one succeeds."""
        return self.code == 0


class FailingDisk:
    """Implements ``Disk`` on another one, keeps a list of what was done, and fails as told."""

    def __init__(self, inner: Disk | None = None) -> None:
        self._inner: Disk = inner or RealDisk()
        self._faults: list[Fault] = []
        self.operations: list[str] = []

    def fail(
        self,
        operation: str,
        code: int,
        *,
        after: int = 0,
        times: int | None = None,
        takes_bytes: int = 0,
    ) -> None:
        """Let ``operation`` raise OSError(code), after ``after`` more that succeed.

        With ``takes_bytes`` the first write takes so many and the next one fails; with code 0
        only that.
        """
        self._faults.append(Fault(operation, code, after, times, takes_bytes))

    def heal(self) -> None:
        """Let everything succeed again."""
        self._faults.clear()

    def make_directory(self, directory: Path) -> None:
        self._pass("make_directory")
        self._inner.make_directory(directory)

    def open_append(self, path: Path) -> int:
        self._pass("open_append")
        return self._inner.open_append(path)

    def write(self, handle: int, data: bytes) -> int:
        fault = self._due("write")
        if fault is not None and fault.takes_bytes:
            taken = self._inner.write(handle, data[: fault.takes_bytes])
            fault.takes_bytes = 0
            return taken
        self._raise(fault)
        return self._inner.write(handle, data)

    def fsync(self, handle: int) -> None:
        self._pass("fsync")
        self._inner.fsync(handle)

    def close(self, handle: int) -> None:
        # close(2) lets go of the handle also when it reports an error.
        self._inner.close(handle)
        self._pass("close")

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        self._pass("read")
        return self._inner.read(path, offset, size_bytes)

    def size(self, path: Path) -> int:
        self._pass("size")
        return self._inner.size(path)

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._pass("truncate")
        self._inner.truncate(path, size_bytes)

    def rename(self, old: Path, new: Path) -> None:
        self._pass("rename")
        self._inner.rename(old, new)

    def unlink(self, path: Path) -> None:
        self._pass("unlink")
        self._inner.unlink(path)

    def fsync_dir(self, directory: Path) -> None:
        self._pass("fsync_dir")
        self._inner.fsync_dir(directory)

    def listdir(self, directory: Path) -> list[str]:
        self._pass("listdir")
        return self._inner.listdir(directory)

    def free_bytes(self, directory: Path) -> int:
        self._pass("free_bytes")
        return self._inner.free_bytes(directory)

    def _pass(self, operation: str) -> None:
        self._raise(self._due(operation))

    def _due(self, operation: str) -> Fault | None:
        self.operations.append(operation)
        for fault in self._faults:
            if fault.operation != operation or fault.times == 0:
                continue
            if fault.only_shortens and not fault.takes_bytes:
                continue
            if fault.after:
                fault.after -= 1
                continue
            return fault
        return None

    def _raise(self, fault: Fault | None) -> None:
        if fault is None:
            return
        if fault.times is not None:
            fault.times -= 1
        raise OSError(fault.code, os.strerror(fault.code))


def run_on_small_disk(script: str, mount_point: Path, size_kib: int) -> str:
    """Run Python in a process whose ``mount_point`` is a file system of ``size_kib``.

    The mount is seen by that process only and goes with it, however it ends. Returns what the
    script prints; skips the test where mounting is not allowed.
    """
    mount_point.mkdir(exist_ok=True)
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    mount = f'mount -t tmpfs -o size={size_kib}k,mode=700 tmpfs "$0"'
    shell = ["sh", "-c", f'{mount} && exec "$@"', str(mount_point)]
    tried = subprocess.run([*unshare, *shell, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no right to mount a tmpfs here: {tried.stderr.strip()}")
    done = subprocess.run(
        [*unshare, *shell, sys.executable, "-c", script, str(mount_point)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
