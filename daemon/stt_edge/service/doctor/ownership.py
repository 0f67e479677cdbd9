"""Check ``paths``: who owns the files of the service, and who else may read or change them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.files import is_there
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.people import READ, User, group_name, mode_of

CREDENTIALS: Final = Path("/etc/stt-edge/credentials")
_GROUP: Final = "stt-edge"
_MOST_NAMED: Final = 5


def check_paths(case: Case, credentials: Path = CREDENTIALS) -> Iterator[Finding]:
    """Look at configuration, credentials, state, logs and the control socket."""
    is_well = True
    # What everybody may see comes first: the first that may not be seen ends it.
    for part in (
        _configuration(case),
        _logs(case),
        _socket(case),
        _private(case.paths.runtime, case.user, "what is being said", group_may_enter=True),
        _private(case.paths.state, case.user, "results and what was said"),
        _credentials(credentials, case.user),
    ):
        for finding in part:
            is_well = False
            yield finding
    if is_well:
        yield well("paths", "Owners and modes are as they should be.")


def _configuration(case: Case) -> Iterator[Finding]:
    if case.config.path is None:
        return
    path, user = Path(case.config.path), case.user
    if not user.may(READ, path):
        remedy = f"sudo chmod a+r {path}: there are no secrets in it."
        yield failing("paths", f"{user.name} may not read {path} ({mode_of(path)}).", remedy)
    yield from _changeable(path, user)


def _changeable(path: Path, user: User) -> Iterator[Finding]:
    """Complain when more people than root and its owner may change a file."""
    status = path.stat()
    if status.st_mode & stat.S_IWOTH:
        message = f"{path} can be changed by everybody ({mode_of(path)})."
        yield failing("paths", message, f"sudo chmod o-w {path}")
    elif status.st_uid == user.uid and user.uid not in (0, os.geteuid()):
        message = f"{path} belongs to {user.name}, as whom the service runs: it could change it."
        yield doubtful("paths", message, f"sudo chown root {path}")


def _credentials(directory: Path, user: User) -> Iterator[Finding]:
    if not is_there(directory):
        return
    if directory.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH):
        message = f"{directory} is open to everybody ({mode_of(directory)})."
        yield doubtful("paths", message, f"sudo chmod o= {directory}")
    for path in sorted(directory.iterdir()):
        if not path.is_file():
            continue
        if path.stat().st_mode & stat.S_IRWXO:
            message = f"{path} is open to everybody ({mode_of(path)})."
            yield failing("paths", message, f"sudo chmod 0640 {path}")
        elif not user.may(READ, path):
            message = f"{user.name} may not read {path} ({mode_of(path)})."
            remedy = f"sudo chown root:{_GROUP} {path} && sudo chmod 0640 {path}"
            yield failing("paths", message, remedy)


def _private(
    directory: Path, user: User, holds: str, *, group_may_enter: bool = False
) -> Iterator[Finding]:
    if not is_there(directory):
        return  # the check of the disk says so
    open_to = stat.S_IRWXO if group_may_enter else stat.S_IRWXO | stat.S_IRWXG
    if directory.stat().st_mode & open_to:
        mode = "0750" if group_may_enter else "0700"
        message = f"{directory} ({mode_of(directory)}) lets others see {holds}."
        yield doubtful("paths", message, f"sudo chmod {mode} {directory}")
    yield from _owners(directory, user)


def _owners(directory: Path, user: User) -> Iterator[Finding]:
    """Complain of what somebody else has left there: a `sudo stt-edge run` once, for example."""
    if user.uid == 0:
        return
    foreign = [
        path
        for path in (directory, *sorted(directory.iterdir()))
        if path.lstat().st_uid != user.uid
    ]
    if foreign:
        named = ", ".join(map(str, foreign[:_MOST_NAMED]))
        message = f"Not {user.name} but somebody else owns {named}: it cannot be written."
        yield failing("paths", message, f"sudo chown -R {user.name} {directory}")


def _logs(case: Case) -> Iterator[Finding]:
    directory = case.paths.logs
    if directory == case.paths.state or not is_there(directory):
        return
    if directory.stat().st_mode & stat.S_IRWXO:
        message = f"{directory} ({mode_of(directory)}) lets everybody read what was said."
        yield doubtful("paths", message, f"sudo chmod 2750 {directory}")
    yield from _owners(directory, case.user)


def _socket(case: Case) -> Iterator[Finding]:
    socket = case.paths.control_socket
    if case.status is None or not is_there(socket):
        return
    status = socket.stat()
    if status.st_mode & stat.S_IRWXO:
        message = f"{socket} ({mode_of(socket)}) lets everybody mute and ask."
        yield doubtful("paths", message, f"sudo systemctl restart {case.unit.name}")
    elif case.unit.active and group_name(status.st_gid) != _GROUP:
        message = f"{socket} ({mode_of(socket)}) is not of the group {_GROUP}: only root may ask."
        yield doubtful("paths", message, f"sudo systemctl restart {case.unit.name}")
