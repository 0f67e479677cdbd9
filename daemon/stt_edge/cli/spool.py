"""``stt-edge spool``: audio that waits for a provider, was set aside, or is kept."""

from __future__ import annotations

import argparse
import sys
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
from stt_edge.errors import ExitCode, InputError, SttEdgeError

if TYPE_CHECKING:
    from stt_edge.service.paths import Paths

HELP: Final = "Audio that waits for a provider, was set aside, or is kept after it was transcribed."
EPILOG: Final = """\
ls      what there is, oldest first: id, when it was said, how long it is, and its state:
        open (being said), waiting, poisoned (a provider failed on it five times), kept
        (transcribed; there only with spool: keep_audio)
replay  transcribe again: those given, or all that are poisoned. One that is kept gets a new record
        that names the one it supersedes
export  write the audio of those given, or of all, to WAV files (16 kHz mono)
purge   delete the audio of those given, or of all, for good; what was committed becomes a record

ls and export only look; all four work whether or not the service runs.

exit codes: 0 done; 1 some are not there, or are in a provider's hands just now; 2 wrong usage;
77 you may not (use sudo)"""

_AT_ONCE: Final = 200
"""Ids in one request: it must not get longer than the daemon takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ls|replay|export|purge")
    for name, words in (
        ("ls", "list audio that waits"),
        ("replay", "transcribe again"),
        ("export", "write WAV files"),
        ("purge", "delete for good"),
    ):
        action = actions.add_parser(name, help=words, description=f"{words.capitalize()}.")
        add_config_option(action)
        action.add_argument("--instance", metavar="NAME", help="which of several microphones")
        action.add_argument("--json", action="store_true", help="print JSON")
        if name != "ls":
            action.add_argument("ids", nargs="*", metavar="ID", help="as spool ls has it")
        if name in ("export", "purge"):
            action.add_argument("--all", action="store_true", help="all there is")
        if name == "export":
            action.add_argument(
                "-o", "--output", type=Path, default=Path(), metavar="DIR", help="default: here"
            )
        if name == "purge":
            action.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; return the exit code. Raises SttEdgeError."""
    if args.action in ("export", "purge") and bool(args.ids) is bool(args.all):
        warn("name the ids (stt-edge spool ls has them), or say --all")
        return ExitCode.USAGE
    actions = {"ls": _ls, "replay": _replay, "export": _export, "purge": _purge}
    return actions[args.action](args)


def _ls(args: argparse.Namespace) -> int:
    entries = _entries(args)
    if args.json:
        print_json(entries)
        return ExitCode.OK
    for entry in entries:
        place = "disk" if entry["on_disk"] else "memory"
        length = f"{entry['seconds']:7.2f} s"
        write_output(f"{entry['id']}  {entry['start']}  {length}  {entry['state']:8}  {place}")
    waiting_s = sum(entry["waiting_s"] for entry in entries)
    size_mb = sum(entry["bytes"] for entry in entries) / (1 << 20)
    if is_terminal(sys.stdout) or not entries:
        warn(f"{len(entries)} utterances, {waiting_s:.1f} s to be transcribed, {size_mb:.1f} MB")
    return ExitCode.OK


def _replay(args: argparse.Namespace) -> int:
    from stt_edge.service import spool_files

    wanted = args.ids or None
    answer = _ask(args, "spool-replay", wanted)
    done = spool_files.replay(_paths(args), wanted) if answer is None else answer["replayed"]
    return _tell(args, "replayed", done, wanted, "transcribed again")


def _purge(args: argparse.Namespace) -> int:
    from stt_edge.service import spool_files

    wanted = args.ids or None
    if not _agreed(args, wanted):
        return ExitCode.FAILED
    answer = _ask(args, "spool-purge", wanted)
    done = spool_files.purge(_paths(args), wanted) if answer is None else answer["purged"]
    return _tell(args, "purged", done, wanted, "deleted")


def _export(args: argparse.Namespace) -> int:
    from stt_edge.service.spool_files import SpoolFiles

    wanted = args.ids or None
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        files = SpoolFiles(_paths(args))
        ids = list(files.infos) if wanted is None else wanted
        written = []
        with Progress() as progress:
            for number, utterance_id in enumerate(ids, 1):
                progress.show(f"{number} of {len(ids)}")
                try:
                    written.append(str(files.export(utterance_id, args.output)))
                except SttEdgeError as error:  # the others are written all the same
                    progress.clear()
                    warn(str(error))
    except OSError as error:
        raise InputError(
            f"Cannot write to {args.output}: {error.strerror or error}.", "Name another: -o DIR."
        ) from error
    if args.json:
        print_json({"written": written})
    else:
        for path in written:
            write_output(path)
    return ExitCode.OK if len(written) == len(ids) else ExitCode.FAILED


def _entries(args: argparse.Namespace) -> list[dict[str, Any]]:
    from dataclasses import asdict

    answer: list[dict[str, Any]] | None = _ask(args, "spool-ls", None)
    if answer is not None:
        return answer
    from stt_edge.service.spool_files import SpoolFiles

    return [asdict(entry) for entry in SpoolFiles(_paths(args)).entries()]


def _ask(args: argparse.Namespace, command: str, ids: list[str] | None) -> Any:
    """Return the daemon's answer, None where there is no daemon; long requests are cut up."""
    from stt_edge.service.control_client import NotRunningError, ask
    from stt_edge.service.paths import find_sockets, instance_of

    sockets = find_sockets(instance_of(args.config, args.instance))
    try:
        if ids is None:
            return ask(sockets, command)
        joined: dict[str, list[str]] = {}
        for at in range(0, len(ids), _AT_ONCE):
            for key, some in ask(sockets, command, ids=ids[at : at + _AT_ONCE]).items():
                joined.setdefault(key, []).extend(some)
    except NotRunningError:
        return None
    return joined


def _paths(args: argparse.Namespace) -> Paths:
    from stt_edge.service.paths import find_paths, instance_of

    return find_paths(instance_of(args.config, args.instance))


def _agreed(args: argparse.Namespace, wanted: list[str] | None) -> bool:
    if args.yes or not is_terminal(sys.stdin):
        return True
    what = "all audio that waits" if wanted is None else f"the audio of {len(wanted)} utterances"
    print(f"Delete {what} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(
    args: argparse.Namespace, key: str, done: list[str], wanted: list[str] | None, words: str
) -> int:
    refused = [id_ for id_ in wanted or () if id_ not in done]
    if args.json:
        print_json({key: done, "refused": refused})
    else:
        write_output(f"{len(done)} utterances are {words}.")
        for utterance_id in refused:
            warn(f"{utterance_id}: there is no audio of it, or a provider has it in hand just now")
    return ExitCode.FAILED if refused else ExitCode.OK
