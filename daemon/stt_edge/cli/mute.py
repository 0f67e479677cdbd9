"""``stt-edge mute`` and ``stt-edge unmute``."""

from __future__ import annotations

import argparse

from stt_edge.cli.common import add_config_option, warn, write_output
from stt_edge.errors import ExitCode

EPILOG = """\
mute closes the sound device and remembers it: the service starts muted until unmute, also after a
reboot. What was said before is still transcribed.

exit codes: 0 done, or it was so already; 69 the service is not running and never was;
75 the device could not be closed; 77 you may not (join the group stt-edge, or use sudo)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of both commands."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")


def run(args: argparse.Namespace) -> int:
    """Mute or unmute; return the exit code."""
    from stt_edge.service.control_client import NotRunningError, ask
    from stt_edge.service.paths import find_sockets, instance_of

    on = args.command == "mute"
    instance = instance_of(args.config, args.instance)
    try:
        answer = ask(find_sockets(instance), args.command)
    except NotRunningError as error:
        _remember(instance, error, on=on)
        return ExitCode.OK
    if on:
        text = "Muted: the microphone is closed." if answer["changed"] else "Muted already."
    else:
        text = "Unmuted: the microphone is opened." if answer["changed"] else "It was not muted."
    write_output(text)
    if answer.get("warning"):
        warn(answer["warning"])
    return ExitCode.OK


def _remember(instance: str | None, not_running: Exception, *, on: bool) -> None:
    """Change what the service will find at its next start. Raises when it never ran here."""
    from stt_edge.service.mute_switch import MuteSwitch
    from stt_edge.service.paths import find_state

    state = find_state(instance)
    if not state.is_dir():
        raise not_running  # a mute kept where no service looks would be a lie
    MuteSwitch(state).set(on=on)
    what = "muted" if on else "unmuted"
    write_output(f"stt-edge is not running; it will start {what} (kept in {state}).")
