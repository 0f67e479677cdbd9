"""Install the service in a container with a systemd of its own and put it through its promises."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.lib.container import Container
from scripts.lib.room import UNIT, Room, install
from scripts.lib.scenarios import SCENARIOS
from scripts.lib.undergo import POWERED_OFF, in_good_order, undergo

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run all scenarios, or those whose name contains a word given; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/system-test", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a Debian root file system")
    parser.add_argument("--wheels", type=Path, required=True, help="folder of wheels to install")
    parser.add_argument("only", nargs="*", help="run scenarios whose name contains one of these")
    arguments = parser.parse_args()
    return in_good_order(
        lambda: _run(arguments.root, arguments.wheels, arguments.only), POWERED_OFF
    )


def _run(root: Path, wheels: Path, only: list[str]) -> int:
    print("Installing the program in the container", flush=True)
    install(PROJECT, wheels, root)
    print("Booting the container", flush=True)
    failed = 0
    with Container(root) as machine:
        room = Room(machine)
        for number, scenario in enumerate(SCENARIOS):
            if only and number > 0 and not any(word in scenario.__name__ for word in only):
                continue
            reset = room.reset if number > 0 else lambda: None
            failed += not undergo(scenario, room, reset).passed
        log = root.with_name("journal.txt")
        log.write_text(machine.run("journalctl", "--no-pager", "-o", "short-precise", "-u", UNIT))
    print(f"\n{failed or 'None'} failed. The journal of the service is in {log}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
