"""Install the package on an emulated arm64 computer and put it through its promises."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from scripts.lib.pi import card_scenarios as card
from scripts.lib.pi import power_scenarios as power
from scripts.lib.pi import service_scenarios as service
from scripts.lib.pi.house import House
from scripts.lib.undergo import in_good_order, undergo

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
    return in_good_order(
        lambda: _run(arguments.cache, arguments.deb, arguments.only),
        "the machine has been switched off",
    )


def _run(cache: Path, package: Path, words: list[str]) -> int:
    with contextlib.closing(House(cache, package)) as house:
        outcomes = [
            undergo(scenario, house, after_failure=partial(_leave, house, scenario))
            for scenario in _chosen(house, words)
        ]
    print("\n| scenario | | what was seen |\n|---|---|---|")
    for each in outcomes:
        print(f"| {each.name} | {'ok' if each.passed else 'FAIL'} | {each.remark} |")
    failed = sum(not each.passed for each in outcomes)
    print(f"\n{failed or 'None'} of {len(outcomes)} failed.")
    return 1 if failed else 0


def _chosen(house: House, words: list[str]) -> list[Callable[[House], str]]:
    """Return what is asked for, and the installation where it has not been done yet."""
    if not words:
        return list(SCENARIOS)
    named = [each for each in SCENARIOS if any(word in each.__name__ for word in words)]
    install = service.is_installed_by_apt_without_a_network
    return named if install in named or house.is_installed() else [install, *named]


def _leave(house: House, scenario: Callable[[House], str]) -> str:
    """Keep the journal of a machine on which something failed; the next one gets another."""
    told = ""
    if journal := house.journal():
        path = house.cache / f"{scenario.__name__}.journal"
        path.write_text(journal, encoding="utf-8")
        told = f" (journal: {path})"
    house.rest()
    return told


if __name__ == "__main__":
    sys.exit(main())
