"""The texts of a Debian package that are made rather than written: control, version, changelog."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from scripts.lib.deb.target import Target

MAINTAINER: Final = "stt-edge maintainers <maintainers@stt-edge.invalid>"
"""Unless ``DEBFULLNAME`` and ``DEBEMAIL`` say otherwise."""

_RECOMMENDS: Final = ("alsa-utils", "ffmpeg", "logrotate")
_SUGGESTS: Final = ("bash-completion", "mosquitto", "python3-pip")
_DESCRIPTION: Final = """\
voice capture and speech-to-text daemon
A microphone on a small computer listens all day at almost no cost; a
speech-to-text session is opened only while somebody speaks. Each utterance
becomes one record: an entry in the journal, a line in a JSONL file, an MQTT
message. What was said waits where a provider, the network or the program
fails, and is transcribed later.

An engine that works without a network comes along (pocketsphinx, with its
English model); network providers need a line of configuration and a key.
"""
_PRE_RELEASE: Final = re.compile(r"(?<=\d)\.?(a|b|rc|dev)(?=\d)")


def debian_version(version: str, release: int) -> str:
    """Return the package's version: later releases of Debian sort higher, pre-releases lower."""
    sortable = _PRE_RELEASE.sub(r"~\1", version)
    return f"{sortable}-1+deb{release}"


def depends(target: Target, libraries: Iterable[str]) -> str:
    """Return the Depends field. ``libraries`` are what dpkg-shlibdeps found, versions and all.

    The venv is bound to one minor version of Python: python3.11 stays installed through an upgrade
    of Debian, and with it a package that works until its successor comes.
    """
    ours = [
        f"python{target.suite.python}",
        "ca-certificates",
        target.suite.sound_library,
        "libasound2-plugins",
        "libportaudio2",
        "libsystemd0",
        "procps",
        "systemd",
    ]
    found = sorted(set(libraries))
    named = {name.split()[0] for name in found}
    return ", ".join([*(name for name in ours if name not in named), *found])


def render_control(
    target: Target,
    version: str,
    *,
    libraries: Iterable[str],
    installed_kib: int,
    maintainer: str = MAINTAINER,
) -> str:
    """Return DEBIAN/control. ``version`` is the program's own."""
    summary, _, body = _DESCRIPTION.partition("\n")
    lines = [f" {line}" if line else " ." for line in body.rstrip().split("\n")]
    return "\n".join(
        [
            "Package: stt-edge",
            f"Version: {debian_version(version, target.suite.release)}",
            f"Architecture: {target.architecture}",
            f"Maintainer: {maintainer}",
            f"Installed-Size: {installed_kib}",
            f"Depends: {depends(target, libraries)}",
            f"Recommends: {', '.join(_RECOMMENDS)}",
            f"Suggests: {', '.join(_SUGGESTS)}",
            "Section: sound",
            "Priority: optional",
            f"Description: {summary}",
            *lines,
            "",
        ]
    )


def render_changelog(
    target: Target, version: str, when: datetime, maintainer: str = MAINTAINER
) -> str:
    """Return changelog.Debian: this version, and where the program's own changes are told."""
    said = "New release; what has changed is in /usr/share/doc/stt-edge/changelog.gz."
    body = textwrap.fill(said, 72, initial_indent="  * ", subsequent_indent="    ")
    head = f"stt-edge ({debian_version(version, target.suite.release)}) unstable; urgency=medium"
    signature = f" -- {maintainer}  {format_datetime(when.astimezone(UTC))}"
    return f"{head}\n\n{body}\n\n{signature}\n"


def installed_kib(tree: Path) -> int:
    """Return Installed-Size as Debian defines it: each file in whole KiB, 1 for everything else."""
    sizes = (
        -(-path.lstat().st_size // 1024) if path.is_file() and not path.is_symlink() else 1
        for path in tree.rglob("*")
    )
    return sum(sizes)
