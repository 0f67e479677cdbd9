"""``stt-edge check-config``: report every mistake in a configuration file at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stt_edge.cli.common import config_path, load_config, print_json, printable, write_output
from stt_edge.errors import ConfigError, ConfigProblem, ExitCode, ProviderError, SttEdgeError

if TYPE_CHECKING:
    from stt_edge.config.settings import Config

HELP: Final = "Report every mistake in a configuration file, each with its line and column."
EPILOG: Final = """\
exit codes: 0 the file is good, or there is none and defaults apply; 77 it may not be read;
78 it is wrong. Warnings (a key file that this user cannot read, a card named by its number) do not
count."""

_BY_NUMBER: Final = re.compile(r"(?:plug)?hw:(?:CARD=)?\d+(?:,|$)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the file, and --json."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="configuration file (default: /etc/stt-edge.yaml, where there is one)",
    )
    which.add_argument("-c", "--config", type=Path, metavar="FILE", help="the same")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the problems, or that there are none."""
    given: Path | None = args.file or args.config
    path = config_path(given)
    problems = _problems(given, path)
    doubts = [] if problems else list(_doubts(load_config(given)))
    if args.json:
        body = {"path": path, "ok": not problems, "problems": problems, "warnings": doubts}
        print_json(body)
    else:
        for line in (*_lines(path, problems), *(f"warning: {doubt}" for doubt in doubts)):
            write_output(printable(line))
    return ExitCode.CONFIG if problems else ExitCode.OK


def _problems(given: Path | None, path: Path | None) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the file, or else with providers built as it says."""
    from stt_edge.service.provider_set import ProviderSet

    try:
        ProviderSet().apply(load_config(given, check_files=True))
    except ConfigError as error:
        return error.problems
    except ProviderError as error:
        return (ConfigProblem(str(path or "the default configuration"), 0, 0, str(error)),)
    return ()


def _doubts(config: Config) -> Iterator[str]:
    """Return what is right as it is written and may not work, each with what to do about it."""
    from stt_edge.providers.secret_file import SecretFile

    device = config.audio.device
    if _BY_NUMBER.match(device):
        yield (
            f"audio.device: {device} names a card by its number, which may change at every boot. "
            "Name it by its id: stt-edge devices."
        )
    for entry in config.providers:
        named = getattr(entry.options, "api_key_file", None)
        if named is None or _is_credential(named):
            continue
        try:
            SecretFile(named).read()
        except SttEdgeError as error:
            yield f"provider {entry.name}: {error}"


def _is_credential(name: str) -> bool:
    """Return whether it names a systemd credential, which only the service sees."""
    return "/" not in name and not name.startswith("~")


def _lines(path: Path | None, problems: tuple[ConfigProblem, ...]) -> list[str]:
    if problems:
        return [str(problem) for problem in problems]
    if path is None:
        from stt_edge.config.loader import DEFAULT_PATH

        return [f"no configuration file at {DEFAULT_PATH}: defaults apply"]
    return [f"{path}: OK"]
