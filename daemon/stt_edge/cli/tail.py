"""``stt-edge tail``: print transcripts from the store, and follow them."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stt_edge.cli.common import (
    add_config_option,
    flush_output,
    is_terminal,
    print_json,
    write_output,
)
from stt_edge.errors import ExitCode, PermissionDeniedError

if TYPE_CHECKING:
    from stt_edge.model import Record

HELP: Final = "Print the latest transcripts; with -f, go on with new ones as they come."
EPILOG: Final = """\
Reads the store, so it works whether or not the service runs. Transcripts come in the order in which
they were finished; one that was delayed (by an outage) may follow a later one: order them by start.

exit codes: 0 done; 69 there is no store yet; 77 you may not read it (use sudo)"""

_POLL_MS: Final = 250
_BATCH: Final = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new ones")
    parser.add_argument(
        "-n",
        "--lines",
        type=_count,
        default=10,
        metavar="N",
        help="how many to begin with (default: 10)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print the last records, and those to come. Raises UnavailableError, PermissionDeniedError."""
    from stt_edge.service.paths import instance_of

    records = read(database_of(instance_of(args.config, args.instance)), args.lines, args.follow)
    print_records(records, as_json=args.json)
    return ExitCode.OK


def database_of(instance: str | None) -> Path:
    """Return the store of the daemon that runs, or of the one that would."""
    from stt_edge.service.paths import daemon_paths, find_sockets, find_state

    mine = daemon_paths(instance)
    there = [socket for socket in find_sockets(instance) if os.path.lexists(socket)]
    if there and there[0] == mine.control_socket:
        return mine.database
    return find_state(instance) / mine.database.name


def read(path: Path, count: int, follow: bool) -> Iterator[Record]:
    """Yield the last ``count`` records of a store and, to follow, every new one; then never ends.

    Raises UnavailableError, PermissionDeniedError and StoreError.
    """
    from stt_edge.store.store import Store

    inode = _inode(path)
    store = Store.open_read_only(path)
    try:
        last = store.last_records(count)
        seq = last[-1][0] if last else store.last_seq()
        for _, record in last:
            yield record
        while follow:
            while batch := store.records_after(seq, _BATCH):
                for seq, record in batch:  # noqa: B007  where to go on
                    yield record
            _wait()
            if (now := _inode(path)) not in (inode, None):
                # A damaged store was replaced when the daemon started.
                store.close()
                inode, store = now, Store.open_read_only(path)
                seq = seq if seq <= store.last_seq() else 0
    finally:
        store.close()


def print_records(records: Iterable[Record], *, as_json: bool) -> None:
    """Print each record at once: for a person, or as the JSON of the JSONL file."""
    from stt_edge.record_json import record_to_json
    from stt_edge.sinks.terminal import record_line

    colour = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    for record in records:
        if as_json:
            print_json(record_to_json(record))
        else:
            write_output(record_line(record, colour=colour))
            flush_output()


def _wait() -> None:
    """Sleep until it is time to look again. Raises BrokenPipeError when nobody reads any more."""
    hangup = select.poll()
    hangup.register(sys.stdout.fileno(), 0)
    if hangup.poll(_POLL_MS):
        raise BrokenPipeError


def _inode(path: Path) -> int | None:
    """Return what identifies the file, None when there is none."""
    try:
        inode = path.stat().st_ino
        readable = os.access(path, os.R_OK)
    except FileNotFoundError:
        return None
    except PermissionError:
        readable = False
    if not readable:
        raise PermissionDeniedError(
            f"You may not read {path}.",
            "It holds all that was said, and belongs to the user that runs stt-edge: use sudo.",
        )
    return inode


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return count
