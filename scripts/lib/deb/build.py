"""Builds the Debian package of one target within a Debian root of it; ``scripts/build-deb``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from scripts.lib.deb import control, lock, tree
from scripts.lib.deb.target import MACHINES, SUITES, Target, target

from stt_edge import __version__

_IN_ROOT: Final = Path(__file__).with_name("in_root.sh")


def main() -> int:
    """Build; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/build-deb", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--arch", choices=MACHINES, required=True)
    parser.add_argument("--root", type=Path, required=True, help="a Debian root to build in")
    parser.add_argument("--output", type=Path, required=True, help="folder for the package")
    arguments = parser.parse_args()
    begun = time.monotonic()
    try:
        package = _build(target(arguments.suite, arguments.arch), arguments.root, arguments.output)
    except subprocess.CalledProcessError as error:
        print(f"scripts/build-deb: {error.cmd[0]} failed, see above", file=sys.stderr)
        return 1
    size = package.stat().st_size
    print(f"{package} ({size / 1e6:.1f} MB, built in {time.monotonic() - begun:.0f} s)")
    return 0


def _build(goal: Target, root: Path, output: Path) -> Path:
    workshop = root / "build"
    shutil.rmtree(workshop, ignore_errors=True)
    wheels = workshop / "wheels"
    wheels.mkdir(parents=True)
    _say("Fetching the Python packages of the lock file")
    _download(goal, wheels)
    _pip("wheel", "--no-deps", f"--wheel-dir={wheels}", str(lock.PROJECT))
    _say(f"Building the venv in {root}")
    shutil.copy(_IN_ROOT, workshop)
    _in_root(root, "sh", f"/build/{_IN_ROOT.name}", goal.suite.python)
    _say("Packing")
    staging = workshop / "tree"
    libraries = _libraries((workshop / "libraries.txt").read_text(encoding="utf-8"))
    tree.lay_out(staging, goal, root / "opt/stt-edge", tree.epoch(), libraries)
    version = control.debian_version(__version__, goal.suite.release)
    package = output / f"stt-edge_{version}_{goal.architecture}.deb"
    output.mkdir(parents=True, exist_ok=True)
    _run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(staging), str(package))
    shutil.rmtree(workshop)
    return package


def _download(goal: Target, wheels: Path) -> None:
    """Fetch what the lock file names; pip refuses a file with another hash."""
    options = [*lock.platform_options(goal), f"--no-binary={lock.FROM_SOURCE}", "--no-deps"]
    locked = ["--require-hashes", "--requirement", str(lock.LOCK)]
    _pip("download", *options, *locked, f"--dest={wheels}")


def _libraries(said: str) -> list[str]:
    """Return the dependencies that dpkg-shlibdeps printed as ``shlibs:Depends=a, b``."""
    fields = said.partition("shlibs:Depends=")[2].partition("\n")[0]
    return [one.strip() for one in fields.split(",") if one.strip()]


def _in_root(root: Path, *command: str) -> None:
    """Run a command in the root, with a /proc that is gone afterwards."""
    enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
    _run("unshare", "--mount", "sh", "-c", enter, str(root), *environment, *command)


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "-q", *arguments)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _say(what: str) -> None:
    print(f"\n==> {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
