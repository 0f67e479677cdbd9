"""``stt-edge status``: what the running daemon is doing."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from stt_edge.cli.common import (
    add_config_option,
    flush_output,
    is_terminal,
    print_json,
    printable,
    style,
    write_output,
)
from stt_edge.errors import ExitCode, SttEdgeError

if TYPE_CHECKING:
    from pathlib import Path

    from stt_edge.service.status import EarStatus, ProviderStatus, StatusDocument

_MOST_S: Final = 3600.0
_CLEAR_SCREEN: Final = "\033[H\033[J"
_COLOURS: Final = {
    "hearing": "green",
    "up": "green",
    "ok": "green",
    "starting": "yellow",
    "restarting": "yellow",
    "muting": "yellow",
    "muted": "yellow",
    "backing off": "yellow",
    "absent": "red",
    "busy": "red",
    "faulted": "red",
    "blocked": "red",
    "down": "red",
}
"""States that a terminal shows in colour; all others are plain."""
_MB = 1 << 20

EPILOG = """\
exit codes: 0 all is well, 1 something needs attention (it is said what), 69 not running,
75 running but not answering, 77 you may not ask (join the group stt-edge, or use sudo)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=1.0,
        metavar="N",
        help="ask again every N seconds (1), until Ctrl-C",
    )


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer; return the exit code."""
    from stt_edge.service.paths import find_sockets, instance_of

    sockets = find_sockets(instance_of(args.config, args.instance))
    if args.watch is None:
        return _show(sockets, as_json=args.json)
    while True:
        _begin_screen()
        try:
            _show(sockets, as_json=args.json)
        except BrokenPipeError:
            raise
        except SttEdgeError as error:  # it may come back
            write_output(style(printable(str(error)), "yellow"))
        flush_output()
        time.sleep(args.watch)


def _show(sockets: list[Path], *, as_json: bool) -> int:
    from stt_edge.service.control_client import ask
    from stt_edge.service.status import parse

    body: dict[str, Any] = ask(sockets, "status")
    document = parse(body)
    if as_json:
        print_json(body)
    else:
        for line in render(document):
            write_output(line)
    return ExitCode.FAILED if document.problems else ExitCode.OK


def _begin_screen() -> None:
    if is_terminal(sys.stdout):
        sys.stdout.write(_CLEAR_SCREEN)


def _seconds(text: str) -> float:
    seconds = float(text)  # argparse makes a message of a ValueError
    if not 0.1 <= seconds <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and {_MOST_S:g}")
    return seconds


def render(document: StatusDocument) -> list[str]:
    """Return the document as lines for a person."""
    from stt_edge.service.status import duration

    head = f"stt-edge {document.version} on {document.node}"
    lines = [
        style(printable(head), "bold")
        + f", process {document.pid}, running for {duration(document.uptime_s)}"
    ]
    rows = [
        ("ear", _ear(document.ear)),
        ("heard", _heard(document.ear)),
        ("speech", _speech(document)),
        *_providers(document),
        ("store", _store(document)),
        ("sinks", _sinks(document)),
    ]
    lines += [f"  {style(f'{name:9}', 'dim')} {text}" for name, text in rows]
    lines += [style(f"! {printable(problem)}", "yellow") for problem in document.problems]
    return lines


def _ear(ear: EarStatus) -> str:
    from stt_edge.service.status import duration

    parts = [f"{_state(ear.state)} for {duration(ear.since_s)}"]
    if ear.rate is not None:
        parts.append(printable(f"{ear.device} at {ear.rate} Hz"))
    if ear.level_db is not None and ear.noise_db is not None:
        parts.append(f"level {ear.level_db:.0f} dB, noise {ear.noise_db:.0f} dB")
    if ear.clipped_ms:
        parts.append(style(f"overdriven for {ear.clipped_ms / 1000:.1f} s of a minute", "yellow"))
    return ", ".join(parts)


def _state(state: str) -> str:
    return style(printable(state), _COLOURS[state]) if state in _COLOURS else printable(state)


def _heard(ear: EarStatus) -> str:
    return (
        f"{ear.openings} sounds like speech, {ear.rejections} of them rejected "
        f"({ear.second_stage_share:.1%} of the audio looked at twice), "
        f"{ear.gaps} gaps ({ear.lost_ms} ms lost), {ear.restarts} restarts"
    )


def _speech(document: StatusDocument) -> str:
    waiting = document.backlog
    speech = "none now"
    if document.speech.open:
        speech = style("now", "cyan") + f", for {document.speech.seconds:.0f} s"
    if waiting.utterances:
        speech += f"; {waiting.utterances} utterances ({waiting.seconds:.0f} s) wait"
    return speech


def _providers(document: StatusDocument) -> list[tuple[str, str]]:
    in_use = document.provider.name
    told = [_provider(provider, in_use=in_use) for provider in document.providers] or ["none"]
    return [("" if at else "provider", text) for at, text in enumerate(told)]


def _provider(provider: ProviderStatus, *, in_use: str) -> str:
    state = _state(provider.state.replace("-", " "))
    if provider.retry_in_s > 0:
        state += f", tried again in {provider.retry_in_s:.0f} s"
    if provider.name != in_use:
        state += ", not in use"
    connections = f" ({', '.join(provider.connections)})" if provider.connections else ""
    today = f"; today {provider.sent_s:.0f} s sent" if provider.sent_s else ""
    if provider.billed_s:
        today += f", {provider.billed_s:.0f} s billed"
    if provider.cost:
        today += f", about {provider.cost:.2f}"
    return f"{printable(provider.name)} {state}{printable(connections)}{today}"


def _store(document: StatusDocument) -> str:
    from stt_edge.service.status import duration

    age_s = document.store.last_record_age_s
    last = "" if age_s is None else f", the last {duration(age_s)} ago"
    used, allowed = document.store.used_bytes / _MB, document.store.max_bytes / _MB
    room = f"; {used:.1f} of {allowed:.0f} MB" if allowed else ""
    return f"{document.store.records} records{last}{room}"


def _sinks(document: StatusDocument) -> str:
    return ", ".join(
        f"{printable(name)} {_state(sink.state)}"
        + (f" ({sink.pending} wait)" if sink.pending else "")
        for name, sink in document.sinks.items()
    )
