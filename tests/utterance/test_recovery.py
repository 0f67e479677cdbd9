"""What the log makes of a directory an earlier run left, in whatever state it is."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.errors import LogError
from stt_edge.model import EndReason, UtteranceEnd, UtteranceStart
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.disk import FailingDisk, run_on_small_disk
from tests.utterance.making import check_tone, head, tail, tone

EVERYTHING = 1 << 40


def leave(
    directory: Path, *, start: int = 0, blocks: int = 5, ended: bool = False
) -> UtteranceStart:
    """Leave an utterance of blocks of 100 samples, as a run leaves it that is killed."""
    log = UtteranceLog(directory)
    begun = head(start)
    log.start(begun)
    for number in range(blocks):
        log.append(begun.id, tone(start + 100 * number, 100))
    if ended:
        log.end(begun.id, tail(start + 100 * blocks))
    log.close()
    return begun


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_an_open_utterance_is_ended_as_crashed_with_what_is_there(tmp_path: Path) -> None:
    start = leave(tmp_path, start=700)
    log = UtteranceLog(tmp_path)
    (info,) = log.recover()
    assert info.start == start
    assert info.tail == UtteranceEnd(
        end=1200, reason=EndReason.CRASH, speech_end=1200, speech_samples=500
    )
    assert check_tone(log.read(start.id, 0, EVERYTHING)) == [(700, 1200)]
    assert log.take_warnings() == []
    again = UtteranceLog(tmp_path)
    assert again.recover() == [info]
    assert log.ids() == again.ids() == [start.id]


def test_an_ended_utterance_is_found_as_it_was(tmp_path: Path) -> None:
    start = leave(tmp_path, ended=True)
    before = only_file(tmp_path).read_bytes()
    (info,) = UtteranceLog(tmp_path).recover()
    assert (info.start, info.tail, info.end_so_far) == (start, tail(500), 500)
    assert info.size_bytes == len(before)
    assert only_file(tmp_path).read_bytes() == before


def test_utterances_are_found_oldest_first_and_new_ones_come_behind_them(tmp_path: Path) -> None:
    starts = [leave(tmp_path, ended=number % 2 == 0) for number in range(6)]
    log = UtteranceLog(tmp_path)
    assert [info.id for info in log.recover()] == [start.id for start in starts]
    new = head(0)
    log.start(new)
    assert log.ids() == [*(start.id for start in starts), new.id]
    log.close()


def test_utterances_without_audio_are_deleted(tmp_path: Path) -> None:
    leave(tmp_path, blocks=0)
    leave(tmp_path, blocks=0, ended=True)
    (tmp_path / f"{head().id}.0000.seg").write_bytes(b"")
    log = UtteranceLog(tmp_path)
    assert log.recover() == []
    assert list(tmp_path.iterdir()) == []
    assert log.take_warnings() == []


def test_what_is_not_the_logs_is_left_alone(tmp_path: Path) -> None:
    names = ["notes.txt", ".hidden", "0192.0000.seg", f"{head().id}.seg", f"{head().id}.0000.seg~"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    log = UtteranceLog(tmp_path)
    assert log.recover() == []
    assert log.take_warnings() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "folder"])
    assert all((tmp_path / name).read_bytes() == b"mine" for name in names)


def test_what_has_the_name_of_a_segment_and_cannot_be_read_is_reported_and_left(
    tmp_path: Path,
) -> None:
    folder = tmp_path / f"{head().id}.0000.seg"
    folder.mkdir()
    secret = tmp_path.parent / "secret"
    secret.write_bytes(b"secret")
    link = tmp_path / f"{head().id}.0000.seg"
    link.symlink_to(secret)
    log = UtteranceLog(tmp_path)
    assert log.recover() == []
    assert sorted(warning.path for warning in log.take_warnings()) == sorted([folder, link])
    assert folder.is_dir()
    assert link.is_symlink()


def test_nothing_of_use_in_a_file_moves_it_aside_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / f"{head().id}.0000.seg"
    path.write_bytes(b"\x00\xff" * 5000)
    log = UtteranceLog(tmp_path)
    assert log.recover() == []
    aside = path.with_name(path.name + ".damaged")
    assert aside.read_bytes() == b"\x00\xff" * 5000
    assert not path.exists()
    (warning,) = log.take_warnings()
    assert warning.path == aside
    assert str(aside) in warning.message
    again = UtteranceLog(tmp_path)
    assert again.recover() == []
    assert again.take_warnings() == []


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 5000), junk=st.binary(max_size=20))
def test_a_torn_tail_is_cut_off_and_what_is_before_it_is_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    directory = tmp_path_factory.mktemp("log")
    start = leave(directory, blocks=20)
    path = only_file(directory)
    path.write_bytes(path.read_bytes()[: -1 - cut] + junk)
    log = UtteranceLog(directory)
    found = log.recover()
    for info in found:
        assert info.start == start
        places = check_tone(log.read(start.id, 0, EVERYTHING))
        assert places == [(0, info.end_so_far)]
        assert info.end_so_far >= 2000 - 100 * (cut // 100 + 1)
        again = UtteranceLog(directory)
        assert again.recover() == found
        assert again.take_warnings() == []
    if not found:
        assert cut + 1 >= 2000 * 2


def test_a_damaged_block_is_lost_alone_reported_and_counted(tmp_path: Path) -> None:
    start = leave(tmp_path, blocks=5, ended=True)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(tone(200, 100).pcm)] ^= 1
    path.write_bytes(data)
    log = UtteranceLog(tmp_path)
    (info,) = log.recover()
    assert check_tone(log.read(start.id, 0, EVERYTHING)) == [(0, 200), (300, 500)]
    assert info.tail is not None
    assert (info.tail.reason, info.tail.lost) == (EndReason.SILENCE, 100)
    (warning,) = log.take_warnings()
    assert (warning.utterance_id, warning.path, warning.lost_samples) == (start.id, path, 100)
    assert "damaged" in warning.message
    assert log.take_warnings() == []


def test_a_damaged_last_block_of_an_ended_utterance_is_counted_up_to_its_end(
    tmp_path: Path,
) -> None:
    leave(tmp_path, blocks=5, ended=True)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(tone(400, 100).pcm)] ^= 1
    path.write_bytes(data)
    log = UtteranceLog(tmp_path)
    (info,) = log.recover()
    assert info.tail is not None
    assert (info.end_so_far, info.tail.end, info.tail.lost) == (400, 500, 100)
    assert [warning.lost_samples for warning in log.take_warnings()] == [100]


def test_audio_lost_to_two_damages_is_reported_once(tmp_path: Path) -> None:
    start = leave(tmp_path, blocks=3)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes().replace(start.stream.encode(), b"?" * 36, 1))
    data[data.index(tone(0, 100).pcm)] ^= 1
    path.write_bytes(data)
    log = UtteranceLog(tmp_path)
    log.recover()
    assert [warning.lost_samples for warning in log.take_warnings()] == [100, 0]


@pytest.mark.parametrize("copies", [1, 2])
def test_one_damaged_head_costs_nothing_and_two_put_the_file_aside(
    tmp_path: Path, copies: int
) -> None:
    start = leave(tmp_path)
    path = only_file(tmp_path)
    data = path.read_bytes().replace(start.stream.encode(), b"?" * len(start.stream), copies)
    path.write_bytes(data)
    log = UtteranceLog(tmp_path)
    found = log.recover()
    if copies == 1:
        assert [info.start for info in found] == [start]
        assert check_tone(log.read(start.id, 0, EVERYTHING)) == [(0, 500)]
        return
    assert found == []
    assert only_file(tmp_path).name == path.name + ".damaged"
    assert only_file(tmp_path).read_bytes() == data


def test_a_segment_renamed_to_another_utterance_is_not_taken_for_it(tmp_path: Path) -> None:
    leave(tmp_path)
    path = only_file(tmp_path)
    other = tmp_path / f"{head().id}.0000.seg"
    path.rename(other)
    log = UtteranceLog(tmp_path)
    assert log.recover() == []
    assert only_file(tmp_path).name == other.name + ".damaged"


def test_the_segments_of_an_utterance_are_read_in_order_and_overlaps_only_once(
    tmp_path: Path,
) -> None:
    first = tmp_path / "first"
    start = head(0)
    for directory, spans in ((first, (0, 100)), (tmp_path / "second", (100, 200, 300))):
        log = UtteranceLog(directory)
        log.start(start)
        for sample in spans:
            log.append(start.id, tone(sample, 100))
        log.close()
    only_file(first).rename(first / f"{start.id}.9999.seg")
    only_file(tmp_path / "second").rename(first / f"{start.id}.10000.seg")
    disk = FailingDisk()
    log = UtteranceLog(first, disk)
    (info,) = log.recover()
    assert info.tail is not None
    assert (info.end_so_far, info.tail.speech_samples, info.tail.lost) == (400, 400, 0)
    assert check_tone(log.read(start.id, 0, EVERYTHING)) == [(0, 400)]
    assert check_tone(log.read(start.id, 150, 100)) == [(150, 250)]
    disk.operations.clear()
    assert check_tone(log.read(start.id, 50, 50)) == [(50, 100)]
    assert disk.operations == ["read"], "the second file is not wanted"
    log.delete(start.id)
    assert list(first.iterdir()) == []


@pytest.mark.parametrize("operation", ["truncate", "open_append", "write", "rename", "unlink"])
def test_a_directory_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, operation: str
) -> None:
    start = leave(tmp_path)
    path = only_file(tmp_path)
    with path.open("ab") as file:
        file.write(b"torn")
    (tmp_path / f"{head().id}.0000.seg").write_bytes(b"")
    (tmp_path / f"{head().id}.0000.seg").write_bytes(b"junk")
    disk = FailingDisk()
    disk.fail(operation, errno.EROFS)
    log = UtteranceLog(tmp_path, disk)
    (info,) = log.recover()
    assert info.tail is not None
    assert info.tail.reason is EndReason.CRASH
    assert check_tone(log.read(start.id, 0, EVERYTHING)) == [(0, 500)]
    assert any("Read-only file system" in warning.message for warning in log.take_warnings())

    (again,) = UtteranceLog(tmp_path).recover()
    assert (again.start, again.tail) == (info.start, info.tail)


def test_a_directory_that_cannot_be_used_at_all_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.raises(LogError, match="Cannot use") as caught:
        UtteranceLog(blocked).recover()
    assert str(blocked) in caught.value.remedy
    disk = FailingDisk()
    disk.fail("listdir", errno.EACCES)
    with pytest.raises(LogError, match="Permission denied") as caught:
        UtteranceLog(tmp_path, disk).recover()
    assert "user that runs stt-edge" in caught.value.remedy


APPEND_ON_FULL_DISK = """
import sys
from pathlib import Path
from stt_edge.errors import LogError
from stt_edge.utterance.log import UtteranceLog
from tests.utterance.making import check_tone, head, tail, tone

