"""Ears are started by one thread that stays, some of them ahead of being asked for."""

from __future__ import annotations

import os
import select
import sys
import threading
import wave
from collections.abc import Sequence
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

    def start(command: Sequence[str]) -> EarProcess:
        process = EarProcess((sys.executable, "-c", "import time; time.sleep(60)"))
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
    starter.prepare()
    end(starter.start(SETTINGS))
    end(starter.start(SETTINGS))
    threads = {thread for thread, _ in started}
    assert (len(threads), len(started)) == (1, 2)
    assert threading.get_ident() not in threads


def test_one_that_is_ready_is_given_out_once(started: list[tuple[int, EarProcess]]) -> None:
    starter = EarStarter()
    starter.prepare()
    starter.prepare()  # there is one already
    first, second = starter.start(SETTINGS), starter.start(SETTINGS)
    assert [process for _, process in started] == [first, second]
    assert first.pid != second.pid
    end(first)
    end(second)


@pytest.mark.parametrize("wanted", [(OTHERS, COMMAND), (SETTINGS, ("another",))])
def test_one_that_hears_something_else_is_ended_first(
    started: list[tuple[int, EarProcess]], wanted: tuple[EarSettings, tuple[str, ...]]
) -> None:
    starter = EarStarter()
    starter.prepare(COMMAND)
    starter.begin_ahead(SETTINGS)
    process = starter.start(*wanted)
    assert len(started) == 2
    assert not runs(started[0][1].pid)
    assert runs(process.pid)
    end(process)


def test_one_that_nobody_wants_is_ended(started: list[tuple[int, EarProcess]]) -> None:
    starter = EarStarter()
    starter.prepare()
    starter.drop()
    later = starter.start(SETTINGS)  # the same thread does one after the other
    assert not runs(started[0][1].pid)
    assert runs(later.pid)
    end(later)


def test_one_that_could_not_be_made_ready_fails_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> EarProcess:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ear_starter, "EarProcess", refuse)
    starter = EarStarter()
    starter.prepare()
    starter.begin_ahead(SETTINGS)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        starter.start(SETTINGS)


def test_one_that_is_ready_has_opened_nothing_and_is_told_once_to_begin(
    recording: EarSettings,
) -> None:
    starter = EarStarter()
    starter.prepare()
    assert starter._ready is not None
    ready = starter._ready.process.result()
    assert reads(ready, 1) == b""
    starter.begin_ahead(recording)
    first = reads(ready, 20)
    assert isinstance(Decoder().feed(first)[0], Opened)
    process = starter.start(recording)
    assert process is ready
    end(process)


def test_one_that_is_ready_ends_with_main() -> None:
    process = EarProcess()
    assert reads(process, 1) == b""
    process._commands.close()
    assert process.reap() == "exit code 1"
