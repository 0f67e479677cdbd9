"""Check ``clock``: whether the time of day can be right, and stays so."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stt_edge.service.doctor.case import SYSTEMD, Case, show
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well

_BUILT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_RTC: Final = Path("/sys/class/rtc/rtc0")
_KEEPERS: Final = (
    "systemd-timesyncd.service",
    "chrony.service",
    "chronyd.service",
    "ntpsec.service",
    "ntp.service",
    "ntpd.service",
    "openntpd.service",
)
_SET: Final = "timedatectl set-ntp true; then timedatectl timesync-status, or chronyc tracking."
_TIME_ERROR: Final = 5


def check_clock(
    _: Case,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    kernel_synchronised: Callable[[], bool | None] | None = None,
    rtc: Path = _RTC,
) -> Iterator[Finding]:
    """Look at the year, at what the kernel says, and at who keeps the clock."""
    moment = now()
    if moment < _BUILT:
        yield failing(
            "clock",
            f"It is {moment:%Y-%m-%d} here: no certificate is valid then, and records are marked "
            "clock_unsynced.",
            "Set it: sudo timedatectl set-ntp true (or, offline, sudo date -s 'YYYY-MM-DD hh:mm').",
        )
        return
    battery = "" if rtc.exists() else " There is no clock with a battery: it is wrong after a boot."
    synchronised = (kernel_synchronised or _kernel_synchronised)()
    keeper = _keeper()
    by = f" by {keeper.removesuffix('.service')}" if keeper else ""
    if synchronised:
        yield well("clock", f"{moment:%Y-%m-%d %H:%M} UTC, synchronised{by}.{battery}")
    elif keeper:
        message = f"{keeper.removesuffix('.service')} runs and has not synchronised it yet."
        yield doubtful("clock", message + battery, _SET)
    else:
        yield doubtful("clock", "Nothing synchronises it." + battery, _SET)


def _keeper() -> str:
    """Return the unit that keeps the clock; empty where none does."""
    if not SYSTEMD.is_dir():
        return ""
    return next((name for name in _KEEPERS if show(name).active), "")


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); what follows is for the kernel to fill."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 508))


def _kernel_synchronised() -> bool | None:
    """Return what adjtimex(2) says, as timedatectl does; None where it may not be asked."""
    answer: int = ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex()))
    return None if answer < 0 else answer != _TIME_ERROR
