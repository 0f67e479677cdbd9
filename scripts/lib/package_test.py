"""Install a package in a container with a systemd of its own, and remove it again."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.lib.container import Container, ContainerError
from scripts.lib.package_room import PackageRoom
from scripts.lib.package_scenarios import SCENARIOS
from scripts.lib.room import ScenarioError


def main() -> int:
    """Run all scenarios, which follow one upon the other; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/system-test --deb", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a Debian root file system")
    parser.add_argument("--deb", type=Path, required=True, help="the package")
    arguments = parser.parse_args()
    try:
        return _run(arguments.root, arguments.deb)
    except ContainerError as error:
        print(f"The system test cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the container has been powered off.", file=sys.stderr)
        return 130


def _run(root: Path, package: Path) -> int:
    room = PackageRoom.prepare(root, package)
    print("Booting the container", flush=True)
    failed = 0
    with Container(root) as machine:
        room.enter(machine)
        for scenario in SCENARIOS:
            failed += not _passes(scenario, room)
        log = root.with_name("package-journal.txt")
        log.write_text(machine.run("journalctl", "--no-pager", "-o", "short-precise"))
    print(f"\n{failed or 'None'} failed. The journal is in {log}.")
    return 1 if failed else 0


def _passes(scenario: Callable[[PackageRoom], str], room: PackageRoom) -> bool:
    begun = time.monotonic()
    name = scenario.__name__.replace("_", " ")
    try:
        remark, passed = scenario(room), True
    except (ScenarioError, ContainerError, subprocess.TimeoutExpired) as error:
        remark, passed = str(error), False
    took = time.monotonic() - begun
    print(f"{'ok  ' if passed else 'FAIL'} {name} ({took:.0f} s): {remark}", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
