"""``stt-edge check-config``: report every mistake in a configuration file at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from stt_edge.cli.common import config_path, load_config, print_json, printable, write_output
from stt_edge.errors import ConfigError, ConfigProblem, ExitCode, ProviderError

HELP: Final = "Report every mistake in a configuration file, each with its line and column."
EPILOG: Final = """\
exit codes: 0 the file is good, or there is none and defaults apply; 77 it may not be read;
78 it is wrong"""


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
    if args.json:
        print_json({"path": path, "ok": not problems, "problems": problems})
    else:
        for line in _lines(path, problems):
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


def _lines(path: Path | None, problems: tuple[ConfigProblem, ...]) -> list[str]:
    if problems:
        return [str(problem) for problem in problems]
    if path is None:
        from stt_edge.config.loader import DEFAULT_PATH

        return [f"no configuration file at {DEFAULT_PATH}: defaults apply"]
    return [f"{path}: OK"]
