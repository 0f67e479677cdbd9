"""Write what is made from the command line and the schema into the folders of a system.

``python -m scripts.lib.deb.pages PREFIX`` for an installation without a package.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from scripts.lib.deb import completion, manual


def write(prefix: Path, date: str) -> None:
    """Write manual pages and completion below a prefix such as /usr/local."""
    texts = {
        "share/man/man1/stt-edge.1": manual.commands_page(date),
        "share/man/man5/stt-edge.yaml.5": manual.configuration_page(date),
        "share/bash-completion/completions/stt-edge": completion.render(),
    }
    for name, text in texts.items():
        place = prefix / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        place.chmod(0o644)


if __name__ == "__main__":
    write(Path(sys.argv[1]), f"{datetime.now(UTC):%Y-%m-%d}")
