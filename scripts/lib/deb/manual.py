"""stt-edge(1) and stt-edge.yaml(5): what frames them is written here, the rest is read.

Commands and their options come from the parsers of the command line; keys, their defaults and
bounds from the schema of the configuration file. Made anew for each package, so never out of date.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, Final

from scripts.lib.deb import manual_text as said
from scripts.lib.deb import roff
from scripts.lib.deb.command_line import parsers, shown_actions

from stt_edge import __version__
from stt_edge.config.schema import Key, SchemaLookup, keys_of
from stt_edge.config.settings import Config
from stt_edge.providers import registry as providers
from stt_edge.sinks import registry as sinks

_SOURCE: Final = f"stt-edge {__version__}"


def commands_page(date: str) -> str:
    """Return stt-edge(1) as roff. ``date`` is that of the page, as 2026-01-31."""
    lines = [
        *roff.title("stt-edge", 1, date, _SOURCE),
        *roff.heading("Name"),
        r"stt-edge \- voice capture and speech\-to\-text daemon",
        *roff.heading("Synopsis"),
        r"\fBstt\-edge\fR \fICOMMAND\fR [\fIOPTION\fR...] [\fIFILE\fR...]",
        ".br",
        r"\fBstt\-edge \-\-help\fR | \fB\-\-version\fR",
        *roff.heading("Description"),
        *roff.paragraphs(said.DESCRIPTION),
        *roff.heading("Commands"),
    ]
    for name, parser in parsers().items():
        lines += _command(name, parser)
    for heading, text in said.AFTER_COMMANDS:
        lines += [*roff.heading(heading), *roff.paragraphs(text)]
    lines += [*roff.heading("Exit status"), *roff.items(said.EXIT_CODES)]
    lines += [*roff.heading("See also"), *roff.paragraphs(said.SEE_ALSO)]
    return "\n".join([*lines, ""])


def configuration_page(date: str) -> str:
    """Return stt-edge.yaml(5) as roff. ``date`` is that of the page, as 2026-01-31."""
    lines = [
        *roff.title("stt-edge.yaml", 5, date, _SOURCE),
        *roff.heading("Name"),
        r"stt-edge.yaml \- configuration of the voice capture daemon stt\-edge",
        *roff.heading("Synopsis"),
        ".I /etc/stt\\-edge.yaml",
        ".br",
        ".I /etc/stt\\-edge/INSTANCE.yaml",
        *roff.heading("Description"),
        *roff.paragraphs(said.CONFIGURATION),
        *roff.heading("Keys"),
        *_section(Config(), ""),
        *roff.heading("Providers"),
        *roff.paragraphs(said.PROVIDERS),
        *_registered(providers),
        *roff.heading("Sinks"),
        *roff.paragraphs(said.SINKS),
        *_registered(sinks),
        *roff.heading("Files"),
        *roff.items(said.CONFIGURATION_FILES),
        *roff.heading("See also"),
        *roff.paragraphs(said.CONFIGURATION_SEE_ALSO),
    ]
    return "\n".join([*lines, ""])


def _command(name: str, parser: argparse.ArgumentParser) -> list[str]:
    usage = parser.format_usage().removeprefix("usage: ").split()
    lines = [*roff.subheading(f"stt-edge {name}"), ".PP", roff.escape(" ".join(usage))]
    lines += roff.paragraphs(parser.description or "")
    lines += roff.items((tag(action), _help(action)) for action in shown_actions(parser))
    if parser.epilog:
        lines += roff.verbatim(parser.epilog)
    return lines


def tag(action: argparse.Action) -> str:
    """Return what an option or an argument looks like on the command line, marked."""
    if not action.option_strings:
        return f"_{action.metavar or action.dest}_"
    names = ", ".join(f"**{name}**" for name in action.option_strings)
    if action.nargs == 0:
        return names
    if action.choices:
        return f"{names} {'|'.join(map(str, action.choices))}"
    return f"{names} {action.metavar or action.dest.upper()}"


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    return text % {"default": action.default, "prog": "stt-edge", **vars(action)}


def _section(values: Any, prefix: str) -> list[str]:
    lines: list[str] = []
    for key in keys_of(type(values)):
        value = getattr(values, key.name)
        name = f"{prefix}{key.name}"
        if key.nested is None:
            default = "the host name" if name == "node" else _shown(value)
            lines += roff.items([(f"**{name}**", _sentence(key, default))])
        else:
            lines += roff.items([(f"**{name}:**", f"{key.option.doc}.")])
            lines += _section(key.nested() if value is None else value, f"{name}.")
    return lines


def _registered(registry: SchemaLookup) -> Iterator[str]:
    for name in registry.names():
        options = registry.options(name)
        assert options is not None
        yield from roff.subheading(name)
        yield from _section(options(), "") or roff.paragraphs("It has no keys of its own.")


def _sentence(key: Key, default: str) -> str:
    option = key.option
    parts = [f"{option.doc}. {key.expected}"]
    if option.choices:
        parts.append(f"one of {', '.join(option.choices)}")
    if option.minimum is not None and option.maximum is not None:
        parts.append(f"{option.minimum:g} to {option.maximum:g}")
    return f"{'; '.join(parts)}; default: {default}."


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