disk = Path(sys.argv[1])
filler = disk / "filler"
filler.write_bytes(bytes(30_000))
log = UtteranceLog(disk)
start = head(0)
log.start(start)
failed = []
for number in range(20):
    if number == 15:
        filler.unlink()
    try:
        log.append(start.id, tone(number * 1600))
    except LogError as error:
        assert error.remedy.startswith("Free space"), error.remedy
        failed.append(number)
log.end(start.id, tail(20 * 1600))
assert 0 < len(failed) <= 14, failed
assert failed == list(range(failed[0], 15)), failed
again = UtteranceLog(disk)
again.recover()
for reader in (log, again):
    assert check_tone(reader.read(start.id, 0, 1 << 40)) == [
        (0, failed[0] * 1600), (15 * 1600, 20 * 1600)
    ]
    assert reader.info(start.id).tail.lost == 1600 * len(failed)
print("all true")
"""


def test_a_full_file_system_costs_what_did_not_fit_and_space_ends_the_trouble(
    tmp_path: Path,
) -> None:
    assert run_on_small_disk(APPEND_ON_FULL_DISK, tmp_path / "small", 64) == "all true\n"


WRITER = """
import sys
from pathlib import Path
from stt_edge.utterance.log import UtteranceLog
from tests.utterance.making import head, tail, tone

