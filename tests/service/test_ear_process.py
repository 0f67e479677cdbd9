"""The ear as a real process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from stt_edge.ear import wire
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.service.ear_process import EarProcess
from tests.fakes.ear import Act, FakeEar, die, hang, hear, opened

SETTINGS = EarSettings(SourceSettings(device="USB"))

INSPECTOR = """
import json, os, sys
pipe, commands = int(sys.argv[1]), int(sys.argv[2])
os.write(pipe, json.dumps({
    "begin": os.read(commands, 65536).decode(),
    "arguments": sys.argv[1:],
    "session": os.getsid(0) == os.getpid(),
    "stdin": os.read(0, 1).decode(),
    "open": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "environment": sorted(os.environ),
}).encode())
"""


def spawn(directory: Path, *acts: Act) -> EarProcess:
    ear = EarProcess(FakeEar(directory, list(acts)).command)
    ear.begin(SETTINGS)
    return ear


def read_all(descriptor: int) -> bytes:
    data = b""
    while chunk := os.read(descriptor, 65_536):
        data += chunk
    return data


def inspect() -> dict[str, object]:
    environment = {**os.environ, "NOTIFY_SOCKET": "/x", "CREDENTIALS_DIRECTORY": "/y", "KEEP": "1"}
    ear = EarProcess((sys.executable, "-c", INSPECTOR), environment)
    ear.begin(SETTINGS)
    seen: dict[str, object] = json.loads(read_all(ear.pipe))
    assert ear.reap() == "exit code 0"
    ear.close()
    return seen


def test_an_ear_gets_its_settings_and_two_channels_and_nothing_else_of_ours() -> None:
    seen = inspect()
    begin = wire.decode_command(str(seen["begin"]).encode())
    assert isinstance(begin, wire.Begin)
    assert EarSettings.from_json(begin.settings) == SETTINGS
    assert len(str(seen["arguments"])) < 20, "a command may be given a secret, and ps shows this"
    descriptors = seen["open"]
    assert isinstance(descriptors, list)
    assert len(descriptors) == 6, "0, 1, 2, the pipe, the commands, and the listing itself"
    assert seen["stdin"] == ""


def test_an_ear_has_a_session_of_its_own() -> None:
    assert inspect()["session"] is True


def test_an_ear_cannot_speak_to_systemd_or_read_credentials() -> None:
    names = inspect()["environment"]
    assert isinstance(names, list)
    assert "KEEP" in names
    assert not {"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"} & set(names)


def test_a_command_reaches_the_ear_and_it_obeys(tmp_path: Path) -> None:
    ear = spawn(tmp_path, opened(), hear())
    assert ear.send(wire.Stop(wire.StopMode.STOP))
    assert isinstance(wire.Decoder().feed(read_all(ear.pipe))[-1], wire.Finished)
    assert ear.reap() == "exit code 0"
    ear.close()


@pytest.mark.parametrize(
    ("code", "how"),
    [(0, "exit code 0"), (3, "exit code 3"), (-signal.SIGSEGV, "signal 11, SIGSEGV")],
)
def test_how_an_ear_ended_is_said_for_a_person(tmp_path: Path, code: int, how: str) -> None:
    ear = spawn(tmp_path, die(code))
    read_all(ear.pipe)
    assert ear.reap() == how
    ear.close()


def test_a_stopped_ear_is_killed_all_the_same(tmp_path: Path) -> None:
    ear = spawn(tmp_path, opened(), hang())
    os.read(ear.pipe, 1)
    os.kill(ear.pid, signal.SIGSTOP)
    ear.kill()
    assert ear.reap() == "signal 9, SIGKILL"
    ear.kill()  # once more does no harm
    ear.close()


def test_an_ear_that_closes_its_pipe_and_stays_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_edge.service.ear_process._GRACE_S", 0.1)
    ear = spawn(tmp_path, opened(), hang())
    os.read(ear.pipe, 1)
    assert ear.reap() == "signal 9, SIGKILL"
    ear.close()


def test_a_command_to_an_ear_that_is_gone_or_does_not_listen_never_waits(tmp_path: Path) -> None:
    ear = spawn(tmp_path, opened(), hang())
    command = wire.GateSettings()
    deadline = time.monotonic() + 10
    while ear.send(command):
        assert time.monotonic() < deadline
    ear.kill()
    ear.reap()
    assert not ear.send(command)
    ear.close()
    assert not ear.send(command)


def test_a_program_that_does_not_exist_raises_and_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        EarProcess(("/nonexistent/ear",))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_ear_dies_of_nothing_that_interrupts_the_terminal(tmp_path: Path) -> None:
    ear = spawn(tmp_path, opened(), hear())
    os.read(ear.pipe, 1)
    assert os.getpgid(ear.pid) != os.getpgid(0), "Ctrl-C does not reach it"
    ear.kill()
    ear.reap()
    ear.close()
