"""The command ``scripts/faults``: options, one fault after the other, the table."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from scripts.lib.fault_kit.fault import Fault, FaultError, Outcome, chosen, discovered, undergo
from scripts.lib.sabotage.command import sabotage

MINUTES_VARIABLE = "STT_EDGE_SOAK_MINUTES"


def main(argv: list[str] | None = None) -> int:
    """Do what is asked; return the exit code."""
    arguments = _parser().parse_args(argv)
    # What a shell starts in the background ignores the first of them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # A daemon that is killed in its handshake is what is wanted here.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    if arguments.minutes:
        os.environ[MINUTES_VARIABLE] = str(arguments.minutes)
    try:
        if arguments.sabotage is not None:
            return sabotage(_listed(arguments.sabotage), as_json=arguments.json)
        there = discovered()
        faults = chosen(there, _listed(arguments.only)) if arguments.only else there
        return _go_through(faults, arguments)
    except FaultError as error:
        print(f"scripts/faults: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; everything that was started has been ended.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds of each; minutes in all")
    parser.add_argument("--only", metavar="F4,F9", help="these faults, in this order")
    parser.add_argument("--minutes", type=float, metavar="N", help="how long the soak (F21) lasts")
    parser.add_argument("--folder", type=Path, help="work there, and leave everything there")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the results as they come"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--sabotage",
        nargs="?",
        const="",
        metavar="NAME,...",
        help="take protections out of the program and see which test notices",
    )
    return parser


def _listed(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _go_through(faults: list[Fault], arguments: argparse.Namespace) -> int:
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="stt-edge-faults-"))
    outcomes: list[Outcome] = []
    try:
        for fault in faults:
            print(f"==> {fault.NAME}  {fault.TITLE}", file=sys.stderr, flush=True)
            work = folder / fault.NAME
            shutil.rmtree(work, ignore_errors=True)
            outcome = undergo(fault, work, quick=arguments.quick)
            print(f"    {_line(outcome)}", file=sys.stderr, flush=True)
            outcomes.append(outcome)
            if arguments.result:
                arguments.result.write_text(_as_json(outcomes))
    finally:
        missed = [outcome for outcome in outcomes if not outcome.held]
        if missed and not arguments.folder:
            print(f"What was left behind is in {folder}.", file=sys.stderr)
        elif not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(_as_json(outcomes) if arguments.json else _as_table(outcomes))
    return 1 if missed else 0


def _line(outcome: Outcome) -> str:
    return f"{'held' if outcome.held else 'MISSED'} in {outcome.took_s:.0f} s: {outcome.remark}"


def _as_table(outcomes: list[Outcome]) -> str:
    rows = ["| # | fault | result | figures |", "|---|---|---|---|"]
    for outcome in outcomes:
        remark = " ".join(outcome.remark.splitlines()[:1]).replace("|", "/")
        held = "held" if outcome.held else "**missed**"
        rows.append(f"| {outcome.name} | {outcome.title} | {held} | {remark} |")
    return "\n".join(rows)


def _as_json(outcomes: list[Outcome]) -> str:
    return json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n"
