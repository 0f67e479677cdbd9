"""Users, their groups, and what the mode of a file lets them do."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from stt_edge.frozen import frozen

READ, WRITE, ENTER = 4, 2, 1


@frozen
class User:
    """Somebody a process runs as."""

    name: str
    uid: int
    groups: frozenset[int]
    """All of them, by number, the first one too."""

    @classmethod
    def this(cls) -> Self:
        """Return the user of this process."""
        uid = os.geteuid()
        return cls(user_name(uid), uid, frozenset((os.getegid(), *os.getgroups())))

    @property
    def is_this(self) -> bool:
        """Whether it is the user of this process."""
        return self.uid == os.geteuid()

    def may(self, what: int, path: Path) -> bool:
        """Return whether a file, and all above it, allow READ, WRITE, ENTER (or-ed) by their modes.

        Raises OSError when that cannot be seen. Read-only file systems are another matter.
        """
        return self._allowed(what, path) and all(
            self._allowed(ENTER, parent) for parent in path.absolute().parents
        )

    def _allowed(self, what: int, path: Path) -> bool:
        status = path.stat()
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid in self.groups:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & what == what


def user_of_process(pid: int) -> User | None:
    """Return as whom a process runs; None when that cannot be seen."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    try:
        uid = int(fields["Uid"][1])
        groups = frozenset(map(int, (fields["Gid"][1], *fields["Groups"])))
    except (KeyError, IndexError, ValueError):
        return None
    return User(user_name(uid), uid, groups)


def user_of_unit(properties: Mapping[str, str]) -> User | None:
    """Return as whom a unit would run; None when there is no such user."""
    try:
        entry = pwd.getpwnam(properties.get("User") or "root")
        group = properties.get("Group")
        first = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError:
        return None
    more = [group_id(name) for name in properties.get("SupplementaryGroups", "").split()]
    listed = os.getgrouplist(entry.pw_name, first)
    groups = frozenset((*listed, *(number for number in more if number is not None)))
    return User(entry.pw_name, entry.pw_uid, groups)


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or the number of one without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def group_id(name: str) -> int | None:
    """Return the number of a group; None when there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def mode_of(path: Path) -> str:
    """Return owner, group and mode of a file as a person writes them: ``root:audio 0660``."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    return f"{user_name(status.st_uid)}:{group_name(status.st_gid)} {mode:04o}"
