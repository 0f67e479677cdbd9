"""``stt-edge run``: the daemon, in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stt_edge.cli.common import add_config_option, config_path, load_config

if TYPE_CHECKING:
    from stt_edge.config.settings import Config
    from stt_edge.service.ear_starter import EarStarter
    from stt_edge.service.paths import Paths

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
    from stt_edge.service import garbage, landlock, logs
    from stt_edge.service.ear_starter import EarStarter
    from stt_edge.service.paths import daemon_paths, instance_of

    garbage.put_off()
    given: Path | None = args.config
    logs.configure(args.log_level)
    config = load_config(given)
    paths = daemon_paths(instance_of(config_path(given), args.instance))
    ear_starter = EarStarter()
    landlock.shut_main_out()
    _start_hearing(config, paths, ear_starter)

    import asyncio

    from stt_edge.service.daemon import Daemon

    daemon = Daemon(
        config,
        lambda: load_config(given),
        paths,
        ear_starter=ear_starter,
    )
    try:
        return asyncio.run(daemon.run())
    finally:
        logs.flush()


def _start_hearing(config: Config, paths: Paths, ear_starter: EarStarter) -> None:
    """Start the ear while there is still much to load: what is said before it hears is lost."""
    from stt_edge.service.mute_switch import MuteSwitch

    if config.audio.is_device and not MuteSwitch(paths.state).is_on():
        ear_starter.start_ahead(config.ear())
