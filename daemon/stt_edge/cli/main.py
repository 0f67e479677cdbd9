"""``stt-edge``: finds the command, imports its module and no other, and reports what goes wrong.

A command's module has ``add_arguments(parser)`` and ``run(args) -> exit code``, and may have
``HELP`` and ``EPILOG``, texts for its ``--help``. ``args.command`` is the name that was typed.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import select
import sys
from types import ModuleType
from typing import Final

from stt_edge import __version__
from stt_edge.cli.common import flush_output, printable, warn
from stt_edge.errors import ConfigError, ExitCode, SttEdgeError
from stt_edge.frozen import frozen

INTERRUPTED: Final = 130
"""128 + SIGINT, as a shell reports it."""

BROKEN_PIPE: Final = 141
"""128 + SIGPIPE: whoever read our output has had enough."""


@frozen
class Command:
    """Where a command lives, and the line that ``stt-edge --help`` has for it."""

    module: str
    summary: str


COMMANDS: Final = {
    "run": Command("stt_edge.cli.run", "listen and transcribe, in the foreground"),
    "check-config": Command("stt_edge.cli.check_config", "report every mistake in a configuration"),
    "config": Command("stt_edge.cli.config", "print the configuration in effect, secrets masked"),
    "devices": Command("stt_edge.cli.devices", "list what can be captured"),
    "transcribe": Command("stt_edge.cli.transcribe", "transcribe recordings"),
    "tune": Command("stt_edge.cli.tune", "show where the gate would open in recordings, and why"),
    "providers": Command("stt_edge.cli.providers", "list what can transcribe, and what it bills"),
    "doctor": Command("stt_edge.cli.doctor", "look at what transcribing depends on"),
    "tail": Command("stt_edge.cli.tail", "print transcripts, and follow them"),
    "forget": Command("stt_edge.cli.forget", "delete what was said before a moment"),
    "status": Command("stt_edge.cli.status", "tell what the running daemon is doing"),
    "spool": Command("stt_edge.cli.spool", "list, replay, export or delete audio that waits"),
    "mute": Command("stt_edge.cli.mute", "close the microphone, also across restarts"),
    "unmute": Command("stt_edge.cli.unmute", "open the microphone again"),
    "mqtt-forget": Command(
        "stt_edge.cli.mqtt_forget", "take back what the MQTT broker retains about this node"
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command that ``argv`` (default: the process's) asks for; return its exit code."""
    _tolerate_odd_characters()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        flush_output()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        if _somebody_reads():
            raise
        _discard_output()
        return BROKEN_PIPE
    except SttEdgeError as error:
        code = _report(error)
        _flush_or_discard()
    return code


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of one of COMMANDS, for what is written about it elsewhere."""
    command = COMMANDS[name]
    return _parser_of(name, command, importlib.import_module(command.module))


def _run(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        return _without_command(argv)
    command = COMMANDS.get(argv[0])
    if command is None:
        return _unknown_command(argv[0])
    module = importlib.import_module(command.module)
    try:
        args = _parser_of(argv[0], command, module).parse_args(argv[1:])
    except SystemExit as leaving:  # argparse has printed its help, or what is wrong
        return _code_of(leaving)
    return int(module.run(args))


def _parser_of(name: str, command: Command, module: ModuleType) -> argparse.ArgumentParser:
    summary = command.summary
    parser = argparse.ArgumentParser(
        prog=f"stt-edge {name}",
        description=getattr(module, "HELP", f"{summary[0].upper()}{summary[1:]}."),
        epilog=getattr(module, "EPILOG", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name)
    module.add_arguments(parser)
    return parser


def _without_command(argv: list[str]) -> int:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:{width}}  {each.summary}" for name, each in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="stt-edge",
        usage="stt-edge [-h] [--version] COMMAND ...",
        description="A voice-capture daemon: hears, gates, transcribes, and keeps what was said.",
        epilog=f"commands:\n{listing}\n\n'stt-edge COMMAND --help' tells more about one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stt-edge {__version__}")
    try:
        parser.parse_args(argv)
    except SystemExit as leaving:
        return _code_of(leaving)
    parser.print_help(sys.stderr)
    return ExitCode.USAGE


def _unknown_command(name: str) -> int:
    from stt_edge.config.suggest import closest

    best = closest(name, COMMANDS)
    hint = f"did you mean {best}?" if best else "stt-edge --help lists what there is."
    warn(f"there is no command {name!r}; {hint}")
    return ExitCode.USAGE


def _code_of(leaving: SystemExit) -> int:
    return leaving.code if isinstance(leaving.code, int) else ExitCode.OK


def _report(error: SttEdgeError) -> int:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            print(printable(str(problem)), file=sys.stderr)
    else:
        warn(error.message)
        if error.remedy:
            print(printable(error.remedy), file=sys.stderr)
    return error.exit_code


def _tolerate_odd_characters() -> None:
    """Let no file name and no transcript end the program, whatever the terminal can show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _somebody_reads() -> bool:
    """Return whether standard output leads anywhere; the broken pipe was then another one."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are always reported
    return not poll.poll(0)


def _flush_or_discard() -> None:
    """Write what was printed before a failure; where that fails too, one failure was told."""
    try:
        flush_output()
    except (SttEdgeError, BrokenPipeError):
        _discard_output()


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter has no complaint at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
