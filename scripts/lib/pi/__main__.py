"""Install the package on an emulated arm64 computer and put it through its promises."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scripts.lib.container import ContainerError
from scripts.lib.pi import card_scenarios as card
from scripts.lib.pi import power_scenarios as power
from scripts.lib.pi import service_scenarios as service
from scripts.lib.pi.house import House
from scripts.lib.room import ScenarioError

SCENARIOS: Final[tuple[Callable[[House], str], ...]] = (
    service.is_installed_by_apt_without_a_network,
    service.readme_leads_to_a_transcript,
    service.starts_and_hears,
    service.speech_becomes_a_journal_entry,
    service.journal_explains_itself,
    service.logrotate_moves_the_file_and_nothing_is_lost,
    service.doctor_and_devices_tell_the_truth,
    service.costs_little_in_silence,
    card.card_with_48_khz_stereo_only_is_heard,
    card.card_is_unplugged_and_plugged_in_again,
    card.card_is_unplugged_in_mid_utterance,
    card.stopped_ear_loses_what_is_counted,
    card.stopped_main_loses_nothing,
    card.boots_without_a_card_and_one_comes_later,
    card.first_card_only_plays,
    card.card_that_changed_its_number_is_found,
    power.boots_without_a_network,
    power.clock_of_1970,
    power.power_cut_in_the_middle_of_offline_speech,
    power.ten_power_cuts,
)


def main() -> int:
    """Run all scenarios, or those whose name contains a word given; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/pi-machine test", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the machine's disk")
    parser.add_argument("--deb", type=Path, required=True, help="the package to install")
    parser.add_argument("only", nargs="*", help="run scenarios whose name contains one of these")
    arguments = parser.parse_args()
    house = House(arguments.cache, arguments.deb)
    try:
        rows = [_undergo(house, scenario) for scenario in _chosen(house, arguments.only)]
    except KeyboardInterrupt:
        print("\nStopped; the machine has been switched off.", file=sys.stderr)
        return 130
    finally:
        house.close()
    print("\n| scenario | | what was seen |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    failed = sum(result != "ok" for _, result, _ in rows)
    print(f"\n{failed or 'None'} of {len(rows)} failed.")
    return 1 if failed else 0


def _chosen(house: House, words: list[str]) -> list[Callable[[House], str]]:
    """Return what is asked for, and the installation where it has not been done yet."""
    if not words:
        return list(SCENARIOS)
    named = [each for each in SCENARIOS if any(word in each.__name__ for word in words)]
    install = service.is_installed_by_apt_without_a_network
    return named if install in named or house.is_installed() else [install, *named]


def _undergo(house: House, scenario: Callable[[House], str]) -> tuple[str, str, str]:
    name, begun = scenario.__name__.replace("_", " "), time.monotonic()
    try:
        remark, result = scenario(house), "ok"
    except (ScenarioError, ContainerError, subprocess.TimeoutExpired, OSError) as error:
        remark, result = str(error), "FAIL"
        if journal := house.journal():
            path = house.cache / f"{scenario.__name__}.journal"
            path.write_text(journal, encoding="utf-8")
            remark += f" (journal: {path})"
        house.rest()  # whatever it left behind is not the next one's affair
    print(f"{result:4} {name} ({time.monotonic() - begun:.0f} s): {remark}", flush=True)
    return name, result, remark


if __name__ == "__main__":
    sys.exit(main())
