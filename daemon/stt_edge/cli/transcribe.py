"""``stt-edge transcribe``: recordings through the same gate, log, session and store."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from stt_edge.cli.common import (
    Progress,
    add_config_option,
    flush_output,
    load_config,
    print_json,
    printable,
    style,
    warn,
    write_output,
)
from stt_edge.errors import ExitCode, InputError
from stt_edge.model import Record, samples_to_s

HELP = "Transcribe recordings: any format, rate and number of channels."
EPILOG = """\
One line a record; --json prints one object a record, with start and end in seconds of its file.
A file that cannot be used is named, the others are transcribed, and the exit code is 1.

exit codes:
  0   every file was transcribed
  1   a file could not be used
  75  the provider stayed away longer than --give-up
  77  the provider refuses (key, account, model)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings")
    add_config_option(parser)
    parser.add_argument("--provider", metavar="NAME", help="in place of the first configured one")
    parser.add_argument("--json", action="store_true", help="one JSON object a record")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there, not to stdout")
    parser.add_argument(
        "--give-up",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long the provider may be away (default: 600)",
    )


def run(args: argparse.Namespace) -> int:
    """Transcribe; returns the exit code."""
    import asyncio

    from stt_edge.service import logs

    logs.configure("warning")
    try:
        return asyncio.run(_run(args))
    finally:
        logs.flush()


async def _run(args: argparse.Namespace) -> int:
    failed: list[str] = []
    with Progress() as progress, _output(args.output):
        async for path, outcome in _transcribe(args, progress):
            progress.clear()
            if isinstance(outcome, InputError):
                failed.append(path)
                warn(str(outcome))
                continue
            for record in outcome:
                _print(path, record, args)
    if failed:
        warn(f"{len(failed)} of {len(args.files)} files could not be used: {', '.join(failed)}")
        return ExitCode.FAILED
    return ExitCode.OK


async def _transcribe(
    args: argparse.Namespace, progress: Progress
) -> AsyncIterator[tuple[str, list[Record] | InputError]]:
    from stt_edge.providers import registry
    from stt_edge.service.transcription import Transcription, choose

    config = choose(load_config(args.config), args.provider)
    (entry, *_) = config.providers
    provider = registry.build(entry.name, entry.kind, entry.options)
    number = 0

    def show(text: str) -> None:
        progress.show(f"{number}/{len(args.files)} {text}")

    job = Transcription(config, provider, give_up_s=args.give_up, progress=show)
    async with job.open():
        for number, path in enumerate(args.files, 1):  # noqa: B007  show() reads it
            show(path)
            try:
                outcome: list[Record] | InputError = await job.transcribe(path)
            except InputError as error:
                outcome = error
            yield path, outcome


def _print(path: str, record: Record, args: argparse.Namespace) -> None:
    if args.json:
        print_json(_as_json(path, record))
        return
    start, end = (_clock(samples) for samples in (record.start_sample, record.end_sample))
    name = f"{path}: " if len(args.files) > 1 else ""
    write_output(style(f"{name}[{start} – {end}]", "dim") + f" {printable(record.text)}")
    flush_output()


def _as_json(path: str, record: Record) -> dict[str, Any]:
    from stt_edge.record_json import record_to_json

    body = record_to_json(record)
    body.update(
        file=path, start=samples_to_s(record.start_sample), end=samples_to_s(record.end_sample)
    )
    return {"file": body.pop("file"), **body}


def _clock(samples: int) -> str:
    """Return ``1:02:03.4``, without the hours where there are none."""
    tenths = round(samples_to_s(samples) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{text}" if hours else text


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[None]:
    """Have what is printed written to a file, where one was named."""
    if path is None:
        yield
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "Name another --output.") from error
    with file, contextlib.redirect_stdout(file):
        yield
