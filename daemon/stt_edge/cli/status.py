"""``stt-edge status``: what the running daemon is doing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stt_edge.cli.common import (
    add_config_option,
    print_json,
    printable,
    style,
    write_output,
)
from stt_edge.errors import ExitCode

if TYPE_CHECKING:
    from stt_edge.service.status import EarStatus, ProviderStatus, StatusDocument

_MB = 1 << 20

EPILOG = """\
exit codes: 0 all is well, 1 something needs attention (it is said what), 69 not running,
75 running but not answering, 77 you may not ask (join the group stt-edge, or use sudo)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--instance", metavar="NAME", help="which of several microphones")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer; return the exit code."""
    from stt_edge.service.control_client import ask
    from stt_edge.service.paths import find_sockets, instance_of
    from stt_edge.service.status import parse

    body = ask(find_sockets(instance_of(args.config, args.instance)), "status")
    document = parse(body)
    if args.json:
        print_json(body)
    else:
        for line in render(document):
            write_output(line)
    return ExitCode.FAILED if document.problems else ExitCode.OK


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
    lines += [f"  {name:9} {printable(text)}" for name, text in rows]
    lines += [style(f"! {printable(problem)}", "yellow") for problem in document.problems]
    return lines


def _ear(ear: EarStatus) -> str:
    from stt_edge.service.status import duration

    parts = [f"{ear.state} for {duration(ear.since_s)}"]
    if ear.rate is not None:
        parts.append(f"{ear.device} at {ear.rate} Hz")
    if ear.level_db is not None and ear.noise_db is not None:
        parts.append(f"level {ear.level_db:.0f} dB, noise {ear.noise_db:.0f} dB")
    return ", ".join(parts)


def _heard(ear: EarStatus) -> str:
    return (
        f"{ear.openings} sounds like speech, {ear.rejections} of them rejected "
        f"({ear.second_stage_share:.1%} of the audio looked at twice), "
        f"{ear.gaps} gaps ({ear.lost_ms} ms lost), {ear.restarts} restarts"
    )


def _speech(document: StatusDocument) -> str:
    waiting = document.backlog
    speech = f"now, for {document.speech.seconds:.0f} s" if document.speech.open else "none now"
    if waiting.utterances:
        speech += f"; {waiting.utterances} utterances ({waiting.seconds:.0f} s) wait"
    return speech


def _providers(document: StatusDocument) -> list[tuple[str, str]]:
    in_use = document.provider.name
    told = [_provider(provider, in_use=in_use) for provider in document.providers] or ["none"]
    return [("" if at else "provider", text) for at, text in enumerate(told)]


def _provider(provider: ProviderStatus, *, in_use: str) -> str:
    state = provider.state.replace("-", " ")
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
    return f"{provider.name} {state}{connections}{today}"


def _store(document: StatusDocument) -> str:
    from stt_edge.service.status import duration

    age_s = document.store.last_record_age_s
    last = "" if age_s is None else f", the last {duration(age_s)} ago"
    used, allowed = document.store.used_bytes / _MB, document.store.max_bytes / _MB
    room = f"; {used:.1f} of {allowed:.0f} MB" if allowed else ""
    return f"{document.store.records} records{last}{room}"


def _sinks(document: StatusDocument) -> str:
    return ", ".join(
        f"{name} {sink.state}" + (f" ({sink.pending} wait)" if sink.pending else "")
        for name, sink in document.sinks.items()
    )
