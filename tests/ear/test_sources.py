"""Recordings and commands as sources: the real files and programs."""

from __future__ import annotations

import os
import sys
import time
import wave
from pathlib import Path

import pytest

from stt_edge.ear.chatter import Chatter
from stt_edge.ear.settings import SourceSettings
from stt_edge.ear.sources import CommandSource, FileSource
from stt_edge.errors import DeviceError, FaultKind

from .test_ring import samples

MS = 1_000_000


def write_wav(path: Path, pcm: bytes, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(pcm)
    return path


def read_all(source: FileSource | CommandSource) -> list[bytes]:
    blocks = []
    while block := source.read():
        blocks.append(block)
    return blocks


def file_source(path: Path, pace: str = "fast", **clock: object) -> FileSource:
    settings = SourceSettings(file=str(path), pace=pace)
    return FileSource(settings, Chatter(), **clock)  # type: ignore[arg-type]


def test_a_recording_is_read_in_whole_blocks_to_its_last_sample(tmp_path: Path) -> None:
    source = file_source(write_wav(tmp_path / "a.wav", samples(0, 20_007)))
    source.open()
    blocks = read_all(source)
    source.close()
    assert b"".join(blocks) == samples(0, 20_007)
    assert {len(block) for block in blocks[:-1]} == {3200}
    assert (source.rate, source.channels, source.can_wait) == (16_000, 1, True)


def test_in_real_time_each_block_comes_when_it_would_have_been_spoken(tmp_path: Path) -> None:
    now_ns = [7_000 * MS]
    slept: list[int] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds * 1000))
        now_ns[0] += round(seconds * 1e9)

    source = file_source(
        write_wav(tmp_path / "a.wav", samples(0, 8000)),
        pace="realtime",
        monotonic_ns=lambda: now_ns[0],
        sleep=sleep,
    )
    timeline = source.open()
    assert timeline.start_ns == 7_000 * MS
    source.read()
    source.read()
    assert now_ns[0] == 7_200 * MS
    now_ns[0] += 250 * MS  # it was stopped: what is due is read at once, nothing is lost
    read_all(source)
    assert slept == [100, 100, 0, 0, 50]
    source.close()


def test_what_is_no_recording_is_a_fault_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"hello, I am no sound at all" * 9)
    source = file_source(tmp_path / "a.wav")
    with pytest.raises(DeviceError) as caught:
        source.open()
    assert caught.value.kind is FaultKind.FILE
    assert "a.wav" in caught.value.message
    source.close()
    with pytest.raises(DeviceError) as caught:
        file_source(tmp_path / "none.wav").open()
    assert caught.value.kind is FaultKind.FILE


def command_source(*argv: str) -> CommandSource:
    return CommandSource(SourceSettings(command=argv))


def test_what_a_command_writes_is_heard_however_it_is_cut(tmp_path: Path) -> None:
    (tmp_path / "pcm").write_bytes(samples(0, 10_007))
    script = (
        "import sys, time\n"
        f"data = open({str(tmp_path / 'pcm')!r}, 'rb').read()\n"
        "for at in range(0, len(data), 1501):\n"
        "    sys.stdout.buffer.write(data[at:at + 1501]); sys.stdout.flush(); time.sleep(0.001)"
    )
    source = command_source(sys.executable, "-c", script)
    source.prepare()
    source.open()
    blocks = read_all(source)
    source.close()
    assert b"".join(blocks) == samples(0, 10_007)
    assert {len(block) for block in blocks[:-1]} == {3200}


def test_half_a_sample_at_the_end_is_dropped() -> None:
    source = command_source("printf", "abcde")
    source.prepare()
    source.open()
    assert read_all(source) == [b"abcd"]
    source.close()


@pytest.mark.parametrize(
    ("script", "how"), [("printf abcd; exit 3", "exit code 3"), ("kill -9 $$", "signal SIGKILL")]
)
def test_a_command_that_fails_is_a_fault_after_what_it_wrote(script: str, how: str) -> None:
    source = command_source("sh", "-c", script)
    source.prepare()
    source.open()
    with pytest.raises(DeviceError) as caught:
        read_all(source)
    assert caught.value.kind is FaultKind.COMMAND
    assert caught.value.message.endswith(f"the program ended with {how}.")
    source.close()


def test_a_command_that_does_not_exist_is_a_fault() -> None:
    with pytest.raises(DeviceError) as caught:
        command_source("/no/such/program").prepare()
    assert caught.value.kind is FaultKind.COMMAND
    assert caught.value.message == "/no/such/program cannot be run: No such file or directory."


@pytest.mark.parametrize("script", ["sleep 60 & sleep 60", "trap '' TERM; sleep 60 & wait; wait"])
def test_closing_ends_the_command_and_what_it_started(tmp_path: Path, script: str) -> None:
    pid_file = tmp_path / "pids"
    source = command_source("sh", "-c", f"echo $$ > {pid_file}; {script}")
    source.prepare()
    while not (pid_file.exists() and pid_file.read_text().endswith("\n")):
        time.sleep(0.01)
    group = int(pid_file.read_text())
    source.close()
    source.close()
    deadline = time.monotonic() + 5
    while group_exists(group):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_is_never_said_to_have_lost_samples() -> None:
    timeline = command_source("true").open()
    pcm = bytes(3200)
    pieces = timeline.take(pcm, 0, 100 * MS)
    for second in range(10, 30):
        pieces += timeline.take(pcm, second * 1000 * MS - 900 * MS, second * 1000 * MS)
    assert pieces == [pcm] * 21
