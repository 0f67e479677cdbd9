"""Where files lie."""

from __future__ import annotations

import os
from pathlib import Path


def is_there(path: Path) -> bool:
    """Return whether there is such a file. Raises PermissionError when that cannot be seen."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def mount_of(path: Path) -> Path:
    """Return the directory the file system of a path is mounted on."""
    path = path.resolve()
    return next((each for each in (path, *path.parents) if os.path.ismount(each)), Path("/"))


def file_system_of(path: Path) -> str:
    """Return the type of the file system of a path, such as ``tmpfs``; ``?`` when unknown."""
    wanted = str(mount_of(path))
    found = "?"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4].replace("\\040", " ") == wanted:
            found = after.split()[0]  # the last one mounted there is the one that is seen
    return found
