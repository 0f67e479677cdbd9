"""A machine on which the package is installed, upgraded and removed with apt, as people do it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

from scripts.lib.container import Container
from scripts.lib.room import Room, furnish, must

NAME: Final = "stt-edge"
_FOLDER: Final = "/srv/packages"
# What a package manager, a system and this test write of themselves.
_OF_OTHERS: Final = (
    "dev", "proc", "run", "srv", "sys", "tmp", "var/cache", "var/lib/apt", "var/lib/dpkg",
    "var/lib/systemd", "var/log", "var/tmp", "root/.config",
)  # fmt: skip
_LISTS_OF_USERS: Final = frozenset(
    f"etc/{name}{suffix}"
    for name in ("group", "gshadow", "passwd", "shadow", "subgid", "subuid", ".pwd.lock")
    for suffix in ("", "-")
)


class PackageRoom:
    """The machine, the microphone, and two versions of the package in ``/srv/packages``."""

    def __init__(self, root: Path, version: str) -> None:
        """Take what ``prepare`` has made."""
        self.root = root
        self.version = version
        self.before: frozenset[str] = frozenset()

    @classmethod
    def prepare(cls, root: Path, package: Path) -> Self:
        """Make the root one without the package, with a microphone and the packages to install."""
        chroot = ["chroot", str(root)]
        purge = ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", NAME]
        subprocess.run([*chroot, *purge], capture_output=True, check=False)
        for name in ("etc/stt-edge.yaml", "var/log/journal"):
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (root / "var/log/journal").mkdir(parents=True)
        (root / "opt").mkdir(exist_ok=True)
        furnish(root)
        folder = root / _FOLDER.lstrip("/")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(package, folder / "old.deb")
        version = _repack(package, folder / "new.deb")
        return cls(root, version)

    def enter(self, machine: Container) -> None:
        """Take the booted machine, and remember which files it has without the package."""
        self.machine = machine
        self.room = Room(machine)
        machine.run("systemctl", "start", "test-microphone.service")
        self.before = self.files()

    def apt(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run apt-get inside, and return what it said on both channels."""
        quiet = "DEBIAN_FRONTEND=noninteractive"
        command = f'{quiet} apt-get -y --no-install-recommends "$@" 2>&1'
        return self.machine.run("sh", "-c", command, "apt", *arguments, timeout_s=timeout_s)

    def install(self, which: str) -> str:
        """Install ``old`` or ``new``; return what was said."""
        return self.apt("install", f"{_FOLDER}/{which}.deb")

    def installed_version(self) -> str:
        """Return the version of the package that is installed, or nothing."""
        query = ("dpkg-query", "-W", "-f", "${Version}", NAME)
        return self.machine.run(*query, check=False).strip()

    def files(self) -> frozenset[str]:
        """Return every file and folder of the machine, but for what others write of themselves."""
        found = set()
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if name not in _LISTS_OF_USERS and not name.startswith(_OF_OTHERS):
                found.add(name)
        return frozenset(found)

    def remains(self) -> list[str]:
        """Return what is called after the program anywhere on the machine, /run included."""
        search = ("find", "/", "-xdev", "-name", f"{NAME}*", "-not", "-path", "/proc/*")
        found = self.machine.run(*search).split()
        found += self.machine.run("find", "/run", "-name", f"{NAME}*").split()
        return sorted(set(found) - {"/var/log/apt"})


def _repack(package: Path, place: Path) -> str:
    """Write the package again as its successor; return that one's version."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        must(["dpkg-deb", "--raw-extract", str(package), str(tree)])
        control = tree / "DEBIAN" / "control"
        fields = control.read_text(encoding="utf-8")
        old = next(line for line in fields.splitlines() if line.startswith("Version: "))
        control.write_text(fields.replace(old, f"{old}+next"), encoding="utf-8")
        must(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(place)])
        return f"{old.removeprefix('Version: ')}+next"
