"""What is found in two directories after a restart, and reading while files move between them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stt_edge.utterance.copies import TEMPORARY_SUFFIX
from stt_edge.utterance.log import SEGMENT_BYTES, UtteranceLog
from tests.utterance.making import check_tone, head, tail, tone

EVERYTHING = 1 << 40


class Machine:
    """The two directories, and logs of one run after the other."""

    def __init__(self, directory: Path) -> None:
        self.hot, self.cold = directory / "hot", directory / "state" / "spool"
        self.cold.parent.mkdir()

    def log(self) -> UtteranceLog:
        return UtteranceLog(self.hot, cold=self.cold)

    def recovered(self) -> UtteranceLog:
        log = self.log()
        log.recover()
        log.recover_cold()
        return log

    def lose_power(self) -> None:
        for path in self.hot.iterdir():
            path.unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def said(log: UtteranceLog, samples: int = 4000, *, copied: int = 0, end: bool = True) -> str:
    """Append an utterance, of which the first ``copied`` samples go to the disk."""
    begun = head(0)
    log.start(begun)
    at = 0
    for part in filter(None, (copied, samples - copied)):
        log.append(begun.id, tone(at, part))
        at += part
        if at == copied:
            log.go_cold(begun.id)
            log.copy(begun.id)
    if end:
        log.end(begun.id, tail(samples))
    return begun.id


def heard(log: UtteranceLog, utterance_id: str) -> list[tuple[int, int]]:
    return check_tone(log.read(utterance_id, 0, EVERYTHING))


def test_memory_has_more_than_the_disk_and_is_what_counts(machine: Machine) -> None:
    log = machine.recovered()
    utterance_id = said(log, copied=1000)
    log.close()
    again = machine.recovered()
    assert heard(again, utterance_id) == [(0, 4000)]
    again.copy(utterance_id)
    assert list(machine.hot.iterdir()) == []
    assert heard(again, utterance_id) == [(0, 4000)]


def test_after_a_power_cut_there_is_what_was_on_the_disk(machine: Machine) -> None:
    log = machine.recovered()
    utterance_id = said(log, copied=1000, end=False)
    log.close()
    machine.lose_power()
    again = machine.recovered()
    assert heard(again, utterance_id) == [(0, 1000)]
    info = again.info(utterance_id)
    assert info.tail is not None
    assert info.tail.reason == "crash"


@pytest.mark.parametrize("spoil", ["flip", "longer", "empty"])
def test_a_copy_that_is_no_beginning_of_its_original_is_replaced(
    machine: Machine, spoil: str
) -> None:
    log = machine.recovered()
    utterance_id = said(log, copied=1000)
    log.close()
    (copy,) = machine.cold.iterdir()
    content = bytearray(copy.read_bytes())
    if spoil == "flip":
        content[len(content) // 2] ^= 1
    copy.write_bytes({"longer": content * 9, "empty": b""}.get(spoil, bytes(content)))
    again = machine.recovered()
    assert heard(again, utterance_id) == [(0, 4000)]
    again.copy(utterance_id)
    again.close()
    machine.lose_power()
    assert heard(machine.recovered(), utterance_id) == [(0, 4000)]


def test_of_a_damaged_file_in_memory_and_its_copy_the_one_with_more_in_it_counts(
    machine: Machine,
) -> None:
    log = machine.recovered()
    utterance_id = said(log, copied=4000)
    log.close()
    (original,) = machine.hot.iterdir()
    original.write_bytes(original.read_bytes()[:400])
    assert heard(machine.recovered(), utterance_id) == [(0, 4000)]


def test_a_copy_that_was_never_finished_is_removed(machine: Machine) -> None:
    log = machine.recovered()
    utterance_id = said(log, copied=1000)
    log.close()
    (copy,) = machine.cold.iterdir()
    copy.rename(copy.with_name(copy.name + TEMPORARY_SUFFIX))
    (machine.cold / "notes.tmp").write_text("somebody else's")
    assert heard(machine.recovered(), utterance_id) == [(0, 4000)]
    assert [path.name for path in machine.cold.iterdir()] == ["notes.tmp"]


def test_a_long_utterance_leaves_memory_while_it_is_still_spoken(machine: Machine) -> None:
    log = machine.recovered()
    begun = head(0)
    log.start(begun)
    log.go_cold(begun.id)
    blocks = 3 * SEGMENT_BYTES // 64_000
    for number in range(blocks):
        log.append(begun.id, tone(number * 32_000, 32_000))
        log.copy(begun.id)
    assert sum(path.stat().st_size for path in machine.hot.iterdir()) <= SEGMENT_BYTES
    assert len(list(machine.cold.iterdir())) >= 3
    assert heard(log, begun.id) == [(0, blocks * 32_000)]
    log.close()
    machine.lose_power()
    assert heard(machine.recovered(), begun.id)[0][0] == 0


def test_whoever_reads_is_not_disturbed_when_a_file_moves_to_the_disk(machine: Machine) -> None:
    log = machine.recovered()
    utterance_id = said(log, 64_000)
    log.go_cold(utterance_id)
    places = log._find(utterance_id, 0, EVERYTHING)
    find = log._find
    moved = threading.Event()

    def find_before_the_move(*arguments: object) -> object:
        if moved.is_set():
            return find(*arguments)  # type: ignore[arg-type]
        moved.set()
        log.copy(utterance_id)
        return places

    log._find = find_before_the_move  # type: ignore[method-assign,assignment]
    assert heard(log, utterance_id) == [(0, 64_000)]


def test_a_recovery_that_is_cut_short_leaves_the_rest_for_the_next_run(machine: Machine) -> None:
    log = machine.recovered()
    ids = [said(log, copied=4000) for _ in range(3)]
    for utterance_id in ids:
        log.copy(utterance_id)
    log.close()
    hurried = machine.log()
    hurried.recover()
    hurried.close()
    assert hurried.recover_cold() == []
    assert machine.recovered().ids() == ids


def test_utterances_are_in_the_order_they_are_put_into(machine: Machine) -> None:
    log = machine.recovered()
    first, second, third = (said(log) for _ in range(3))
    log.arrange([third, "unknown", first])
    assert log.ids() == [third, first, second]
