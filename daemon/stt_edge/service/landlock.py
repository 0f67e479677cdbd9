"""Main shuts itself, and every engine it starts, out of the sound devices (landlock(7)).

It binds the thread that asks for it and what that starts from then on, threads and processes, for
good. Ears are started by a thread that is there before (``ear_starter``).
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

SOUND_DEVICES: Final = Path("/dev/snd")

# linux/landlock.h; the numbers of the calls are the same on every architecture.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_RULE_PATH_BENEATH: Final = 1
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_HANDLED: Final = _READ_FILE | _WRITE_FILE
_PR_SET_NO_NEW_PRIVS: Final = 38


def shut_main_out() -> None:
    """Let main open no sound device from now on; where that cannot be had, it is logged."""
    reason = shut_out(SOUND_DEVICES)
    if reason:
        _log.info("main could open sound devices, which it has no need to: %s", reason)


def shut_out(forbidden: Path) -> str:
    """Let this thread, and what it starts from now on, open nothing below ``forbidden``.

    Returns why that cannot be had, or nothing. Whatever else is there now may be opened as before;
    what is made later may, unless beside one of the folders that lead to ``forbidden``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
        handled = ctypes.c_uint64(_HANDLED)
        size = ctypes.c_size_t(ctypes.sizeof(handled))
        ruleset = _call(libc, _CREATE_RULESET, ctypes.byref(handled), size, 0)
    except OSError as error:
        return f"Landlock is not to be had ({error.strerror})"
    try:
        for path in _beside(forbidden):
            _allow(libc, ruleset, path)
        _call(libc, _RESTRICT_SELF, ctypes.c_int(ruleset), 0)
    except OSError as error:
        return f"Landlock refuses ({error.strerror})"
    finally:
        os.close(ruleset)
    return ""


class _PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _beside(forbidden: Path) -> Iterator[str]:
    """Return everything that lies beside a path, and beside each folder that leads to it."""
    for child in (forbidden, *forbidden.parents[:-1]):
        try:
            with os.scandir(child.parent) as entries:
                found = [entry.path for entry in entries if not entry.is_symlink()]
        except OSError:  # there is no such folder, or it says nothing of what is in it
            continue
        yield from (path for path in found if path != str(child))


def _allow(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile
        return
    try:
        rule = _PathBeneath(_HANDLED, descriptor)
        _call(libc, _ADD_RULE, ctypes.c_int(ruleset), _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
