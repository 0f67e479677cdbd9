"""``stt-edge providers``: what can transcribe, what is installed, and what it bills."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from stt_edge.cli.common import print_json, printable, style, write_output
from stt_edge.errors import ExitCode, ProviderError
from stt_edge.extras import install_command
from stt_edge.frozen import frozen

if TYPE_CHECKING:
    from stt_edge.providers.base import Capabilities

EPILOG: Final = """\
Nothing is connected to, and no engine is loaded. What a provider can do depends on its options in
part; these are the defaults. partials: text while somebody speaks; times: of words, of parts of an
utterance, or none; finalize: can end an utterance and keep the connection; hold: how long a
connection may be kept between utterances at no cost."""

_TABLE_HEAD: Final = (
    "provider",
    "installed",
    "where",
    "partials",
    "times",
    "confidence",
    "finalize",
    "hold",
    "bills",
)


@frozen
class Row:
    """What is known of one provider without using it."""

    name: str
    extra: str | None
    """The extra of the package that it needs; None for none."""
    missing: tuple[str, ...]
    """Python packages it needs and that are not installed."""
    capabilities: Capabilities | None
    """With default options; None where its module does not say."""
    problem: str = ""

    @property
    def installed(self) -> bool:
        """Whether it could be used, as far as packages go."""
        return not (self.missing or self.problem)

    @property
    def install(self) -> str | None:
        """The command that installs what is missing; None when nothing is, or nobody knows how."""
        if self.installed or self.extra is None:
            return None
        return install_command(self.extra)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List the providers; returns the exit code."""
    from stt_edge.providers import registry

    rows = [look(name) for name in registry.names()]
    if args.json:
        print_json({"providers": [as_json(row) for row in rows]})
    else:
        for line in render(rows):
            write_output(line)
    return ExitCode.OK


def look(name: str) -> Row:
    """Return what a provider's module says of itself: CAPABILITIES, EXTRA and PACKAGES."""
    from stt_edge.providers import registry

    try:
        module, lacking = registry.module(name), registry.lacking(name)
    except ProviderError as error:
        return Row(name, None, (), None, str(error))
    extra, known = getattr(module, "EXTRA", None), getattr(module, "CAPABILITIES", None)
    return Row(name, extra, lacking, known)


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as ``--json`` has it. Keys are added, never renamed."""
    known = row.capabilities
    return {
        "name": row.name,
        "installed": row.installed,
        "extra": row.extra,
        "missing": list(row.missing),
        "install": row.install,
        "local": known.local if known else None,
        "capabilities": {
            "partials": known.partials,
            "times": known.part_times.value,
            "confidence": known.confidence,
            "finalize": known.finalize,
            "hold_s": known.hold_s,
            "max_connections": known.max_connections,
            "max_session_s": known.max_session_s,
            "max_utterance_s": known.max_utterance_s,
            "whole_file": known.whole_file,
            "resumable": known.resumable,
        }
        if known
        else None,
        "billing": {
            "for": known.billing.value,
            "minimum_s": known.minimum_billed_s,
            "rule": billing_rule(known),
        }
        if known
        else None,
        "problem": row.problem or None,
    }


def billing_rule(known: Capabilities) -> str:
    """Return what is paid for, in words."""
    from stt_edge.providers.base import Billing

    least = known.minimum_billed_s
    at_least = f", at least {least:g} s a session" if least else ""
    match known.billing:
        case Billing.NOTHING:
            return "nothing"
        case Billing.AUDIO:
            return f"audio sent{at_least}"
        case Billing.SESSION:
            return f"time connected, speech or not{at_least}"


def render(rows: list[Row]) -> list[str]:
    """Return a table for a person, what to install and what is wrong below it."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(_TABLE_HEAD, *cells, strict=True)]
    lines = [style(_line(_TABLE_HEAD, widths), "bold")]
    lines += [
        style(printable(_line(line, widths)), *(() if row.installed else ("dim",)))
        for row, line in zip(rows, cells, strict=True)
    ]
    lines += [printable(f"{row.name}: {row.install}") for row in rows if row.install]
    lines += [style(printable(f"! {row.problem}"), "yellow") for row in rows if row.problem]
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    installed = "yes" if row.installed else "no"
    known = row.capabilities
    if known is None:
        return (row.name, installed, *"?" * (len(_TABLE_HEAD) - 2))
    return (
        row.name,
        installed,
        "local" if known.local else "network",
        _yes(known.partials),
        known.part_times.value,
        _yes(known.confidence),
        _yes(known.finalize),
        f"{known.hold_s:g} s" if known.finalize and known.hold_s else "no",
        billing_rule(known),
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
