"""Completion for bash, made from the parsers of the command line."""

from __future__ import annotations

import argparse
from typing import Final

from scripts.lib.deb.command_line import parsers, shown_actions

_FRAME: Final = """\
# bash completion for stt-edge; made from its command line.
# shellcheck shell=bash

_stt_edge() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local options= values=
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "{commands} --help --version" -- "$current")
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
        *) return ;;
    esac
    case ${{COMP_WORDS[1]}}:$previous in
{choices}
        *:-*) ;;
    esac
    if [ -n "$values" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    fi
}}

complete -o default -F _stt_edge stt-edge
"""


def render() -> str:
    """Return the file that bash-completion sources."""
    cases, choices = [], []
    commands = parsers()
    for name, parser in commands.items():
        actions = shown_actions(parser)
        names = [option for action in actions for option in action.option_strings]
        cases.append(f"        {name}) options='{' '.join(names)}' ;;")
        choices += [_choice(name, action) for action in actions if _is_choice(action)]
    return _FRAME.format(
        commands=" ".join(commands), cases="\n".join(cases), choices="\n".join(choices)
    )


def _is_choice(action: argparse.Action) -> bool:
    return bool(action.choices and action.option_strings)


def _choice(command: str, action: argparse.Action) -> str:
    patterns = "|".join(f"{command}:{option}" for option in action.option_strings)
    return f"        {patterns}) values='{' '.join(map(str, action.choices or ()))}' ;;"
