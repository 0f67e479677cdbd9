"""How an optional part of this installation is added: that depends on who installed the program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_PACKAGED: Final = "/opt/stt-edge"
_TOOL: Final = Path("/usr/sbin/stt-edge-extra")
"""The Debian package keeps the program in the former and adds to it with the latter."""


def install_command(extra: str) -> str:
    """Return the command that adds an extra of pyproject.toml."""
    if sys.prefix == _PACKAGED and _TOOL.exists():
        return f"sudo {_TOOL.name} {extra}"
    return f'pip install "stt-edge[{extra}]"'
