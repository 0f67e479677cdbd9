"""Install a package in a container with a systemd of its own, and remove it again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.lib.container import Container
from scripts.lib.package_room import PackageRoom
from scripts.lib.package_scenarios import SCENARIOS
from scripts.lib.undergo import POWERED_OFF, in_good_order, undergo


def main() -> int:
    """Run all scenarios, which follow one upon the other; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/system-test --deb", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a Debian root file system")
    parser.add_argument("--deb", type=Path, required=True, help="the package")
    arguments = parser.parse_args()
    return in_good_order(lambda: _run(arguments.root, arguments.deb), POWERED_OFF)


def _run(root: Path, package: Path) -> int:
    room = PackageRoom.prepare(root, package)
    print("Booting the container", flush=True)
    failed = 0
    with Container(root) as machine:
        room.enter(machine)
        for scenario in SCENARIOS:
            failed += not undergo(scenario, room).passed
        log = root.with_name("package-journal.txt")
        log.write_text(machine.run("journalctl", "--no-pager", "-o", "short-precise"))
    print(f"\n{failed or 'None'} failed. The journal is in {log}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
