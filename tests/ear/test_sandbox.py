"""What the ear cannot do, tried in real processes."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from stt_edge.ear.sandbox import ARCHITECTURES, Architecture, filter_program

from .running import DAEMON


def run(script: str) -> subprocess.CompletedProcess[str]:
    prelude = "import ctypes, errno, os, socket, sys\nfrom stt_edge.ear.sandbox import *\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + script],
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


TRY = """
def attempt(call):
    try:
        call().close()
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def test_only_unix_sockets_can_be_made() -> None:
    done = run(
        TRY
        + """
forbid_network()
print(*[attempt(lambda: socket.socket(family, kind)) for family, kind in [
    (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW),
    (socket.AF_VSOCK, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_STREAM)]])
a, b = socket.socketpair()
"""
    )
    assert done.stdout.split() == [*["EAFNOSUPPORT"] * 5, "allowed"], done.stderr


def test_before_the_filter_a_network_could_be_had() -> None:
    done = run(TRY + "print(attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)))")
    assert done.stdout.strip() == "allowed"


def test_the_way_around_by_io_uring_is_closed() -> None:
    done = run(
        """
forbid_network()
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall(425, 1, ctypes.create_string_buffer(120))
print(result, errno.errorcode[ctypes.get_errno()])
"""
    )
    assert done.stdout.split() == ["-1", "EPERM"], done.stderr


def test_what_is_started_from_it_is_bound_too() -> None:
    done = run(
        """
import subprocess
forbid_network()
script = "import socket; socket.socket()"
print(subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE).stderr.decode())
"""
    )
    assert "Address family not supported" in done.stdout, done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is a matter of x86_64")
def test_the_second_set_of_calls_of_x86_64_is_refused() -> None:
    done = run(
        """
forbid_network()
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(0x40000000 + 41, 2, 1, 0), errno.errorcode[ctypes.get_errno()])
"""
    )
    assert done.stdout.split() == ["-1", "EPERM"], done.stderr


def test_calls_numbered_for_another_architecture_end_the_process() -> None:
    done = run(
        """
mine = ARCHITECTURES[(os.uname().machine, struct.calcsize("P"))]
forbid_network(Architecture(mine.audit ^ 1, mine.socket, mine.io_uring_setup))
print("still here")
"""
    )
    assert done.returncode == -signal.SIGSYS
    assert "still here" not in done.stdout


def test_a_machine_it_does_not_know_is_said_to_be_so() -> None:
    done = run(
        """
ARCHITECTURES.clear()
try:
    forbid_network()
except SandboxError as error:
    print(error)
"""
    )
    assert "no filter for" in done.stdout, done.stderr


def evaluate(
    program: Sequence[tuple[int, int, int, int]], audit: int, number: int, argument: int
) -> int:
    """Run a filter as the kernel does; return what it decides."""
    data = {0: number, 4: audit, 16: argument}
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x20:
            loaded = data[operand]
        elif code == 0x15:
            at += if_true if loaded == operand else if_false
        elif code == 0x35:
            at += if_true if loaded >= operand else if_false
        else:
            return operand


@pytest.mark.parametrize("key", sorted(ARCHITECTURES))
def test_the_filter_decides_the_same_on_every_architecture(key: tuple[str, int]) -> None:
    architecture: Architecture = ARCHITECTURES[key]
    program = filter_program(architecture)
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000
    unix, inet = 1, 2

    def decide(number: int, argument: int = 0) -> int:
        return evaluate(program, architecture.audit, number, argument)

    assert decide(architecture.socket, unix) == allow
    assert decide(architecture.socket, inet) == refuse | 97
    assert decide(architecture.io_uring_setup) == refuse | 1
    assert decide(0, inet) == allow
    assert evaluate(program, architecture.audit ^ 1, 0, 0) == kill


def test_it_dies_with_the_process_that_started_it() -> None:
    script = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        "'from stt_edge.ear.sandbox import *; import time; die_with_parent(); "
        "print(os.getpid(), flush=True); time.sleep(60)']); child.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_parent_that_is_gone_already_is_noticed() -> None:
    assert run("die_with_parent(os.getppid()); print('lives')").stdout == "lives\n"
    assert run("die_with_parent(os.getppid() + 1)").returncode == -signal.SIGKILL


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
