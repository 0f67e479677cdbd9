"""``stt-edge doctor``: what is well, what is not, and what to do about it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stt_edge.cli.common import (
    Progress,
    add_config_option,
    flush_output,
    load_config,
    print_json,
    printable,
    style,
    write_output,
)
from stt_edge.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from stt_edge.service.doctor import Finding

HELP: Final = "Look at everything that transcribing depends on; no audio is sent."
EPILOG: Final = """\
For each provider: its package and model, the key file, the name lookup, the connection and its
certificate, the clock, and how long it takes until it is ready. Nothing that is billed by the audio
is sent; a provider that bills the time connected is left at once.

exit codes: 0 nothing fails (there may be warnings), 1 something does"""

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Look, and print what is found; returns the exit code."""
    from stt_edge.service import logs
    from stt_edge.service.doctor import Level

    logs.configure("error")
    found = asyncio.run(_run(args))
    logs.flush()
    well = all(finding.level is not Level.FAIL for finding in found)
    if args.json:
        print_json({"ok": well, "findings": found})
    return ExitCode.OK if well else ExitCode.FAILED


async def _run(args: argparse.Namespace) -> list[Finding]:
    from stt_edge.redaction import redact

    found: list[Finding] = []
    with Progress() as progress:
        progress.show("looking …")
        async for each in _findings(args.config):
            finding = replace(each, message=redact(each.message), remedy=redact(each.remedy))
            found.append(finding)
            if not args.json:
                progress.clear()
                _print(finding)
                progress.show("looking …")
    return found


async def _findings(path: Path | None) -> AsyncIterator[Finding]:
    from stt_edge.service.doctor import Finding, Level, examine

    try:
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", Level.FAIL, str(problem), "Correct the file.")
        return
    yield Finding("configuration", Level.OK, f"{config.path or 'no file, defaults apply'}.")
    async for finding in examine(config):
        yield finding


def _print(finding: Finding) -> None:
    level = style(f"{finding.level.value:4}", _COLOURS[finding.level.value])
    write_output(f"{level}  {printable(f'{finding.name}: {finding.message}')}")
    if finding.remedy:
        write_output(f"      {printable(finding.remedy)}")
    flush_output()
