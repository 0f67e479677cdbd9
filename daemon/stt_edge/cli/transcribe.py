"""``stt-edge transcribe``: recordings through the same gate, log, session and store."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stt_edge.cli.common import Progress, add_config_option, load_config, warn, warn_unusable
from stt_edge.cli.transcribe_order import Teller, in_order
from stt_edge.cli.transcribe_output import FORMATS, open_output

if TYPE_CHECKING:
    from stt_edge.config.settings import Config
    from stt_edge.providers.base import Provider

HELP = "Transcribe recordings of any format, rate, length and number of channels."
EPILOG = """\
formats: text, a line a record; jsonl, an object a record, with start and end in seconds of its
file; json, an array of the same objects; srt and vtt, captions.

A run that was stopped or killed goes on where it was when the same command is given again: what has
its result on disk is not sent again. --fresh starts over.
A file that cannot be used is named, the others are transcribed, and the exit code is 1.

exit codes:
  0   every file was transcribed
  1   a file could not be used
  69  the provider cannot be set up, or another run works on the same file
  75  the provider stayed away longer than --give-up
  77  the provider refuses (key, account, model)
  130 stopped by Ctrl-C"""

_MOST_JOBS: Final = 64
_AHEAD: Final = 2
"""So many recordings more than connections are in hand: one is heard while others are sent."""
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 60.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="recordings, or gs://bucket/object"
    )
    add_config_option(parser)
    parser.add_argument("--provider", metavar="NAME", help="in place of the first configured one")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument(
        "--json", dest="format", action="store_const", const="jsonl", help="as --format jsonl"
    )
    parser.add_argument(
        "--output",
        type=_output,
        metavar="FILE|DIR",
        help="write there, not to stdout; a directory (or DIR/) gets a file for each recording",
    )
    parser.add_argument(
        "--jobs", type=_jobs, metavar="N", help="connections at a time (default: the provider's)"
    )
    parser.add_argument(
        "--no-gate", action="store_true", help="send recordings whole, silence and all"
    )
    parser.add_argument(
        "--give-up",
        type=_give_up,
        default=600.0,
        metavar="MIN",
        help="how long the provider may be away: minutes, or 90s, 2h (default: 10)",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what a stopped run has done")
    parser.add_argument(
        "--bucket",
        metavar="NAME",
        help="have Google read the recordings from this bucket: upload, transcribe, delete",
    )


def run(args: argparse.Namespace) -> int:
    """Transcribe; returns the exit code."""
    from stt_edge.service import logs

    logs.configure("warning")
    try:
        return asyncio.run(_run(args))
    except KeyboardInterrupt:
        warn("stopped. The same command goes on from here.")
        raise
    finally:
        logs.flush()


async def _run(args: argparse.Namespace) -> int:
    from stt_edge.cli import transcribe_objects
    from stt_edge.service.transcription import choose

    config = load_config(args.config)
    with (
        Progress() as progress,
        open_output(args.format, args.output, args.files) as output,
    ):
        teller = Teller(output, progress, len(args.files))
        if args.bucket is not None or any(map(transcribe_objects.is_object, args.files)):
            await transcribe_objects.transcribe(config, args, teller)
        else:
            await _transcribe(choose(config, args.provider), args, teller)
        output.finish()
        progress.clear()
        return warn_unusable(teller.failed, len(args.files))


async def _transcribe(config: Config, args: argparse.Namespace, teller: Teller) -> None:
    from stt_edge.providers import registry
    from stt_edge.service.paths import daemon_paths
    from stt_edge.service.transcription import Transcription

    (entry,) = config.providers
    provider = registry.build(entry.name, entry.kind, entry.options)
    run = Transcription(
        config,
        provider,
        give_up_s=args.give_up,
        progress=teller.progress,
        warn=teller.warn,
        connections=_connections(provider, args.jobs, teller.warn),
        gated=not args.no_gate,
        jobs=daemon_paths(None).state / "transcribe",
        fresh=args.fresh,
    )
    async with run.open():
        await in_order(run.transcribe, args.files, run.connections + _AHEAD, teller)


def _connections(provider: Provider, wanted: int | None, tell: Callable[[str], None]) -> int | None:
    """Return how many connections to use; a local engine cannot be told to be several."""
    allowed = provider.capabilities.max_connections
    if wanted is None or not provider.capabilities.local or wanted <= allowed:
        return wanted
    tell(f"{provider.name} works on {allowed} utterance at a time; --jobs is not heeded.")
    return None


def _output(text: str) -> Path:
    """Return the path; a slash at its end, which a Path would drop, makes a directory of it."""
    path = Path(text)
    if text.endswith("/") and not path.exists():
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    return path


def _jobs(text: str) -> int:
    number = int(text)  # argparse makes a message of a ValueError
    if not 1 <= number <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {_MOST_JOBS}")
    return number


def _give_up(text: str) -> float:
    """Return seconds: of minutes, or of a number with the unit s, m or h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no time, such as 10 (minutes), 90s or 2h")
    return float(match[1]) * _UNITS[match[2]]
