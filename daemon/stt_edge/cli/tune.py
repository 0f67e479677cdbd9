"""``stt-edge tune``: where the gate would open in recordings, and why."""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING, Any

from stt_edge.cli.common import (
    Progress,
    add_config_option,
    flush_output,
    load_config,
    print_json,
    printable,
    style,
    warn,
    warn_unusable,
    write_output,
)
from stt_edge.errors import InputError
from stt_edge.model import samples_to_s

if TYPE_CHECKING:
    from stt_edge.ear.examine import Examination

HELP = "Show where the gate would open in recordings, and why; nothing is transcribed."
EPILOG = """\
Both stages are shown: what would be handed to a provider, and what the first stage let through and
the second did not confirm. Change vad: in a file and name it with -c to see the difference.
--json prints one object a file. A file that cannot be used is named, the others are examined, and
the exit code is 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings of any kind")
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a file")


def run(args: argparse.Namespace) -> int:
    """Examine the recordings; returns the exit code."""
    from stt_edge.ear.examine import examine

    config = load_config(args.config)
    found: list[Examination] = []
    failed: list[str] = []
    with Progress() as progress:
        for number, path in enumerate(args.files, 1):
            line = _Line(progress, f"{number}/{len(args.files)} {path}")
            try:
                result = examine(path, config.vad.gate(), config.audio.channel, line.show)
            except InputError as error:
                failed.append(path)
                progress.clear()
                warn(str(error))
                continue
            progress.clear()
            if result.warning:
                warn(result.warning)
            found.append(result)
            print_json(_as_json(result)) if args.json else _print(result)
    if len(found) > 1 and not args.json:
        _print_total(found)
    return warn_unusable(failed, len(args.files))


class _Line:
    """The progress line of one file."""

    def __init__(self, progress: Progress, where: str) -> None:
        self._progress = progress
        self._where = where
        progress.show(where)

    def show(self, seconds: float) -> None:
        self._progress.show(f"{self._where}: {seconds:.0f} s heard")


def _as_json(found: Examination) -> dict[str, Any]:
    return {
        "file": found.file,
        "seconds": found.seconds,
        "segments": [
            {
                "start": samples_to_s(segment.start),
                "end": samples_to_s(segment.end),
                "reason": segment.reason.value,
                "mean_db": round(segment.mean_db, 1),
            }
            for segment in found.segments
        ],
        "billed_seconds": found.billed_s,
        "first_stage_openings": found.first_stage_openings,
        "second_stage_share": round(found.second_stage_share, 4),
        "refusals": [
            {
                "start": samples_to_s(refusal.start),
                "end": samples_to_s(refusal.end),
                "level_db": round(refusal.level_db, 1),
            }
            for refusal in found.refusals
        ],
    }


def _print(found: Examination) -> None:
    write_output(style(printable(found.file), "bold") + f"  {found.seconds:.2f} s")
    decisions = [
        (
            segment.start,
            _decision(segment.start, segment.end, style("open    ", "green"), segment.mean_db)
            + f"ends by {segment.reason.value}",
        )
        for segment in found.segments
    ]
    # Several questions about the same sound are one line.
    for start, asked in itertools.groupby(found.refusals, lambda refusal: refusal.start):
        refusals = list(asked)
        level_db = max(refusal.level_db for refusal in refusals)
        what = style("rejected", "yellow")
        times = f", asked {len(refusals)} times" if len(refusals) > 1 else ""
        line = _decision(start, refusals[-1].end, what, level_db)
        decisions.append((start, f"{line}the second stage heard no speech{times}"))
    for _, line in sorted(decisions):
        write_output(line)
    write_output(f"  {_sums([found])}")
    flush_output()


def _print_total(found: list[Examination]) -> None:
    seconds = sum(each.seconds for each in found)
    write_output(style(f"{len(found)} files", "bold") + f"  {seconds:.2f} s")
    write_output(f"  {_sums(found)}")
    flush_output()


def _sums(found: list[Examination]) -> str:
    segments = sum(len(each.segments) for each in found)
    billed_s = sum(each.billed_s for each in found)
    openings = sum(each.first_stage_openings for each in found)
    samples = sum(each.samples for each in found)
    share = sum(each.confirm_samples for each in found) / samples if samples else 0.0
    return (
        f"{segments} utterances, {billed_s:.2f} s billed; the first stage let through {openings}, "
        f"the second listened {share:.1%} of the time"
    )


def _decision(start: int, end: int, what: str, level_db: float) -> str:
    span = f"{samples_to_s(start):8.2f} – {samples_to_s(end):8.2f} s"
    return f"  {span}  {what}  {level_db:6.1f} dB  "
