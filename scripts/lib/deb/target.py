"""What a package is built for: a release of Debian, and an architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Suite:
    """What differs between the releases of Debian."""

    release: int
    python: str
    """The release's own Python, as ``3.11``."""
    sound_library: str
    systemd: int
    """Its major version."""


SUITES: Final = {
    "bookworm": Suite(12, "3.11", "libasound2", 252),
    "trixie": Suite(13, "3.13", "libasound2t64", 257),
}
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""What Debian calls an architecture, and what the kernel and wheels call it."""

_NEWEST_GLIBC: Final = 36
"""Of the oldest release; wheels for a later one would not run there."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of the packages there are."""

    suite: Suite
    architecture: str

    @property
    def python_tag(self) -> str:
        """The version of Python as wheels have it: ``311``."""
        return self.suite.python.replace(".", "")

    def platforms(self) -> list[str]:
        """Return the platform tags of the wheels that run there."""
        machine = MACHINES[self.architecture]
        newer = [f"manylinux_2_{minor}_{machine}" for minor in range(17, _NEWEST_GLIBC + 1)]
        return [*newer, f"manylinux2014_{machine}"]


def target(suite: str, architecture: str) -> Target:
    """Return a target by the names Debian uses. Raises KeyError for names of none."""
    assert architecture in MACHINES
    return Target(SUITES[suite], architecture)
