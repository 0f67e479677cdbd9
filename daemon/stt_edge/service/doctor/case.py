"""What all checks start from: configuration, whose service it is, what it says of itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from stt_edge.config.settings import Config
from stt_edge.errors import SttEdgeError
from stt_edge.frozen import frozen
from stt_edge.service.control_client import NotRunningError, ask
from stt_edge.service.doctor.people import User, user_of_process, user_of_unit
from stt_edge.service.paths import Paths, find_paths, find_sockets
from stt_edge.service.status import StatusDocument, parse

SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd is in charge (sd_booted(3))."""
CREDENTIALS: Final = Path("/run/credentials")
"""Where systemd puts what LoadCredential= of a running unit names."""
_PATIENCE_S: Final = 3.0
_SHOW_S: Final = 10.0


@frozen
class Unit:
    """What systemd knows of the service."""

    name: str
    properties: Mapping[str, str] = field(default_factory=dict)
    """As ``systemctl show`` has them; empty where systemd is not in charge or does not answer."""

    @property
    def installed(self) -> bool:
        """Whether there is such a unit."""
        return self.properties.get("LoadState") in ("loaded", "bad-setting", "error")

    @property
    def active(self) -> bool:
        """Whether it runs, or is about to."""
        return self.properties.get("ActiveState") in ("active", "reloading", "activating")


@frozen
class Case:
    """One installation to look at."""

    config: Config
    paths: Paths
    unit: Unit
    user: User
    """As whom the service runs, or would run."""
    status: StatusDocument | None = None
    """What the running daemon says; None when none answers."""
    silence: SttEdgeError | None = None
    """Why a daemon that may run does not answer; None when it does, or when there is none."""

    @property
    def runs(self) -> bool:
        """Whether a daemon runs, even if it does not tell us anything."""
        return self.status is not None or self.silence is not None


def look_around(config: Config, instance: str | None) -> Case:
    """Return the case of this machine's service, or of the instance named."""
    status, silence = _ask(instance)
    unit = show(f"stt-edge@{instance}.service" if instance else "stt-edge.service")
    _borrow_credentials(unit)
    user = user_of_process(status.pid) if status is not None else None
    if user is None and unit.installed:
        user = user_of_unit(unit.properties)
    if user is None:
        user = User.this()
    return Case(config, find_paths(instance), unit, user, status, silence)


def show(name: str) -> Unit:
    """Return what systemd knows of a unit."""
    if not SYSTEMD.is_dir():
        return Unit(name)
    command = ["systemctl", "show", "--no-pager", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SHOW_S)
    except (OSError, subprocess.TimeoutExpired):
        return Unit(name)
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return Unit(name, {key: value for key, is_one, value in lines if is_one})


def _borrow_credentials(unit: Unit) -> None:
    """Let the names of systemd credentials mean here what they mean to the running service."""
    directory = CREDENTIALS / unit.name
    if directory.is_dir():
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(directory))


def _ask(instance: str | None) -> tuple[StatusDocument | None, SttEdgeError | None]:
    try:
        return parse(ask(find_sockets(instance, os.environ), "status", timeout_s=_PATIENCE_S)), None
    except NotRunningError:
        return None, None
    except SttEdgeError as error:
        return None, error
