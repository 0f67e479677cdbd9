"""The power is cut at every operation there is: what was put on the medium is there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stt_edge.utterance.log import UtteranceLog
from tests.fakes.forgetful_disk import ForgetfulDisk, PowerCutError, Survival
from tests.utterance.making import check_tone, head, tail, tone

HOT, COLD = Path("/run/utterances"), Path("/state/spool")
EVERYTHING = 1 << 40
FIRST, SECOND = (head(0, f"01900000-0000-7000-8000-00000000000{digit}") for digit in "12")


class Keeper:
    """Uses a log as the daemon does, and notes what it may rely on."""

    def __init__(self, disk: ForgetfulDisk) -> None:
        self.log = new_log(disk)
        self.heard: dict[str, int] = {}
        """The end of what was appended, or was about to be."""
        self.promised: dict[str, int] = {}
        """The end of what was put on the medium before the last call returned."""
        self.deleting: set[str] = set()

    def append(self, utterance_id: str, samples: int) -> None:
        at = self.heard.get(utterance_id, 0)
        self.heard[utterance_id] = at + samples
        self.log.append(utterance_id, tone(at, samples))

    def copy(self, utterance_id: str) -> None:
        self.log.go_cold(utterance_id)
        self.log.copy(utterance_id)
        self.promised[utterance_id] = self.heard[utterance_id]

    def delete(self, utterance_id: str) -> None:
        self.deleting.add(utterance_id)
        self.log.delete(utterance_id)
        self.log.tidy()


def new_log(disk: ForgetfulDisk) -> UtteranceLog:
    return UtteranceLog(HOT, disk, cold=COLD)


def an_outage(keeper: Keeper) -> None:
    """Two utterances: one goes cold while it is spoken, one only when it has ended."""
    keeper.log.recover()
    keeper.log.recover_cold()
    keeper.log.start(FIRST)
    for _ in range(4):
        keeper.append(FIRST.id, 200)
    keeper.copy(FIRST.id)
    for _ in range(4):
        keeper.append(FIRST.id, 200)
        keeper.copy(FIRST.id)
    keeper.log.end(FIRST.id, tail(keeper.heard[FIRST.id]))
    keeper.copy(FIRST.id)
    keeper.log.start(SECOND)
    for _ in range(3):
        keeper.append(SECOND.id, 200)
    keeper.log.end(SECOND.id, tail(keeper.heard[SECOND.id]))
    keeper.copy(SECOND.id)
    keeper.delete(FIRST.id)
    keeper.log.close()


def operations_of(scenario: Callable[[Keeper], None]) -> int:
    disk = new_disk()
    scenario(Keeper(disk))
    return disk.operations


def new_disk(seed: int = 0) -> ForgetfulDisk:
    disk = ForgetfulDisk(volatile=HOT, seed=seed)
    disk.make_directory(COLD.parent)
    disk.operations = 0
    return disk


def crash(
    at: int, after: Callable[[ForgetfulDisk], None], seed: int = 0
) -> tuple[Keeper, ForgetfulDisk]:
    """Run the scenario until an operation; return what was promised until then."""
    disk = new_disk(seed)
    disk.cut_at = at
    keeper = Keeper(disk)
    with pytest.raises(PowerCutError):
        an_outage(keeper)
    after(disk)
    return keeper, disk


def recovered(disk: ForgetfulDisk) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Recover as the daemon does; yield the audio of each utterance, checked sample by sample."""
    log = new_log(disk)
    for info in (*log.recover(), *log.recover_cold()):
        assert info.tail is not None
        yield info.id, check_tone(log.read(info.id, 0, EVERYTHING))


def check_promises(keeper: Keeper, disk: ForgetfulDisk) -> None:
    found = dict(recovered(disk))
    for utterance_id, places in found.items():
        # What is found is the beginning of what was said, without a hole.
        assert len(places) <= 1
        assert all(start == 0 and end <= keeper.heard[utterance_id] for start, end in places)
    for utterance_id, promised in keeper.promised.items():
        if utterance_id not in keeper.deleting:
            assert found[utterance_id][0][1] >= promised


STEPS = operations_of(an_outage)


@pytest.mark.parametrize("survival", Survival)
def test_a_power_cut_at_any_operation_loses_nothing_that_was_put_on_the_medium(
    survival: Survival, record_property: Callable[[str, object], None]
) -> None:
    assert STEPS >= 60
    record_property("figure", f"{STEPS} of {STEPS} cuts recovered ({survival} survives)")
    for at in range(STEPS):
        for seed in range(3 if survival is Survival.SECTORS else 1):
            keeper, disk = crash(at, lambda disk: disk.cut(survival), seed)
            check_promises(keeper, disk)


def test_a_kill_at_any_operation_loses_nothing_that_was_appended() -> None:
    for at in range(STEPS):
        keeper, disk = crash(at, ForgetfulDisk.kill)
        whole = {id_: end - 200 for id_, end in keeper.heard.items() if end > 200}
        keeper.promised.update(
            {id_: max(end, keeper.promised.get(id_, 0)) for id_, end in whole.items()}
        )
        check_promises(keeper, disk)


@pytest.mark.parametrize("survival", Survival)
def test_a_second_power_cut_while_recovering_loses_nothing_either(survival: Survival) -> None:
    for first in range(0, STEPS, 3):
        for second in range(8):
            keeper, disk = crash(first, ForgetfulDisk.kill)
            disk.cut_at = disk.operations + second
            try:
                log = new_log(disk)
                for info in (*log.recover(), *log.recover_cold()):
                    log.go_cold(info.id)
                    log.copy(info.id)
            except PowerCutError:
                pass
            disk.cut(survival)
            check_promises(keeper, disk)


def test_a_disk_that_only_pretends_to_sync_is_noticed_by_these_tests() -> None:
    disk = new_disk()
    disk.forgets_to_sync = True
    disk.cut_at = STEPS - 8
    keeper = Keeper(disk)
    with pytest.raises(PowerCutError):
        an_outage(keeper)
    disk.cut(Survival.NOTHING)
    with pytest.raises((AssertionError, KeyError)):
        check_promises(keeper, disk)
