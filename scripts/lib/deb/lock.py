"""Which Python packages go into a Debian package, exactly: versions, and hashes of every file.

``python -m scripts.lib.deb.lock`` writes ``requirements.lock`` anew, with the versions that this
environment has, which are those that the tests have run with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from scripts.lib.deb.target import MACHINES, SUITES, Target, target

PROJECT: Final = Path(__file__).resolve().parents[3]
LOCK: Final = Path(__file__).with_name("requirements.lock")
EXTRAS: Final = ("silero", "pocketsphinx", "mqtt", "systemd")
"""What the packages bring along."""
FROM_SOURCE: Final = "systemd-python"
"""Nobody offers wheels of it: it is built in the root, for the libsystemd that is there."""

_HEAD: Final = """\
# What the Debian packages bring along: versions, and hashes of the files for each of them.
# Made by: python -m scripts.lib.deb.lock
"""


def main() -> int:
    """Write the lock file."""
    hashes: dict[str, set[str]] = {}
    for suite in SUITES:
        for architecture in MACHINES:
            for item in _resolve(target(suite, architecture)):
                _note(hashes, item)
    for item in _report(["--no-deps", "--no-binary", FROM_SOURCE, _pinned(FROM_SOURCE)]):
        _note(hashes, item)
    LOCK.write_text(_HEAD + "".join(map(_entry, sorted(hashes.items()))), encoding="utf-8")
    return 0


def requirements() -> list[str]:
    """Return what the project asks for, by itself and for the extras."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(item for extra in EXTRAS for item in extras[extra])]


def versions() -> list[str]:
    """Return the lines ``name==version`` of the lock file."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if "==" in line]


def _resolve(goal: Target) -> list[dict[str, Any]]:
    wanted = [item for item in requirements() if not item.startswith(FROM_SOURCE)]
    pinned = [f"{each.name}=={each.version}" for each in metadata.distributions()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pinned))
        constraints.flush()
        return _report([*platform_options(goal), "--constraint", constraints.name, *wanted])


def platform_options(goal: Target) -> list[str]:
    """Return what makes pip choose wheels for a target rather than for this machine."""
    tags = [option for tag in goal.platforms() for option in ("--platform", tag)]
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={goal.python_tag}",
        *tags,
    ]


def _report(arguments: list[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        argv = [sys.executable, "-m", "pip", "-q", "install", "--dry-run", "--ignore-installed"]
        subprocess.run([*argv, f"--target={folder}", f"--report={report}", *arguments], check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return found


def _note(hashes: dict[str, set[str]], item: dict[str, Any]) -> None:
    line = f"{item['metadata']['name'].lower()}=={item['metadata']['version']}"
    hashes.setdefault(line, set()).add(item["download_info"]["archive_info"]["hashes"]["sha256"])


def _entry(item: tuple[str, set[str]]) -> str:
    line, digests = item
    return " \\\n".join([line, *(f"    --hash=sha256:{one}" for one in sorted(digests))]) + "\n"


def _pinned(name: str) -> str:
    return f"{name}=={metadata.version(name)}"


if __name__ == "__main__":
    sys.exit(main())
