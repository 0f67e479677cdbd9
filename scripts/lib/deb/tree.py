"""Lays the files of the package out as they will lie on the machine."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from scripts.lib.deb import completion, control, lock, manual
from scripts.lib.deb.target import Target

from stt_edge import __version__

_DOCS: Final = "usr/share/doc/stt-edge"
_DEBIAN: Final = lock.PROJECT / "config" / "debian"
_NOTIFY_RELOAD_SINCE: Final = 254

FILES: Final = (
    ("config/stt-edge.yaml", "etc/stt-edge.yaml", 0o644),
    ("config/logrotate", "etc/logrotate.d/stt-edge", 0o644),
    ("config/sysusers", "usr/lib/sysusers.d/stt-edge.conf", 0o644),
    ("config/stt-edge.catalog", "usr/lib/systemd/catalog/stt-edge.catalog", 0o644),
    ("systemd/stt-edge.service", "usr/lib/systemd/system/stt-edge.service", 0o644),
    ("systemd/stt-edge@.service", "usr/lib/systemd/system/stt-edge@.service", 0o644),
    ("config/debian/stt-edge-extra", "usr/sbin/stt-edge-extra", 0o755),
    ("config/debian/README.Debian", f"{_DOCS}/README.Debian", 0o644),
    ("config/debian/copyright", f"{_DOCS}/copyright", 0o644),
    ("config/debian/lintian-overrides", "usr/share/lintian/overrides/stt-edge", 0o644),
)
"""In the project, in the package, and the mode there."""

DOCUMENTS: Final = ("README.md", "SECURITY.md", "docs/operations.md", "docs/providers.md")
MAINTAINER_SCRIPTS: Final = ("postinst", "prerm", "postrm")


def lay_out(tree: Path, goal: Target, venv: Path, when: datetime, libraries: list[str]) -> None:
    """Make the package's tree, DEBIAN and all, from the project and a venv built for the target.

    ``when`` is the time of the files that are made here, and of the package.
    """
    shutil.copytree(venv, tree / "opt" / "stt-edge", symlinks=True)
    for source, place, mode in FILES:
        _copy(lock.PROJECT / source, tree / place, mode)
    link = tree / "usr/bin/stt-edge"
    link.parent.mkdir(parents=True)
    link.symlink_to("/opt/stt-edge/bin/stt-edge")
    (tree / "etc/stt-edge/credentials").mkdir(parents=True)
    _write(tree / "usr/share/stt-edge/constraints.txt", _lines(lock.versions()))
    _drop_ins(tree, goal)
    _documents(tree, goal, when)
    _write(tree / "usr/share/bash-completion/completions/stt-edge", completion.render())
    _finish(tree, goal, when, libraries)


def _drop_ins(tree: Path, goal: Target) -> None:
    for source in sorted((lock.PROJECT / "systemd").glob("*.conf")):
        _copy(source, tree / _DOCS / "examples" / source.name, 0o644)
        if source.name == NOTIFY_RELOAD and goal.suite.systemd >= _NOTIFY_RELOAD_SINCE:
            for unit in ("stt-edge.service.d", "stt-edge@.service.d"):
                _copy(source, tree / "usr/lib/systemd/system" / unit / source.name, 0o644)


NOTIFY_RELOAD: Final = "10-notify-reload.conf"
"""The drop-in that the systemd of later releases understands: it is simply there with them."""


def _documents(tree: Path, goal: Target, when: datetime) -> None:
    date = f"{when:%Y-%m-%d}"
    pages = tree / "usr/share/man"
    _compress(pages / "man1/stt-edge.1.gz", manual.commands_page(date))
    _compress(pages / "man5/stt-edge.yaml.5.gz", manual.configuration_page(date))
    extra = (_DEBIAN / "stt-edge-extra.8").read_text(encoding="utf-8")
    extra = extra.replace("@DATE@", date).replace("@VERSION@", __version__)
    _compress(pages / "man8/stt-edge-extra.8.gz", extra)
    for name in DOCUMENTS:
        source = lock.PROJECT / name
        _compress(tree / _DOCS / f"{source.name}.gz", source.read_text(encoding="utf-8"))
    changes = (lock.PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    _compress(tree / _DOCS / "changelog.gz", changes)
    packaging = control.render_changelog(goal, __version__, when, maintainer())
    _compress(tree / _DOCS / "changelog.Debian.gz", packaging)


def _finish(tree: Path, goal: Target, when: datetime, libraries: list[str]) -> None:
    """Write DEBIAN, and give everything its owner's mode and one time."""
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        if not folder.is_symlink():
            folder.chmod(0o755)
    (tree / "etc/stt-edge/credentials").chmod(0o750)
    sums = _md5sums(tree)
    size = control.installed_kib(tree)
    debian = tree / "DEBIAN"
    debian.mkdir()
    _write(debian / "md5sums", sums)
    fields = control.render_control(
        goal, __version__, libraries=libraries, installed_kib=size, maintainer=maintainer()
    )
    _write(debian / "control", fields)
    _copy(_DEBIAN / "conffiles", debian / "conffiles", 0o644)
    for name in MAINTAINER_SCRIPTS:
        _copy(_DEBIAN / name, debian / name, 0o755)
    moment = when.timestamp()
    for path in [*tree.rglob("*"), tree]:
        os.utime(path, (moment, moment), follow_symlinks=False)


def maintainer() -> str:
    """Return who the package says to write to, as Debian's tools are told."""
    name, mail = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{mail}>" if name and mail else control.MAINTAINER


def epoch() -> datetime:
    """Return the time of what is built: ``SOURCE_DATE_EPOCH``, or now."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)


def _md5sums(tree: Path) -> str:
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    return "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(tree)}\n"
        for path in files
        if not path.is_relative_to(tree / "etc")
    )


def _lines(items: list[str]) -> str:
    return "".join(f"{item}\n" for item in items)


def _copy(source: Path, place: Path, mode: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    place.chmod(mode)


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    place.chmod(0o644)


def _compress(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    place.chmod(0o644)
