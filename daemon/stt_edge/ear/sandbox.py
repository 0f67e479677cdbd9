"""What the ear forbids itself: a life without its parent, and every network.

Whatever a bug in a codec or a sound library may let somebody do in here, it cannot send what it
hears to anybody: sockets other than AF_UNIX (sound servers) are refused by the kernel, and what is
started from here inherits that.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from typing import Final

from stt_edge.frozen import frozen

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_AF_UNIX: Final = 1

# linux/bpf_common.h and linux/seccomp.h
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_ALLOW: Final = 0x7FFF0000
_AT_NUMBER: Final = 0
_AT_ARCHITECTURE: Final = 4
_AT_FIRST_ARGUMENT: Final = 16
"""Its low half, little-endian: the kernel takes no more of a ``domain`` than that."""

_X32: Final = 0x40000000


@frozen
class Architecture:
    """How the kernel numbers the calls of programs of one kind."""

    audit: int
    """AUDIT_ARCH_*."""
    socket: int
    io_uring_setup: int
    other_abi_from: int | None = None
    """Numbers from here on belong to a second set of calls, which is refused."""


ARCHITECTURES: Final = {
    ("x86_64", 8): Architecture(0xC000003E, 41, 425, _X32),
    ("aarch64", 8): Architecture(0xC00000B7, 198, 425),
    ("aarch64", 4): Architecture(0x40000028, 281, 425),
    ("armv8l", 4): Architecture(0x40000028, 281, 425),
    ("armv7l", 4): Architecture(0x40000028, 281, 425),
    ("armv6l", 4): Architecture(0x40000028, 281, 425),
}
"""By machine, as uname(2) has it, and size of a pointer in bytes: the kernel may be wider."""


class SandboxError(Exception):
    """The kernel does not do what was asked."""


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel end this process when the thread that started it is gone.

    End at once if the process was started by ``parent`` and that is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def forbid_network(architecture: Architecture | None = None) -> None:
    """Refuse every new socket but AF_UNIX from now on. Raises SandboxError.

    Call it before the first thread is started: it binds the calling thread and what that starts.
    """
    if architecture is None:
        machine, pointer_bytes = os.uname().machine, struct.calcsize("P")
        architecture = ARCHITECTURES.get((machine, pointer_bytes))
        if architecture is None:
            raise SandboxError(f"no filter for {machine} with pointers of {pointer_bytes} bytes")
    instructions = filter_program(architecture)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in instructions))
    program = _Program(len(instructions), ctypes.cast(code, ctypes.c_void_p))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def filter_program(architecture: Architecture) -> list[tuple[int, int, int, int]]:
    """Return the filter: code, jump if true, jump if false, operand of each instruction."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    instructions = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _AT_NUMBER),
    ]
    if architecture.other_abi_from is not None:
        instructions += [(_JUMP_AT_LEAST, 0, 1, architecture.other_abi_from), refuse]
    return [
        *instructions,
        (_JUMP_EQUAL, 0, 1, architecture.io_uring_setup),
        refuse,
        (_JUMP_EQUAL, 1, 0, architecture.socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_JUMP_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)):
        number = ctypes.get_errno()
        raise SandboxError(f"prctl({option}): {os.strerror(number)}")
