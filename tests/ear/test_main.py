"""The ear as main starts it: a process, a pipe, a socketpair. No sound device is needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import (
    Audio,
    Begin,
    Fault,
    Finished,
    Opened,
    SpeechEnd,
    Stop,
    StopMode,
    encode_command,
)
from stt_edge.errors import FaultKind
from stt_edge.model import EndReason

from .running import DAEMON, RunningEar
from .test_process import loud
from .test_sandbox import is_running
from .test_sources import write_wav

QUIET = bytes(3200)


def speech(blocks: int) -> bytes:
    return b"".join(loud(1600 * number) for number in range(blocks))


def test_a_recording_is_heard_handed_over_and_finished(tmp_path: Path) -> None:
    pcm = QUIET * 5 + speech(20) + QUIET * 20
    path = write_wav(tmp_path / "a.wav", pcm)
    with RunningEar(SourceSettings(file=str(path), pace="fast")) as ear:
        assert ear.wait() == 0
        assert ear.of(Opened)[0].description == str(path)
        assert ear.of(Finished) == [Finished(len(pcm) // 2)]
        ((start, spans, end),) = ear.utterances()
        assert end is not None
        assert (start.sample, end.reason) == (1600, EndReason.SILENCE)
        (span,) = spans
        assert span.pcm == pcm[2 * start.sample : 2 * end.sample]


def test_a_fast_recording_waits_for_a_main_that_does_not_read(tmp_path: Path) -> None:
    pcm = speech(900)
    path = write_wav(tmp_path / "a.wav", pcm)
    with RunningEar(SourceSettings(file=str(path), pace="fast")) as ear:
        ear.wait_for(Opened)
        ear.reading.clear()
        time.sleep(0.5)
        assert ear.process.poll() is None
        ear.reading.set()
        assert ear.wait() == 0
        ((_, (span,), _),) = ear.utterances()
        assert span.pcm == pcm


def test_a_main_that_reads_nothing_for_a_while_misses_nothing(tmp_path: Path) -> None:
    pcm = QUIET * 5 + speech(15) + QUIET * 8
    path = write_wav(tmp_path / "a.wav", pcm)
    with RunningEar(SourceSettings(file=str(path), pace="realtime")) as ear:
        ear.wait_for(Audio)
        ear.reading.clear()
        time.sleep(1)
        ear.reading.set()
        assert ear.wait() == 0
        ((start, (span,), end),) = ear.utterances()
        assert end is not None
        assert span.pcm == pcm[2 * start.sample : 2 * end.sample]


@pytest.mark.parametrize("mode", list(StopMode))
def test_told_to_stop_it_hands_over_what_it_has_and_ends(tmp_path: Path, mode: StopMode) -> None:
    pcm = speech(200)
    path = write_wav(tmp_path / "a.wav", pcm)
    with RunningEar(SourceSettings(file=str(path))) as ear:
        ear.wait_for(Audio, 3)
        ear.send(Stop(mode))
        assert ear.wait() == 0
        ((_, (span,), end),) = ear.utterances()
        assert end is not None
        assert (end.reason, end.sample) == (mode.reason, span.end)
        assert span.pcm == pcm[: len(span.pcm)]
        assert ear.messages[-1] == Finished(span.end)
        assert ear.of(SpeechEnd) == [end]


def test_a_command_is_heard_and_its_failure_told() -> None:
    script = "head -c 64000 /dev/zero; echo The cable is out. >&2; exit 3"
    with RunningEar(SourceSettings(command=("sh", "-c", script))) as ear:
        assert ear.wait() == 69
        fault = ear.of(Fault)[-1]
        assert fault.kind is FaultKind.COMMAND
        assert "exit code 3" in fault.message
        assert "The cable is out." in ear.stderr_if_over()


def test_a_command_may_use_a_network_that_the_ear_does_not_have() -> None:
    script = "import socket; socket.socket(); print('x' * 6400, end='')"
    with RunningEar(SourceSettings(command=(sys.executable, "-c", script))) as ear:
        assert ear.wait() == 0, ear.stderr_if_over()
        assert ear.of(Finished) == [Finished(3200)]


def test_it_filters_its_own_system_calls() -> None:
    with RunningEar(SourceSettings(command=("sleep", "60"))) as ear:
        status = Path(f"/proc/{ear.process.pid}/status")
        deadline = time.monotonic() + 10
        # In a container a filter may be inherited; that it gave up new privileges is its own doing.
        while not all(mark in status.read_text() for mark in ("NoNewPrivs:\t1", "Seccomp:\t2")):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_an_interrupt_from_the_terminal_is_not_for_it(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", QUIET * 10)
    with RunningEar(SourceSettings(file=str(path))) as ear:
        ear.wait_for(Opened)
        ear.process.send_signal(signal.SIGINT)
        assert ear.wait() == 0


def test_it_ends_when_nobody_reads_any_more(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", QUIET * 600)
    read_end, write_end = os.pipe()
    ours, theirs = socket.socketpair()
    begin = Begin(EarSettings(SourceSettings(file=str(path))).to_json())
    with ours, theirs:
        ours.sendall(encode_command(begin))
        process = subprocess.Popen(
            [sys.executable, "-m", "stt_edge.ear", str(write_end), str(theirs.fileno())],
            pass_fds=(write_end, theirs.fileno()),
            env={**os.environ, "PYTHONPATH": str(DAEMON)},
        )
        os.close(write_end)
        os.read(read_end, 1)
        os.close(read_end)
        assert process.wait(20) == 1


def test_a_main_that_died_before_it_was_listening_is_noticed(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        process = subprocess.run(
            [
                *(sys.executable, "-m", "stt_edge.ear"),
                *(str(write_end), str(theirs.fileno())),
            ],
            pass_fds=(write_end, theirs.fileno()),
            env={**os.environ, "PYTHONPATH": str(DAEMON)},
            timeout=20,
            check=False,
        )
    os.close(write_end)
    os.close(read_end)
    assert process.returncode == 1


def test_killing_it_ends_its_command_too() -> None:
    with RunningEar(SourceSettings(command=("sh", "-c", "sleep 60"))) as ear:
        children = Path(f"/proc/{ear.process.pid}/task/{ear.process.pid}/children")
        deadline = time.monotonic() + 10
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ear.process.kill()
        ear.process.wait()
        while is_running(int(found[0])):
            assert time.monotonic() < deadline
            time.sleep(0.02)
