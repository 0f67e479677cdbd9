"""``stt-edge devices``: what can be captured, with rates, channels and a live level."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from stt_edge.cli.common import (
    Progress,
    add_config_option,
    print_json,
    printable,
    style,
    write_output,
)
from stt_edge.errors import DeviceError, ExitCode, FaultKind, SttEdgeError
from stt_edge.frozen import frozen

if TYPE_CHECKING:
    from stt_edge.ear.survey import Found
    from stt_edge.service.device_level import Level
    from stt_edge.service.status import EarStatus

EPILOG: Final = """\
The first column is what to write into audio.device.
exit codes: 0 there is at least one device, 69 there is none"""

_DEFAULT_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 600.0
_TABLE_HEAD: Final = ("device", "what it is", "rates (kHz)", "channels", "level", "noise", "")

Measure = Callable[[str, float], "Level"]


@frozen
class Row:
    """What is known of one device."""

    found: Found
    state: str
    """``ok``, ``busy``, ``in use by stt-edge`` or ``failed``."""
    level_db: float | None = None
    """Loudness of the last second, dB full scale."""
    noise_db: float | None = None
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several daemons to ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=_DEFAULT_SECONDS,
        metavar="N",
        help="listen to each device for so long (default: 1)",
    )
    parser.add_argument("--no-level", action="store_true", help="only list, open nothing for long")


def run(args: argparse.Namespace) -> int:
    """List all devices; return the exit code. Raises DeviceError when there are none."""
    from stt_edge.ear.survey import survey
    from stt_edge.service.device_level import measure

    found = survey()
    if not found:
        raise DeviceError(
            FaultKind.ABSENT,
            "Nothing here can be captured.",
            "Plug in a microphone. In a container, pass it in: --device /dev/snd.",
        )
    ears = daemon_ears(args)
    with Progress() as progress:
        rows = []
        for number, device in enumerate(found, 1):
            progress.show(f"{number}/{len(found)} {device.name_to_set}")
            rows.append(look(device, ears, None if args.no_level else measure, args.seconds))
    if args.json:
        print_json({"devices": [as_json(row) for row in rows]})
    else:
        for line in render(rows):
            write_output(line)
    return ExitCode.OK


def look(found: Found, ears: Sequence[EarStatus], measure: Measure | None, seconds: float) -> Row:
    """Return what there is to know of a device; ``ears`` are those of the running daemons.

    The level of a device that a daemon has open is the daemon's own.
    """
    for ear in ears:
        if ear.device == found.target.description and ear.rate is not None:
            return Row(found, "in use by stt-edge", ear.level_db, ear.noise_db)
    if found.is_busy:
        return Row(found, "busy", problem=str(found.problem))
    if found.problem is not None:
        return Row(found, "failed", problem=str(found.problem))
    if measure is None:
        return Row(found, "ok")
    try:
        level = measure(found.target.pcm, seconds)
    except DeviceError as error:
        state = "busy" if error.kind is FaultKind.BUSY else "failed"
        return Row(found, state, problem=str(error))
    return Row(found, "ok", level.level_db, level.noise_db)


def daemon_ears(args: argparse.Namespace) -> list[EarStatus]:
    """Return how the running daemons hear that may be asked: the one meant, and all instances."""
    from stt_edge.service.control_client import ask
    from stt_edge.service.paths import find_all_sockets, find_sockets, instance_of
    from stt_edge.service.status import parse

    meant = find_sockets(instance_of(args.config, args.instance))
    ears = []
    for socket in dict.fromkeys((*meant, *find_all_sockets())):
        try:
            ears.append(parse(ask([socket], "status", timeout_s=2.0)).ear)
        except SttEdgeError:
            continue  # the list is right without it, but for a level
    return ears


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as ``--json`` has it. Keys are added, never renamed."""
    target, formats = row.found.target, row.found.formats
    card = target.card
    return {
        "device": row.found.name_to_set,
        "description": target.description,
        "pcm": target.pcm,
        "card_id": card.id if card else None,
        "card_number": card.number if card else None,
        "usb_path": card.usb_path if card else None,
        "rates": list(formats.rates) if formats else None,
        "channels": [formats.channels_min, formats.channels_max] if formats else None,
        "converts": row.found.converts,
        "state": row.state,
        "level_db": row.level_db,
        "noise_db": row.noise_db,
        "problem": row.problem or None,
    }


def render(rows: list[Row]) -> list[str]:
    """Return a table for a person, problems below it."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(_TABLE_HEAD, *cells, strict=True)]
    lines = [style(_line(_TABLE_HEAD, widths), "bold")]
    lines += [printable(_line(line, widths)) for line in cells]
    lines += [style(printable(f"! {row.problem}"), "yellow") for row in rows if row.problem]
    return lines


def _seconds(text: str) -> float:
    seconds = float(text)  # argparse makes a message of a ValueError
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_MOST_SECONDS:g}")
    return seconds


def _cells(row: Row) -> tuple[str, ...]:
    formats, target = row.found.formats, row.found.target
    rates = channels = "?"
    if formats:
        rates = " ".join(f"{rate / 1000:g}" for rate in formats.rates) or "?"
        channels = f"{formats.channels_min}-{formats.channels_max}"
        if formats.channels_min == formats.channels_max:
            channels = str(formats.channels_max)
    if row.found.converts:
        rates = "any"
    return (
        row.found.name_to_set,
        target.description if target.card else "defined in ALSA's configuration",
        rates,
        channels,
        "" if row.level_db is None else f"{row.level_db:.0f} dB",
        "" if row.noise_db is None else f"{row.noise_db:.0f} dB",
        "" if row.state == "ok" else row.state,
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
