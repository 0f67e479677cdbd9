"""``stt-edge forget``: delete what was said before a moment, with its audio."""

from __future__ import annotations

import argparse
import os
import re
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stt_edge.cli.common import (
    Progress,
    add_config_option,
    is_terminal,
    print_json,
    warn,
    write_output,
)
from stt_edge.errors import ExitCode, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stt_edge.service.paths import Paths

    Ask = Callable[..., dict[str, Any]]

HELP: Final = "Delete what was said before a moment: transcripts, and audio that still waits."
EPILOG: Final = """\
WHEN is a day (2026-11-20: everything before it began), a moment (2026-11-20T16:00 of this machine's
time zone, or with a zone of its own, as 2026-11-20T16:00Z), or an age (90min, 12h, 7d, 2w).

Everything goes that was said before: utterances with their records and parts, whether or not sinks
have been given them, and the audio of those that wait for a transcript or were set aside. What is
being said right now stays. On a terminal it asks first.

It cannot be undone, and it does not reach what was handed on: JSONL files, the journal, MQTT
brokers and providers keep what they were given.

exit codes: 0 done; 1 not confirmed, or not all of it could be deleted; 2 WHEN is no moment;
69 there is no store here; 75 the store takes nothing now; 77 you may not (use sudo)"""

_UNITS_S: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|h|d|w)")
_HANDED_ON: Final = (
    "JSONL files, the journal, MQTT brokers and providers keep what they were given."
)
_ANSWER_S: Final = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--before", type=moment, metavar="WHEN", help="what was said before this")
    which.add_argument("--all", action="store_true", help="everything there is")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def moment(text: str) -> datetime:
    """Return the moment that WHEN means, with a time zone. Raises ArgumentTypeError."""
    if match := _AGE.fullmatch(text.strip()):
        try:
            age = timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])
            return datetime.now().astimezone() - age
        except OverflowError as error:
            raise argparse.ArgumentTypeError(f"{text} ago there was no time") from error
    try:
        found = datetime.fromisoformat(text.strip())
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; such are 2026-11-20, 2026-11-20T16:00Z and 7d"
        ) from error


def run(args: argparse.Namespace) -> int:
    """Delete, through the daemon where one runs; return the exit code."""
    from stt_edge.service.control_client import NotRunningError, ask
    from stt_edge.service.paths import find_paths, find_sockets, instance_of

    instance = instance_of(args.config, args.instance)
    sockets = find_sockets(instance)
    try:
        return _work(args, partial(ask, sockets, "forget", timeout_s=_ANSWER_S))
    except NotRunningError:
        paths = find_paths(instance)
        if not _is_there(paths):
            raise
    return _work(args, partial(_ask_files, paths))


def _work(args: argparse.Namespace, ask: Ask) -> int:
    before = None if args.all else args.before.isoformat()
    if not args.yes and is_terminal(sys.stdin):
        counted = ask(before=before, count=True)
        if counted["utterances"] and not _confirmed(counted, args.before):
            warn("nothing was deleted.")
            return ExitCode.FAILED
    total = {"utterances": 0, "records": 0, "waiting": 0}
    with Progress() as progress:
        while True:
            answer = ask(before=before)
            for name in total:
                total[name] += answer[name]
            if not answer["more"]:
                break
            progress.show(f"{total['utterances']} utterances deleted …")
    rest = {name: answer[name] for name in ("kept", "erased", "aside")}
    if args.json:
        print_json({**total, **rest})
    else:
        _tell(total)
    return _tell_rest(rest)


def _confirmed(counted: dict[str, Any], before: datetime | None) -> bool:
    when = "" if before is None else f" said before {before.astimezone():%Y-%m-%d %H:%M %Z}"
    audio = f", and the audio of {counted['waiting']}" if counted["waiting"] else ""
    question = (
        f"Delete {_number(counted['utterances'], 'utterance')}{when} with "
        f"{_number(counted['records'], 'record')}{audio}, for good? {_HANDED_ON} [y/N] "
    )
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(total: dict[str, int]) -> None:
    if not total["utterances"]:
        write_output("There was nothing to delete.")
        return
    audio = f", and the audio of {total['waiting']}" if total["waiting"] else ""
    write_output(
        f"Deleted {_number(total['utterances'], 'utterance')} with "
        f"{_number(total['records'], 'record')}{audio}."
    )
    write_output(_HANDED_ON)


def _tell_rest(rest: dict[str, Any]) -> int:
    """Say what is not gone; return the exit code."""
    for path in rest["aside"]:
        warn(f"{path} was damaged and set aside; something said may be in it. Delete it yourself.")
    if not rest["erased"]:
        warn(
            "a program that reads the store is in the way: until it ends, what was deleted can "
            "still be found in the store's write-ahead log. Give the command again then."
        )
    if rest["kept"]:
        warn(
            f"{_number(rest['kept'], 'utterance')} could not be deleted, because the audio could "
            "not: see journalctl -u stt-edge."
        )
    return ExitCode.OK if rest["erased"] and not rest["kept"] else ExitCode.FAILED


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _is_there(paths: Paths) -> bool:
    """Return whether there is a store. Raises PermissionDeniedError where that cannot be seen."""
    if paths.state.exists() and not os.access(paths.state, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionDeniedError(
            f"You may not use {paths.state}.",
            "It holds all that was said, and belongs to the user that runs stt-edge: use sudo.",
        )
    return paths.database.exists()


def _ask_files(paths: Paths, **request: Any) -> dict[str, Any]:
    """Do without a daemon what it would do."""
    import asyncio

    from stt_edge.service.forgetting import forget_without_daemon

    _become_owner_of(paths.state)
    return asyncio.run(forget_without_daemon(paths, request))


def _become_owner_of(directory: Path) -> None:
    """Give up being root: files made anew by root could not be used by the daemon."""
    status = directory.stat()
    if os.geteuid() == 0 and status.st_uid != 0:
        os.setegid(status.st_gid)
        os.seteuid(status.st_uid)
