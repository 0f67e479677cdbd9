"""What the command line offers, as its parsers have it."""

from __future__ import annotations

import argparse

from stt_edge.cli.main import COMMANDS, parser_of


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, in the order in which help lists them."""
    return {name: parser_of(name) for name in COMMANDS}


def shown_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and arguments that help shows."""
    every = parser._actions  # noqa: SLF001  argparse tells them in no other way
    return [action for action in every if action.help and action.help != argparse.SUPPRESS]
