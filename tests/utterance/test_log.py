"""The utterance log while one process uses it: append, follow, fail, go on."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import LogError
from stt_edge.model import AudioSpan, EndReason
from stt_edge.utterance.disk import RealDisk
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.segment import MAX_BLOCK_SAMPLES
from tests.fakes.disk import FailingDisk
from tests.utterance.making import check_tone, head, tail, tone

EVERYTHING = 1 << 40


def addresses(log: UtteranceLog, utterance_id: str, from_sample: int = 0) -> list[tuple[int, int]]:
    return check_tone(log.read(utterance_id, from_sample, EVERYTHING))


def test_audio_is_read_back_from_any_address_while_the_utterance_is_open(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path / "hot")
    start = head(1000)
    log.start(start)
    assert log.info(start.id).end_so_far == 1000
    assert log.read(start.id, 1000, EVERYTHING) == []
    for sample in range(1000, 1000 + 10 * 160, 160):
        log.append(start.id, tone(sample, 160))
    assert addresses(log, start.id) == [(1000, 2600)]
    assert addresses(log, start.id, 1234) == [(1234, 2600)]
    assert check_tone(log.read(start.id, 1234, 500)) == [(1234, 1734)]
    assert log.read(start.id, 2600, EVERYTHING) == []
    info = log.info(start.id)
    assert (info.start, info.end_so_far, info.tail, info.id) == (start, 2600, None, start.id)
    assert info.size_bytes == sum(path.stat().st_size for path in (tmp_path / "hot").iterdir())
    log.close()


def test_an_ended_utterance_has_its_tail_and_takes_no_more(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 100))
    assert log.end(start.id, tail(100)) == tail(100)
    assert log.info(start.id).tail == tail(100)
    with pytest.raises(LogError, match="has ended"):
        log.append(start.id, tone(100, 10))
    with pytest.raises(LogError, match="has ended"):
        log.end(start.id, tail(100))
    assert addresses(log, start.id) == [(0, 100)]


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), max_size=15),
    from_sample=st.integers(0, 500),
    max_samples=st.integers(1, 400),
)
def test_spans_reveal_gaps_by_their_addresses_and_are_joined_where_there_is_none(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[int, int]],
    from_sample: int,
    max_samples: int,
) -> None:
    log = UtteranceLog(tmp_path_factory.mktemp("log"))
    start = head(20)
    log.start(start)
    at = 20
    there: list[int] = []
    for gap, samples in pieces:
        at += gap
        log.append(start.id, tone(at, samples))
        there += range(at, at + samples)
        at += samples
    expected = [address for address in there if address >= from_sample][:max_samples]
    found = check_tone(log.read(start.id, from_sample, max_samples))
    assert [address for first, end in found for address in range(first, end)] == expected
    assert all(before[1] < after[0] for before, after in pairwise(found))
    ended = log.end(start.id, tail(at))
    assert ended.lost == at - 20 - len(there)


def test_an_append_is_one_write_and_nothing_is_synchronised(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = UtteranceLog(tmp_path, disk)
    start = head(0)
    log.start(start)
    disk.operations.clear()
    log.append(start.id, tone(0, 1600))
    log.append(start.id, tone(1600, 1600))
    assert disk.operations == ["write", "write"]
    log.append(start.id, tone(3200, MAX_BLOCK_SAMPLES * 2 + 5))
    assert disk.operations == ["write"] * 3
    assert addresses(log, start.id) == [(0, 3200 + MAX_BLOCK_SAMPLES * 2 + 5)]
    log.end(start.id, tail(3200))
    assert "fsync" not in disk.operations


def test_whoever_follows_is_told_of_every_change_by_the_thread_that_made_it(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    log = UtteranceLog(tmp_path, on_change=lambda id_: told.append((id_, threading.get_ident())))
    start = head(0)

    def write() -> None:
        log.start(start)
        log.append(start.id, tone(0, 10))
        log.end(start.id, tail(10))

    thread = threading.Thread(target=write)
    thread.start()
    writer = thread.ident
    thread.join()
    assert told == [(start.id, writer)] * 3
    assert writer != threading.get_ident()


def test_a_reader_that_follows_gets_every_sample_once_and_none_before_it_is_written(
    tmp_path: Path,
) -> None:
    change = threading.Condition()
    written = [0]

    def on_change(_: str) -> None:
        with change:
            change.notify_all()

    log = UtteranceLog(tmp_path, on_change=on_change)
    start = head(0)
    log.start(start)

    def write() -> None:
        for sample in range(0, 300 * 160, 160):
            written[0] = sample + 160
            log.append(start.id, tone(sample, 160))
        log.end(start.id, tail(300 * 160))

    thread = threading.Thread(target=write)
    thread.start()
    position = 0
    while True:
        info = log.info(start.id)
        spans = check_tone(log.read(start.id, position, 400))
        assert all(end <= written[0] for _, end in spans)
        for first, end in spans:
            assert first == position
            position = end
        if not spans:
            if info.tail is not None and position == info.end_so_far:
                break
            with change:
                change.wait(0.01)
    thread.join()
    assert position == 300 * 160


def test_several_utterances_are_open_at_once_and_kept_apart(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    one, two = head(0), head(500)
    log.start(one)
    log.append(one.id, tone(0, 100))
    log.start(two)
    log.append(two.id, tone(500, 100))
    log.append(one.id, tone(100, 100))
    assert log.ids() == [one.id, two.id]
    assert addresses(log, one.id) == [(0, 200)]
    assert addresses(log, two.id) == [(500, 600)]
    log.close()


def test_files_and_directory_are_private_also_when_the_directory_was_not(tmp_path: Path) -> None:
    hot = tmp_path / "run" / "hot"
    hot.mkdir(parents=True, mode=0o755)
    log = UtteranceLog(hot)
    log.recover()
    log.start(head())
    assert hot.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in hot.iterdir()] == [0o600]
    log.close()


def test_deleting_removes_the_files_and_may_be_repeated_but_not_while_open(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 10))
    with pytest.raises(LogError, match="still open"):
        log.delete(start.id)
    log.end(start.id, tail(10))
    log.delete(start.id)
    log.delete(start.id)
    assert list(tmp_path.iterdir()) == []
    assert log.ids() == []
    with pytest.raises(LogError, match="not in the log"):
        log.read(start.id, 0, 10)
    with pytest.raises(LogError, match="not in the log"):
        log.info(start.id)


def test_audio_that_does_not_follow_and_half_a_sample_are_refused(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    start = head(100)
    log.start(start)
    log.append(start.id, tone(100, 10))
    with pytest.raises(LogError, match="does not follow"):
        log.append(start.id, tone(105, 10))
    with pytest.raises(LogError, match="whole number of samples"):
        log.append(start.id, AudioSpan(110, b"abc"))
    with pytest.raises(LogError, match="already"):
        log.start(start)
    log.append(start.id, AudioSpan(110, b""))
    assert addresses(log, start.id) == [(100, 110)]
    log.close()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "Free space"), (errno.EIO, "Check the medium"), (errno.EROFS, "remount,rw")],
)
@pytest.mark.parametrize("takes_bytes", [0, 1, 50, 200])
def test_a_failed_append_is_a_gap_with_a_remedy_and_the_next_one_goes_into_a_fresh_file(
    tmp_path: Path, code: int, remedy: str, takes_bytes: int
) -> None:
    disk = FailingDisk()
    log = UtteranceLog(tmp_path, disk)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 100))
    disk.fail("write", code, takes_bytes=takes_bytes)
    disk.fail("open_append", code)
    for sample in (100, 200):
        with pytest.raises(LogError, match="Cannot write") as caught:
            log.append(start.id, tone(sample, 100))
        assert remedy in caught.value.remedy
        assert str(tmp_path) in str(caught.value)
    assert addresses(log, start.id) == [(0, 100)]
    disk.heal()
    log.append(start.id, tone(300, 100))
    assert addresses(log, start.id) == [(0, 100), (300, 400)]
    assert len(list(tmp_path.iterdir())) == 2
    assert log.end(start.id, tail(400)).lost == 200

    again = UtteranceLog(tmp_path)
    (info,) = again.recover()
    assert info == log.info(start.id)
    assert addresses(again, start.id) == [(0, 100), (300, 400)]


@pytest.mark.parametrize("operation", ["make_directory", "open_append", "size", "write"])
@pytest.mark.parametrize("takes_bytes", [0, 3, 30])
def test_an_utterance_whose_start_cannot_be_written_is_open_and_keeps_what_comes_later(
    tmp_path: Path, operation: str, takes_bytes: int
) -> None:
    disk = FailingDisk()
    told: list[str] = []
    log = UtteranceLog(tmp_path, disk, told.append)
    start = head(0)
    disk.fail(operation, errno.ENOSPC, takes_bytes=takes_bytes)
    with pytest.raises(LogError, match="No space left"):
        log.start(start)
    assert told == [start.id]
    with pytest.raises(LogError):
        log.append(start.id, tone(0, 100))
    assert log.read(start.id, 0, 10) == []
    disk.heal()
    log.append(start.id, tone(100, 100))
    assert log.end(start.id, tail(200)).lost == 100

    again = UtteranceLog(tmp_path)
    (info,) = again.recover()
    assert info.start == start
    assert info.tail == log.info(start.id).tail
    assert addresses(again, start.id) == [(100, 200)]


def test_an_end_that_cannot_be_written_is_an_end_and_a_crash_to_the_next_run(
    tmp_path: Path,
) -> None:
    disk = FailingDisk()
    told: list[str] = []
    log = UtteranceLog(tmp_path, disk, told.append)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 100))
    disk.fail("write", errno.ENOSPC)
    with pytest.raises(LogError, match="No space left"):
        log.end(start.id, tail(100))
    assert log.info(start.id).tail == tail(100)
    assert len(told) == 3

    (info,) = UtteranceLog(tmp_path).recover()
    assert info.tail is not None
    assert info.tail.reason is EndReason.CRASH


def test_a_write_that_is_taken_in_two_pieces_is_one_append(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = UtteranceLog(tmp_path, disk)
    start = head(0)
    log.start(start)
    disk.fail("write", 0, takes_bytes=40)
    disk.operations.clear()
    log.append(start.id, tone(0, 100))
    assert disk.operations == ["write", "write"]
    assert addresses(log, start.id) == [(0, 100)]
    log.end(start.id, tail(100))
    again = UtteranceLog(tmp_path)
    again.recover()
    assert again.take_warnings() == []
    assert addresses(again, start.id) == [(0, 100)]


def test_a_block_damaged_after_it_was_written_is_left_out_of_what_is_read(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    start = head(0)
    log.start(start)
    for sample in (0, 100, 200):
        log.append(start.id, tone(sample, 100))
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[data.index(tone(100, 100).pcm) + 7] ^= 4
    path.write_bytes(data)
    assert addresses(log, start.id) == [(0, 100), (200, 300)]
    assert check_tone(log.read(start.id, 100, 50)) == [(200, 250)]
    log.close()


def test_a_file_put_in_place_of_another_gives_none_of_its_audio(tmp_path: Path) -> None:
    logs = []
    for number, directory in enumerate((tmp_path / "a", tmp_path / "b")):
        log = UtteranceLog(directory)
        start = head(5000 + 1000 * number)
        log.start(start)
        log.append(start.id, tone(start.start, 100))
        log.end(start.id, tail(start.start + 100))
        logs.append((log, start.id, next(directory.iterdir())))
    logs[1][2].rename(logs[0][2])
    assert logs[0][0].read(logs[0][1], 0, EVERYTHING) == []


def test_what_the_ear_counted_as_lost_is_kept_where_no_address_shows_it(tmp_path: Path) -> None:
    log = UtteranceLog(tmp_path)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 100))
    assert log.end(start.id, replace(tail(100), lost=7)).lost == 7


def test_a_file_that_cannot_be_read_or_deleted_is_a_log_error(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = UtteranceLog(tmp_path, disk)
    start = head(0)
    log.start(start)
    log.append(start.id, tone(0, 10))
    disk.fail("read", errno.EIO)
    with pytest.raises(LogError, match="Cannot read"):
        log.read(start.id, 0, 10)
    log.end(start.id, tail(10))
    disk.fail("unlink", errno.EROFS)
    with pytest.raises(LogError, match="Cannot delete"):
        log.delete(start.id)


def test_the_real_disk_synchronises_measures_and_refuses_symbolic_links(tmp_path: Path) -> None:
    disk = RealDisk()
    path = tmp_path / "file"
    handle = disk.open_append(path)
    assert disk.write(handle, b"abcdef") == 6
    disk.fsync(handle)
    disk.close(handle)
    disk.fsync_dir(tmp_path)
    assert disk.size(path) == 6
    assert disk.read(path, 2, 100) == b"cdef"
    disk.truncate(path, 3)
    assert disk.read(path, 0, 100) == b"abc"
    assert disk.free_bytes(tmp_path) > 0
    link = tmp_path / "link"
    link.symlink_to(path)
    for attempt in (lambda: disk.open_append(link), lambda: disk.read(link, 0, 1)):
        with pytest.raises(OSError, match="symbolic links"):
            attempt()
    assert disk.listdir(tmp_path) == ["file", "link"]
