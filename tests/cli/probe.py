"""A command for tests of the dispatcher: does what its argument says."""

from __future__ import annotations

import argparse
import os
import sys

from stt_edge.cli.common import Progress, print_json, write_output
from stt_edge.errors import ConfigError, ConfigProblem, TemporaryError

EPILOG = "examples:\n  stt-edge probe fine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what")
    parser.add_argument("--number", type=int)


def run(args: argparse.Namespace) -> int:
    if args.what == "fail":
        raise TemporaryError("the broker\x1b[2J sleeps.", "Wake it.")
    if args.what == "config":
        raise ConfigError(
            [ConfigProblem("a.yaml", 2, 3, "bad"), ConfigProblem("a.yaml", 1, 1, "x")]
        )
    if args.what == "interrupt":
        raise KeyboardInterrupt
    if args.what == "bug":
        raise OSError(5, "somewhere within")
    if args.what == "socket":
        raise BrokenPipeError(32, "of a socket")
    if args.what == "chatter":
        for number in range(100_000):
            write_output(f"line {number}")
    if args.what == "odd":
        write_output(os.fsdecode(b"caf\xe9.wav") + " Þjóð")
        print_json({"file": os.fsdecode(b"caf\xe9.wav")})
    if args.what == "progress":
        with Progress() as progress:
            progress.show("1/2 a\n.wav")
            progress.show("2/2 " + "b" * 200)
            progress.clear()
            sys.stderr.write("said between\n")
            progress.show("left over")
    write_output(f"{args.command} {args.what}")
    return 3
