"""``stt-edge config``: print the configuration in effect, secrets masked."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Final

from stt_edge.cli.common import add_config_option, load_config, print_json, printable, write_output
from stt_edge.errors import ExitCode

HELP: Final = "Print the configuration in effect: what the file says, and every default."
EPILOG: Final = "Where the file names no sinks, those of the systemd service are shown."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare -c and --json."""
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the configuration. Raises ConfigError, or PermissionDeniedError."""
    from stt_edge.config import render
    from stt_edge.config.loader import default_sinks
    from stt_edge.sinks import registry

    config = load_config(args.config)
    if config.sinks is None:
        config = replace(config, sinks=default_sinks(registry, under_systemd=True))
    if args.json:
        print_json({"path": config.path, **render.as_mapping(config)}, indent=2)
    else:
        write_output(printable(render.as_text(config)))
    return ExitCode.OK
