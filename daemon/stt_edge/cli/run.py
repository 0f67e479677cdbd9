"""``stt-edge run``: the daemon, in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stt_edge.cli.common import add_config_option, config_path, load_config

if TYPE_CHECKING:
    from stt_edge.service.ear_starter import EarStarter

HELP = "Listen, transcribe and write records, in the foreground, until SIGTERM or Ctrl-C."
EPILOG = """\
signals:
  SIGTERM, SIGINT   end: what has been said is transcribed first; a second one does not wait
  SIGHUP            read the configuration again

exit codes:
  0   ended as asked, or audio.file came to its end
  69  another daemon has the state directory, or something needed is missing
  77  the system does not permit it
  78  the configuration is wrong"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from stt_edge.service.logs import LEVELS

    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="a name, where there are several")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")


def run(args: argparse.Namespace) -> int:
    """Run the daemon; returns its exit code."""
    from stt_edge.service.ear_starter import EarStarter

    # Both have much to load: the ear begins with it, and hears while main still does.
    ear_starter = EarStarter()
    ear_starter.prepare()
    try:
        return _run_daemon(args, ear_starter)
    finally:
        ear_starter.drop()


def _run_daemon(args: argparse.Namespace, ear_starter: EarStarter) -> int:
    from stt_edge.service import garbage, landlock, logs
    from stt_edge.service.mute_switch import MuteSwitch
    from stt_edge.service.paths import daemon_paths, instance_of

    garbage.put_off()
    given: Path | None = args.config
    logs.configure(args.log_level)
    config = load_config(given)
    paths = daemon_paths(instance_of(config_path(given), args.instance))
    if config.audio.is_device and not MuteSwitch(paths.state).is_on():
        ear_starter.begin_ahead(config.ear())
    landlock.shut_main_out()

    import asyncio

    from stt_edge.service.daemon import Daemon

    daemon = Daemon(config, lambda: load_config(given), paths, ear_starter=ear_starter)
    try:
        return asyncio.run(daemon.run())
    finally:
        logs.flush()
