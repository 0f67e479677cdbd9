"""Check ``store``: the database opens, is of a version this program knows, and is sound."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stt_edge.errors import StoreError
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.files import is_there
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.people import mode_of
from stt_edge.store.failures import recognising_damage, translated
from stt_edge.store.schema import check_content, check_version, connect_read_only

_LIMIT_S: Final = 20.0
_STEPS: Final = 10_000
_MOVE_AWAY: Final = "Restart stt-edge: it sets a damaged store aside and saves what it can read."


def check_store(case: Case) -> Iterator[Finding]:
    """Read through the store without writing a byte, for a limited time."""
    path = case.paths.database
    if not is_there(path):
        yield well("store", f"{path} is not there yet; it is made at the first start.")
        return
    if not case.runs and _has_content(path.with_name(path.name + "-wal")):
        yield doubtful(
            "store",
            f"{path} was left in the middle by a crash or a power cut; it is completed when "
            "stt-edge starts, and not looked into before.",
            f"sudo systemctl start {case.unit.name}",
        )
        return
    if case.runs and path.stat().st_uid != case.user.uid:
        # SQLite, run by root, would give the files beside it to that owner too.
        message = f"{path} ({mode_of(path)}) is not {case.user.name}'s, and not looked into."
        yield doubtful("store", message, f"sudo chown -R {case.user.name} {path.parent}")
        return
    deadline = _Deadline()
    try:
        yield _look_into(path, deadline, in_use=case.runs)
    except StoreError as error:
        with path.open("rb"):
            pass  # a PermissionError is another matter, and raised here
        if deadline.passed:
            message = f"{path} could not be read through in {_LIMIT_S:g} s."
            yield doubtful("store", message, "Look at the medium: dmesg, iostat.")
        else:
            yield failing("store", error.message, error.remedy or _MOVE_AWAY)


class _Deadline:
    """Interrupts SQLite when it has worked for too long."""

    def __init__(self) -> None:
        """Begin to count."""
        self._end_s = time.monotonic() + _LIMIT_S
        self.passed = False
        """Whether it has interrupted anything."""

    def __call__(self) -> bool:
        """Return whether to interrupt."""
        self.passed = time.monotonic() > self._end_s
        return self.passed


def _look_into(path: Path, deadline: _Deadline, *, in_use: bool) -> Finding:
    """Return what is found; raises StoreError.

    A file nobody uses is opened as one that cannot change: anything else would make files beside
    it, and as root they would lock the service out.
    """
    with (
        translated("read", path),
        contextlib.closing(connect_read_only(path, immutable=not in_use)) as connection,
        recognising_damage(),
    ):
        connection.set_progress_handler(deadline, _STEPS)
        version = check_version(connection, path)
        check_content(connection, version)
        size_mb = path.stat().st_size / 1e6
    return well("store", f"{path} is sound: schema {version}, {size_mb:.1f} MB.")


def _has_content(path: Path) -> bool:
    return is_there(path) and path.stat().st_size > 0
