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
    from stt_edge.service.doctor.finding import Finding

HELP: Final = "Look at everything that hearing and transcribing depend on; no audio is sent."
EPILOG: Final = """\
The microphone (which, its rate, its level), the rights to open it, the voice activity detection,
the clock, the disks, the store, the unit, who owns what, the sinks, and each provider up to the
moment it is ready. Nothing that is billed by the audio is sent; a provider that bills the time
connected is left at once. Beside a running service the microphone is not opened: the service is
asked.

Best run as root (sudo), who may see everything; what you may not see is said.

exit codes: 0 nothing fails (there may be warnings), 1 something does"""

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Look, and print what is found; returns the exit code."""
    from stt_edge.service import logs
    from stt_edge.service.doctor.finding import Level
    from stt_edge.service.doctor.threads import LooseThreads

    logs.configure("error")
    with asyncio.Runner() as runner:
        # One that hangs must not keep the program from ending.
        runner.get_loop().set_default_executor(LooseThreads())
        found = runner.run(_run(args))
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
        async for each in _findings(args, progress):
            finding = replace(each, message=redact(each.message), remedy=redact(each.remedy))
            found.append(finding)
            if not args.json:
                progress.clear()
                _print(finding)
        progress.clear()
    if not args.json:
        write_output(_summary(found))
    return found


async def _findings(args: argparse.Namespace, progress: Progress) -> AsyncIterator[Finding]:
    from stt_edge.service.doctor.case import look_around
    from stt_edge.service.doctor.checks import examine
    from stt_edge.service.doctor.finding import failing, well
    from stt_edge.service.paths import instance_of

    try:
        config = load_config(args.config)
    except ConfigError as error:
        for problem in error.problems:
            yield failing("configuration", str(problem), "Correct the file.")
        return
    yield well("configuration", f"{config.path or 'no file, defaults apply'}.")
    instance = instance_of(args.config, args.instance)
    case = await asyncio.to_thread(look_around, config, instance)

    def waiting_for(name: str) -> None:
        progress.show(f"looking at {name} …")

    async for finding in examine(case, waiting_for=waiting_for):
        yield finding


def _summary(found: list[Finding]) -> str:
    counts = {name: sum(finding.level.value == name for finding in found) for name in _COLOURS}
    text = f"{counts['ok']} well, {counts['warn']} doubtful, {counts['fail']} failing"
    return style(text, "bold")


def _print(finding: Finding) -> None:
    level = style(f"{finding.level.value:4}", _COLOURS[finding.level.value])
    write_output(f"{level}  {printable(f'{finding.name}: {finding.message}')}")
    if finding.remedy:
        write_output(f"      {printable(finding.remedy)}")
    flush_output()
