"""Ears are started by one thread that stays, some of them ahead of being asked for."""

from __future__ import annotations

import os
import select
import sys
import threading
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import Decoder, GateSettings, Opened
from stt_edge.service import ear_starter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_starter import EarStarter

SETTINGS = EarSettings(SourceSettings(), GateSettings())
COMMAND = ("an", "ear")
OTHERS = EarSettings(SourceSettings(device="other"), GateSettings())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, EarProcess]]:
    """What is started instead of ears, each with the thread that did it: it waits for its end."""
    found: list[tuple[int, EarProcess]] = []

    def start(settings: EarSettings, command: Sequence[str]) -> EarProcess:
        process = EarProcess(settings, (sys.executable, "-c", "import time; time.sleep(60)"))
        found.append((threading.get_ident(), process))
        return process

    monkeypatch.setattr(ear_starter, "EarProcess", start)
    return found


def end(process: EarProcess) -> None:
    process.kill()
    assert process.reap() == "signal 9, SIGKILL"
    process.close()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def reads(process: EarProcess, timeout_s: float) -> bytes:
    """Return what an ear says next, or nothing where it says nothing."""
    said = select.select([process.pipe], [], [], timeout_s)[0]
    return os.read(process.pipe, 1 << 16) if said else b""


@pytest.fixture
def recording(tmp_path: Path) -> EarSettings:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16_000 * 60))
    return EarSettings(SourceSettings(file=str(tmp_path / "a.wav")), GateSettings())


def test_an_ear_is_started_with_what_an_ear_is_started_with() -> None:
    process = EarStarter().start(SETTINGS, (sys.executable, "-c", "import sys; sys.stdin.read()"))
    assert process.reap() == "exit code 0"
    process.close()


def test_all_are_started_by_one_thread_that_is_not_the_caller(
    started: list[tuple[int, EarProcess]],
) -> None:
    starter = EarStarter()
    starter.start_ahead(SETTINGS)
    end(starter.start(SETTINGS))
    end(starter.start(SETTINGS))
    starter.keep_ready(SETTINGS)
    end(starter.start(SETTINGS))
    threads = {thread for thread, _ in started}
    assert (len(threads), len(started)) == (1, 3)
    assert threading.get_ident() not in threads


def test_one_started_ahead_is_given_out_once(started: list[tuple[int, EarProcess]]) -> None:
    starter = EarStarter()
    starter.start_ahead(SETTINGS)
    first, second = starter.start(SETTINGS), starter.start(SETTINGS)
    assert [process for _, process in started] == [first, second]
    assert first.pid != second.pid
    end(first)
    end(second)


@pytest.mark.parametrize("wanted", [(OTHERS, COMMAND), (SETTINGS, ("another",))])
def test_one_started_ahead_for_something_else_is_ended_first(
    started: list[tuple[int, EarProcess]], wanted: tuple[EarSettings, tuple[str, ...]]
) -> None:
    starter = EarStarter()
    starter.start_ahead(SETTINGS, COMMAND)
    process = starter.start(*wanted)
    assert len(started) == 2
    assert not runs(started[0][1].pid)
    assert runs(process.pid)
    end(process)


def test_one_that_nobody_wants_is_ended(started: list[tuple[int, EarProcess]]) -> None:
    starter = EarStarter()
    starter.start_ahead(SETTINGS)
    starter.drop()
    later = starter.start(SETTINGS)  # the same thread does one after the other
    assert not runs(started[0][1].pid)
    assert runs(later.pid)
    end(later)


def test_one_that_could_not_be_started_ahead_fails_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> EarProcess:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ear_starter, "EarProcess", refuse)
    starter = EarStarter()
    starter.start_ahead(SETTINGS)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        starter.start(SETTINGS)


def test_one_kept_ready_opens_nothing_until_it_is_wanted(recording: EarSettings) -> None:
    starter = EarStarter()
    starter.keep_ready(recording)
    starter.keep_ready(recording)  # it is there already
    ready = starter._ahead
    assert ready is not None
    assert reads(ready.process.result(), 1) == b""
    process = starter.start(recording)
    assert process is ready.process.result()
    assert isinstance(Decoder().feed(reads(process, 20))[0], Opened)
    end(process)


def test_one_kept_ready_is_given_up_for_other_settings(
    started: list[tuple[int, EarProcess]],
) -> None:
    starter = EarStarter()
    starter.keep_ready(SETTINGS)
    starter.keep_ready(OTHERS)
    process = starter.start(OTHERS)
    assert [each.pid for _, each in started][1:] == [process.pid]
    assert not runs(started[0][1].pid)
    end(process)


def test_one_kept_ready_ends_with_main(recording: EarSettings) -> None:
    process = EarProcess(replace(recording, stands_by=True))
    assert reads(process, 1) == b""
    process._commands.close()
    assert process.reap() == "exit code 1"
