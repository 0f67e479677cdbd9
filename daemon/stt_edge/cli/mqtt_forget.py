"""``stt-edge mqtt-forget``: take back what the broker retains about this node."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from stt_edge.cli.common import add_config_option, load_config, warn, write_output
from stt_edge.errors import ConfigError, ConfigProblem, ExitCode, SttEdgeError

if TYPE_CHECKING:
    from stt_edge.config.settings import Config
    from stt_edge.sinks.mqtt import Options

HELP: Final = """\
Empty every topic that the MQTT broker retains about this node: the announcements to Home Assistant
in both forms, which removes the device there, and all states. Transcripts are not retained."""
EPILOG: Final = """\
Stop the service first, or take mqtt out of its sinks: a running one announces itself again.

exit codes: 0 done; 69 the broker cannot be reached, or aiomqtt is not installed; 77 the broker or
a file refuses; 78 the configuration is wrong, or has no mqtt among its sinks"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    parser.add_argument("--node", metavar="NAME", help="a name the node had before")


def run(args: argparse.Namespace) -> int:
    """Empty the topics and list them."""
    import asyncio

    from stt_edge.sinks import registry

    config = load_config(args.config)
    options = _options(config)
    if missing := registry.missing("mqtt"):
        from stt_edge.errors import UnavailableError

        raise UnavailableError(f"The sink mqtt cannot be used: {missing}.")
    from stt_edge.sinks.mqtt_forget import forget

    _warn_if_running(args)
    topics = asyncio.run(forget(options, args.node or config.node))
    for topic in topics:
        write_output(topic)
    write_output(f"{len(topics)} topics are empty now on {options.url}.")
    return ExitCode.OK


def _options(config: Config) -> Options:
    for entry in config.sinks or ():
        if entry.name == "mqtt":
            options: Options = entry.options
            return options
    path = config.path or "the default configuration"
    raise ConfigError([ConfigProblem(path, 0, 0, "sinks: there is no mqtt to say which broker")])


def _warn_if_running(args: argparse.Namespace) -> None:
    """Say that what is emptied will come back, where a daemon publishes it."""
    from stt_edge.service.control_client import ask
    from stt_edge.service.paths import find_sockets, instance_of

    try:
        status = ask(find_sockets(instance_of(args.config, args.instance)), "status")
    except SttEdgeError:
        return
    if "mqtt" in status.get("sinks", {}):
        warn("stt-edge is running; what it publishes comes back when it next connects.")
