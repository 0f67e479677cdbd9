"""Check ``disk``: the three directories are there, can be written, and have room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.files import file_system_of, is_there, mount_of
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.people import ENTER, WRITE, User

_MIB: Final = 1 << 20
_HOT_MB: Final = 16
"""What audio of the moment may take in memory."""
_LOGS_MB: Final = 50
_FEWEST_INODES: Final = 1000
_IN_MEMORY: Final = ("tmpfs", "ramfs")


@frozen
class Place:
    """A directory the service writes to."""

    path: Path
    meant_for: str
    needs_mb: int
    """Below this much free space things go wrong; so is the next for things that may."""
    wants_mb: int
    in_memory: bool = False


def check_disk(case: Case) -> Iterator[Finding]:
    """Look at the directories for state, for audio of the moment, and for transcripts."""
    for place in places(case):
        yield from look_at(place, case.user, runs=case.runs)


def places(case: Case) -> list[Place]:
    """Return where the service writes, each directory once."""
    spool = case.config.spool
    wants_mb = spool.keep_free_mb + spool.max_mb
    found = [
        Place(case.paths.state, "results, and speech that waits", spool.keep_free_mb, wants_mb),
        Place(case.paths.runtime, "speech of the moment", _HOT_MB // 4, _HOT_MB, in_memory=True),
        Place(case.paths.logs, "transcripts", _LOGS_MB // 10, _LOGS_MB),
    ]
    return [
        place
        for number, place in enumerate(found)
        if place.path not in [earlier.path for earlier in found[:number]]
    ]


def look_at(place: Place, user: User, *, runs: bool) -> Iterator[Finding]:
    """Look at one directory; where none is yet, at the one it will be made in."""
    if not is_there(place.path):
        if runs:
            remedy = "Restart the service: it makes its directories at the start."
            yield failing("disk", f"{place.path} is not there ({place.meant_for}).", remedy)
            return
        above = next(parent for parent in place.path.parents if parent.exists())
        yield well("disk", f"{place.path} is not there yet; it will be made at the first start.")
        place = Place(above, place.meant_for, place.needs_mb, place.wants_mb, place.in_memory)
    elif not place.path.is_dir():
        remedy = "Move that file away: a directory belongs there."
        yield failing("disk", f"{place.path} is no directory ({place.meant_for}).", remedy)
        return
    elif not user.may(WRITE | ENTER, place.path):
        remedy = f"sudo chown -R {user.name} {place.path}"
        yield failing("disk", f"{user.name} may not write to {place.path}.", remedy)
        return
    yield _room(place, user)


def _room(place: Place, user: User) -> Finding:
    space = os.statvfs(place.path)
    free_mb = (space.f_bfree if user.uid == 0 else space.f_bavail) * space.f_frsize // _MIB
    where = f"{place.path} ({place.meant_for})"
    if space.f_flag & os.ST_RDONLY:
        remedy = "dmesg tells whether the medium failed; then mount -o remount,rw, or a new card."
        return failing("disk", f"{where} is on a file system that is mounted read-only.", remedy)
    if space.f_files > 0 and space.f_favail < _FEWEST_INODES:
        message = f"{where} has {space.f_favail} inodes left of {space.f_files}."
        return failing(
            "disk", message, f"Delete small files: du --inodes -x {mount_of(place.path)}"
        )
    if free_mb < place.needs_mb:
        message = f"{where} has {free_mb} MB free, and needs {place.needs_mb}."
        return failing("disk", message, f"Free some: du -xh {mount_of(place.path)} | sort -h")
    if place.in_memory and file_system_of(place.path) not in _IN_MEMORY:
        message = f"{where} is on {file_system_of(place.path)}, not in memory: speech wears a card."
        return doubtful("disk", message, "Let RUNTIME_DIRECTORY lie on a tmpfs, such as /run.")
    if free_mb < place.wants_mb:
        message = f"{where} has {free_mb} MB free; an outage may need {place.wants_mb}."
        return doubtful("disk", message, "Free some, or let spool.max_mb be smaller.")
    return well("disk", f"{where} can be written, {free_mb} MB free.")
