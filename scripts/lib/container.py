"""A Debian system with a systemd of its own, in a container: boot, run commands, power off."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_BOOT_S: Final = 60.0
_PATH: Final = "PATH=/opt/stt-edge/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ContainerError(Exception):
    """The container does not do what was asked of it; the message says what it said."""


class Container:
    """A root file system booted with systemd-nspawn; a context manager. Needs root."""

    def __init__(self, root: Path) -> None:
        """Take the folder of a Debian root file system with systemd in it."""
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._init_pid = 0
        self._console = root.with_name("console.log")

    def __enter__(self) -> Self:
        """Boot and wait until systemd has finished starting. Raises ContainerError."""
        try:
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Power off."""
        self._end()

    def run(self, *argv: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run a command inside and return its output. Raises ContainerError if it fails."""
        done = subprocess.run(
            self._inside(argv),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise ContainerError(f"{' '.join(argv)}: exit code {done.returncode}: {said[-400:]}")
        return done.stdout

    def spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a command inside and do not wait for it."""
        return subprocess.Popen(
            self._inside(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def journal(self, *matches: str, since_us: int = 0) -> list[dict[str, Any]]:
        """Return the journal entries that match, from ``now_us`` of then on, oldest first."""
        lines = self.run("journalctl", "--no-pager", "-o", "json", *matches).splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if int(entry["__REALTIME_TIMESTAMP"]) >= since_us]

    def now_us(self) -> int:
        """Return the time as the journal counts it."""
        return time.time_ns() // 1000

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def _inside(self, argv: tuple[str, ...]) -> list[str]:
        enter = ["nsenter", "--all", "--target", str(self._init_pid), "--"]
        return [*enter, "env", "-i", _PATH, "LANG=C.UTF-8", *argv]

    def _boot(self) -> None:
        log = self._console
        argv = ["systemd-nspawn", "--quiet", "--register=no", "--console=pipe", "--boot"]
        # A machine allows what a container by itself does not.
        argv.append("--system-call-filter=landlock_create_ruleset landlock_add_rule")
        argv.append("--system-call-filter=landlock_restrict_self")
        if not Path("/run/systemd/system").is_dir():
            argv.append("--keep-unit")  # nobody is there to give the container a unit of its own
        with log.open("wb") as console:
            self._process = subprocess.Popen(
                [*argv, f"--directory={self.root}"],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_until(self._has_booted, _BOOT_S, f"the container boots (its console: {log})")

    def _has_booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = self._console.read_text(errors="replace").strip()
            raise ContainerError(
                f"systemd-nspawn ended by itself: {said[-400:] or 'no reason given'}"
            )
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return False
        self._init_pid = int(children[0])
        state = self.run("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded")

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ContainerError, subprocess.TimeoutExpired):
            if self._init_pid:
                self.run("systemctl", "poweroff", timeout_s=10)
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait until a condition holds and return how long it took. Raises ContainerError."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout_s:
            raise ContainerError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - begun