log = UtteranceLog(Path(sys.argv[1]))
while True:
    start = head(0)
    log.start(start)
    for sample in range(0, 3200, 160):
        log.append(start.id, tone(sample, 160))
        print(start.id, sample + 160, flush=True)
    log.end(start.id, tail(3200))
    print(start.id, "ended", flush=True)
"""


def test_a_dozen_kills_lose_nothing_that_was_appended(tmp_path: Path) -> None:
    acked: dict[str, int] = {}
    ended: set[str] = set()
    for number in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(1 + number * 17 % 60)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        for line in lines:
            if line.endswith("\n"):
                utterance_id, what = line.split()
                if what == "ended":
                    ended.add(utterance_id)
                else:
                    acked[utterance_id] = int(what)
        log = UtteranceLog(tmp_path)
        found = {info.id: info for info in log.recover()}
        assert found.keys() >= acked.keys()
        for utterance_id, info in found.items():
            assert info.end_so_far >= acked.get(utterance_id, 0)
            assert check_tone(log.read(utterance_id, 0, EVERYTHING)) == [(0, info.end_so_far)]
            assert info.tail is not None
            if utterance_id in ended:
                assert info.tail.reason is EndReason.SILENCE
            log.delete(utterance_id)
        assert list(tmp_path.iterdir()) == []
        acked.clear()
        ended.clear()
