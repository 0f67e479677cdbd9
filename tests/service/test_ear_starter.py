"""Ears are started by one thread that stays, the first of them ahead of being asked for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

import pytest

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import GateSettings
from stt_edge.service import ear_starter
from stt_edge.service.ear_process import EarProcess
from stt_edge.service.ear_starter import EarStarter

SETTINGS = EarSettings(SourceSettings(), GateSettings())
OTHERS = EarSettings(SourceSettings(device="other"), GateSettings())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, EarProcess]]:
    """What is started instead of ears, each with the thread that did it: it waits for its end."""
    found: list[tuple[int, EarProcess]] = []

    def start(settings: EarSettings, command: Sequence[str] = ()) -> EarProcess:
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


def test_an_ear_is_started_with_what_an_ear_is_started_with() -> None:
    process = EarStarter()(SETTINGS, (sys.executable, "-c", "import sys; sys.stdin.read()"))
    assert process.reap() == "exit code 0"
    process.close()


def test_all_are_started_by_one_thread_that_is_not_the_caller(
    started: list[tuple[int, EarProcess]],
) -> None:
    start_ear = EarStarter()
    start_ear.start_ahead(SETTINGS)
    for _ in range(2):
        end(start_ear(SETTINGS))
    threads = {thread for thread, _ in started}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_one_started_ahead_is_given_out_once(started: list[tuple[int, EarProcess]]) -> None:
    start_ear = EarStarter()
    start_ear.start_ahead(SETTINGS)
    first, second = start_ear(SETTINGS), start_ear(SETTINGS)
    assert [process for _, process in started] == [first, second]
    assert first.pid != second.pid
    end(first)
    end(second)


def test_one_started_ahead_for_other_settings_is_ended_first(
    started: list[tuple[int, EarProcess]],
) -> None:
    start_ear = EarStarter()
    start_ear.start_ahead(SETTINGS)
    wanted = start_ear(OTHERS)
    assert len(started) == 2
    assert not runs(started[0][1].pid)
    assert runs(wanted.pid)
    end(wanted)


def test_one_that_nobody_wants_is_ended(started: list[tuple[int, EarProcess]]) -> None:
    start_ear = EarStarter()
    start_ear.start_ahead(SETTINGS)
    start_ear.drop_ahead()
    later = start_ear(SETTINGS)  # the same thread does one after the other
    assert not runs(started[0][1].pid)
    assert runs(later.pid)
    end(later)


def test_one_that_could_not_be_started_ahead_fails_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> EarProcess:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ear_starter, "EarProcess", refuse)
    start_ear = EarStarter()
    start_ear.start_ahead(SETTINGS)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        start_ear(SETTINGS)
