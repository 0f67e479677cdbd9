"""Cases for the checks of ``stt-edge doctor``, and what they find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stt_edge import __version__
from stt_edge.config.settings import Config
from stt_edge.service.doctor.case import Case, Unit
from stt_edge.service.doctor.finding import Finding, Level
from stt_edge.service.doctor.people import User
from stt_edge.service.paths import Paths
from stt_edge.service.status import EarStatus, StatusDocument

STRANGER = User("stranger", 54_321, frozenset((54_321,)))
"""Somebody to whom nothing in a test belongs."""

SHIPPED = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "NRestarts": "0",
    "WatchdogUSec": "30s",
    "DropInPaths": "",
    "FragmentPath": "/usr/lib/systemd/system/stt-edge.service",
    "User": "stt-edge",
    "Group": "stt-edge",
    "SupplementaryGroups": "audio",
    "ReadWritePaths": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "MemoryDenyWriteExecute": "yes",
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "KillMode": "mixed",
    "OOMPolicy": "continue",
    "Restart": "always",
}
"""What ``systemctl show`` says of the unit as it is shipped (systemd 252), the part that counts."""

HEARING = EarStatus("hearing", 12.0, "Yeti", 16_000, level_db=-42.0, noise_db=-63.0)


def case(directory: Path, **changes: Any) -> Case:
    """Return a case whose directories lie in ``directory``; nothing runs or is installed."""
    paths = Paths(directory / "run", directory / "state", directory / "logs")
    return replace(
        Case(Config(node="here"), paths, Unit("stt-edge.service"), User.this()), **changes
    )


def running(ear: EarStatus = HEARING, **changes: Any) -> StatusDocument:
    """Return what a daemon says that is well."""
    well = StatusDocument(version=__version__, pid=4711, uptime_s=60.0, node="here", ear=ear)
    return replace(well, **changes)


def unit(**changes: str) -> Unit:
    """Return the installed unit, some properties changed."""
    return Unit("stt-edge.service", {**SHIPPED, **changes})


def only(findings: Iterable[Finding]) -> Finding:
    """Return the one finding there is; one that is not well has a remedy, and others have none."""
    (finding,) = found(findings)
    return finding


def found(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, each of which keeps the rule of remedies."""
    every = list(findings)
    for finding in every:
        assert bool(finding.remedy) is (finding.level is not Level.OK), finding
    return every


def levels(findings: Iterable[Finding]) -> list[str]:
    """Return how the findings are meant."""
    return [finding.level.value for finding in found(findings)]
