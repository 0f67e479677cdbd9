"""Check ``sinks``: whether each sink that is switched on can take records."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from stt_edge.config.loader import default_sinks
from stt_edge.config.settings import SinkEntry
from stt_edge.errors import SttEdgeError
from stt_edge.service.doctor.broker import check_broker
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.files import is_there
from stt_edge.service.doctor.finding import Finding, Level, doubtful, failing, well
from stt_edge.service.doctor.people import ENTER, WRITE, mode_of
from stt_edge.sinks import registry
from stt_edge.sinks.base import SinkContext

_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  names, nothing is made there


async def check_sinks(case: Case) -> AsyncIterator[Finding]:
    """Look at each sink that is switched on; findings are named after it: ``sink-jsonl``."""
    for entry in _entries(case):
        name = f"sink-{entry.name}"
        if case.status is not None and (told := case.status.sinks.get(entry.name)) is not None:
            waiting = f", {told.pending} records wait" if told.pending else ""
            if told.state == "down":
                remedy = "journalctl -u stt-edge; what is found below may say more."
                yield doubtful(name, f"is down{waiting}: {told.message}", remedy)
        for finding in await asyncio.to_thread(_look_at, name, entry, case):
            yield finding
        if entry.name == "mqtt":
            async for finding in check_broker(name, entry.options):
                yield finding
        examine = registry.examiner(entry.name)
        if examine is not None:
            for said in await examine(entry.options, SinkContext(case.paths.logs)):
                what = f"{name}: {said.what}" if said.what else name
                yield Finding(what, Level(said.level), said.message, said.remedy)


def _entries(case: Case) -> tuple[SinkEntry, ...]:
    if case.config.sinks is not None:
        return case.config.sinks
    return default_sinks(registry, under_systemd=case.unit.installed)


def _look_at(name: str, entry: SinkEntry, case: Case) -> list[Finding]:
    match entry.name:
        case "jsonl":
            return list(_file(name, _path_of(entry.options, case), case))
        case "journal":
            return [_journal(name, entry, case)]
        case "mqtt":
            return []
        case _ if registry.examiner(entry.name) is not None:
            return []
        case _:
            return [well(name, "needs nothing.")]


def _path_of(options: Any, case: Case) -> Path:
    given = getattr(options, "path", None)
    return Path(given) if given is not None else case.paths.transcripts


def _file(name: str, path: Path, case: Case) -> Iterator[Finding]:
    user, directory = case.user, path.parent
    if not is_there(directory):
        if directory == case.paths.logs and not case.runs:
            yield well(name, f"{path} will be made at the first start.")
        else:
            remedy = f"sudo install -d -o {user.name} -m 0750 {directory}"
            yield failing(name, f"There is no directory {directory}.", remedy)
        return
    if is_there(path) and not stat.S_ISREG(path.stat().st_mode):
        remedy = "Name a regular file under sinks: jsonl: path."
        yield failing(name, f"{path} is no file.", remedy)
        return
    if not user.may(WRITE | ENTER, directory):
        message = f"{user.name} may not write to {directory} ({mode_of(directory)})."
        yield failing(name, message, f"sudo chown {user.name} {directory}")
    elif is_there(path) and not user.may(WRITE, path):
        message = f"{user.name} may not write to {path} ({mode_of(path)})."
        yield failing(name, message, f"sudo chown {user.name} {path}")
    elif why := _shut_out(directory, case):
        yield failing(
            name, f"{path} cannot be written by the unit: {why}.", _let_in(directory, case)
        )
    else:
        yield well(name, f"{path} can be written by {user.name}.")


def _shut_out(directory: Path, case: Case) -> str:
    """Return which directive of the unit keeps the service from a directory; empty if none does."""
    properties = case.unit.properties
    if not case.unit.installed:
        return ""
    own = (case.paths.logs, case.paths.state, case.paths.runtime)
    opened = [Path(each.lstrip("-+")) for each in properties.get("ReadWritePaths", "").split()]
    if any(directory == each or each in directory.parents for each in (*own, *opened)):
        return ""
    closed = {"ProtectSystem=strict": properties.get("ProtectSystem") == "strict"}
    closed["ProtectHome=yes"] = properties.get("ProtectHome") == "yes" and _in(directory, _HOMES)
    closed["PrivateTmp=yes"] = properties.get("PrivateTmp") == "yes" and _in(directory, _TEMPORARY)
    return next((name for name in reversed(closed) if closed[name]), "")


def _in(directory: Path, places: tuple[Path, ...]) -> bool:
    return any(place == directory or place in directory.parents for place in places)


def _let_in(directory: Path, case: Case) -> str:
    if _in(directory, (*_HOMES, *_TEMPORARY)):
        return f"Name a file in {case.paths.logs} under sinks: jsonl: path."
    return (
        f"sudo systemctl edit {case.unit.name}, and write under [Service]: "
        f"ReadWritePaths={directory}"
    )


def _journal(name: str, entry: SinkEntry, case: Case) -> Finding:
    from stt_edge import systemd_python

    try:
        registry.build(entry.name, entry.options, SinkContext(case.paths.logs))
    except SttEdgeError as error:
        return failing(name, error.message, error.remedy)
    socket = systemd_python.JOURNAL_SOCKET
    if not socket.exists():
        remedy = "systemctl status systemd-journald, or take journal out of sinks:."
        return failing(name, f"There is no journal: {socket} is missing.", remedy)
    return well(name, f"The journal takes entries at {socket}.")
