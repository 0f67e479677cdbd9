"""The thread that puts audio on the medium: real files, faults of the disk, and its sleep."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stt_edge.service.spool_thread import SpoolThread
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.spool import Excess, SpoolRules
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FailingDisk
from tests.utterance.making import check_tone, head, tail, tone

PATIENCE_S = 20.0
EVERYTHING = 1 << 40


class Desk:
    """A log, its thread, and what the thread reports."""

    def __init__(self, directory: Path, rules: SpoolRules) -> None:
        self.hot, self.cold = directory / "hot", directory / "state" / "spool"
        self.cold.parent.mkdir()
        self.disk = FailingDisk()
        self.log = UtteranceLog(self.hot, self.disk, cold=self.cold)
        self.log.recover()
        self.clock = FakeClock(mono_ns=head(0).started_mono_ns)  # nothing has waited yet
        self.reports: list[Excess] = []
        self.thread = SpoolThread(self.log, rules, self.clock, report=self.reports.append)
        self.log.on_change = self.thread.grew
        self.thread.start()

    def say(self, samples: int = 1600, *, end: bool = False) -> str:
        begun = head(0)
        self.log.start(begun)
        self.log.append(begun.id, tone(0, samples))
        if end:
            self.log.end(begun.id, tail(samples))
        return begun.id

    def until(self, true: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline_s, self.thread.trouble
            time.sleep(0.005)

    def is_copied(self, utterance_id: str) -> bool:
        return any(each.id == utterance_id and each.copied for each in self.log.holdings())

    def cold_names(self) -> list[str]:
        return sorted(path.name for path in self.cold.iterdir()) if self.cold.exists() else []

    def read(self, utterance_id: str) -> list[tuple[int, int]]:
        return check_tone(self.log.read(utterance_id, 0, EVERYTHING))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, SpoolRules(keep_free_bytes=0))
    yield made
    made.disk.heal()
    made.thread.leave()
    assert made.thread.join(PATIENCE_S)
    made.log.close()


def test_speech_in_an_outage_is_on_the_disk_while_it_is_still_spoken(desk: Desk) -> None:
    utterance_id = desk.say()
    desk.thread.set_offline(offline=True)
    desk.until(desk.cold_names)
    desk.log.append(utterance_id, tone(1600, 1600))
    desk.until(lambda: desk.log.holdings()[0].cold_bytes > 2 * 3200)
    # What a power cut leaves: the copy alone.
    after = UtteranceLog(desk.hot.parent / "nothing", cold=desk.cold)
    after.recover()
    (info,) = after.recover_cold()
    assert check_tone(after.read(utterance_id, 0, EVERYTHING)) == [(0, 3200)]
    assert info.id == utterance_id
    desk.log.end(utterance_id, tail(3200))
    desk.until(lambda: desk.is_copied(utterance_id))
    assert list(desk.hot.iterdir()) == []
    assert desk.read(utterance_id) == [(0, 3200)]


def test_with_a_provider_nothing_touches_the_disk(desk: Desk) -> None:
    utterance_id = desk.say(end=True)
    desk.until(lambda: desk.reports)
    desk.log.done(utterance_id)
    assert desk.cold_names() == []
    assert "fsync" not in desk.disk.operations


def test_the_copy_goes_when_the_utterance_is_done(desk: Desk) -> None:
    desk.thread.set_offline(offline=True)
    utterance_id = desk.say(end=True)
    desk.until(lambda: desk.is_copied(utterance_id))
    desk.log.done(utterance_id)
    desk.until(lambda: desk.cold_names() == [])


def test_in_silence_the_thread_does_not_look_at_all(desk: Desk) -> None:
    desk.until(lambda: desk.reports)
    looks = len(desk.reports)
    assert threading.active_count() >= 2
    desk.log.done(desk.say(end=True))
    desk.until(lambda: len(desk.reports) > looks)
    desk.until(lambda: desk.thread._resting)
    looks = len(desk.reports)
    time.sleep(1.5)  # longer than its pulse while there is speech
    assert len(desk.reports) == looks


@pytest.mark.parametrize("operation", ["make_directory", "open_append", "write", "fsync", "rename"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_is_told_of_and_speech_stays_in_memory_until_it_is_back(
    desk: Desk, operation: str, code: int
) -> None:
    utterance_id = desk.say()
    desk.disk.fail(operation, code)
    desk.thread.set_offline(offline=True)
    desk.until(lambda: desk.thread.trouble)
    assert str(desk.cold) in desk.thread.trouble
    assert desk.read(utterance_id) == [(0, 1600)]
    desk.disk.heal()
    desk.log.append(utterance_id, tone(1600, 1600))
    desk.log.end(utterance_id, tail(3200))
    desk.until(lambda: desk.is_copied(utterance_id))
    desk.until(lambda: not desk.thread.trouble)
    assert desk.read(utterance_id) == [(0, 3200)]


def test_after_a_failed_sync_the_same_file_is_not_trusted_again(desk: Desk) -> None:
    desk.thread.set_offline(offline=True)
    utterance_id = desk.say()
    desk.until(desk.cold_names)
    desk.until(lambda: desk.log.holdings()[0].cold_bytes)
    before = (desk.cold / desk.cold_names()[0]).stat().st_ino
    desk.disk.fail("fsync", errno.EIO, times=1)
    desk.log.append(utterance_id, tone(1600, 1600))
    desk.until(lambda: desk.thread.trouble)
    desk.until(lambda: not desk.thread.trouble)
    assert (desk.cold / desk.cold_names()[0]).stat().st_ino != before
    desk.log.end(utterance_id, tail(3200))


def test_one_utterance_whose_file_is_gone_does_not_hold_up_the_others(desk: Desk) -> None:
    lost, kept = desk.say(end=True), desk.say(end=True)
    for path in desk.hot.iterdir():
        if path.name.startswith(lost):
            path.unlink()
    desk.thread.set_offline(offline=True)
    desk.until(lambda: desk.is_copied(kept))
    desk.until(lambda: desk.thread.trouble)
    desk.log.delete(lost)


def test_room_that_is_left_to_others_is_left(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SpoolRules(keep_free_bytes=1 << 60))
    desk.thread.set_offline(offline=True)
    utterance_id = desk.say(end=True)
    desk.until(lambda: "left to others" in desk.thread.trouble)
    assert desk.cold_names() == []
    desk.thread.configure(SpoolRules(keep_free_bytes=0))
    desk.until(lambda: desk.is_copied(utterance_id))
    desk.thread.leave()
    assert desk.thread.join(PATIENCE_S)


def test_at_the_end_everything_goes_to_the_disk(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SpoolRules(keep_free_bytes=0))
    utterance_id = desk.say(50_000)
    desk.log.end(utterance_id, tail(50_000))
    desk.thread.leave()
    assert desk.thread.join(PATIENCE_S)
    assert desk.is_copied(utterance_id)
    assert list(desk.hot.iterdir()) == []


def test_what_is_too_old_is_reported(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SpoolRules(max_age_s=1, keep_free_bytes=0))
    begun = head(0)
    desk.log.start(begun)
    desk.log.append(begun.id, tone(0, 100))
    desk.log.end(begun.id, tail(100))
    desk.until(lambda: desk.reports)
    assert not any(report.expired for report in desk.reports)  # its clock was not to be believed
    desk.thread.leave()
    assert desk.thread.join(PATIENCE_S)
