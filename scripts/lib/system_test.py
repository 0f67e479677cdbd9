"""Install the service in a container with a systemd of its own and put it through its promises."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from scripts.lib.container import Container, ContainerError
from scripts.lib.room import UNIT, Room, ScenarioError, install
from scripts.lib.scenarios import SCENARIOS

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run all scenarios, or those whose name contains a word given; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/system-test", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a Debian root file system")
    parser.add_argument("--wheels", type=Path, required=True, help="folder of wheels to install")
    parser.add_argument("only", nargs="*", help="run scenarios whose name contains one of these")
    arguments = parser.parse_args()
    try:
        return _run(arguments.root, arguments.wheels, arguments.only)
    except ContainerError as error:
        print(f"The system test cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the container has been powered off.", file=sys.stderr)
        return 130


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
            begun = time.monotonic()
            name = scenario.__name__.replace("_", " ")
            try:
                if number > 0:
                    room.reset()
                remark, result = scenario(room), "ok  "
            except (ScenarioError, ContainerError, subprocess.TimeoutExpired) as error:
                remark, result = str(error), "FAIL"
                failed += 1
            print(f"{result} {name} ({time.monotonic() - begun:.0f} s): {remark}", flush=True)
        log = root.with_name("journal.txt")
        log.write_text(machine.run("journalctl", "--no-pager", "-o", "short-precise", "-u", UNIT))
    print(f"\n{failed or 'None'} failed. The journal of the service is in {log}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
