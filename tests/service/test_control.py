"""The control socket: a real server, and clients of every kind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import (
    ExitCode,
    PermissionDeniedError,
    TemporaryError,
    UnavailableError,
)
from stt_edge.service import control, control_client
from stt_edge.service.control import MAX_CLIENTS, MAX_REQUEST_BYTES, ControlServer
from stt_edge.service.control_client import NotRunningError, RefusedError, ask


async def echo(request: Mapping[str, Any]) -> Any:
    return {"got": dict(request)}


async def refuse(_: Mapping[str, Any]) -> Any:
    raise TemporaryError("Not now.", "Wait a little.")


async def stall(_: Mapping[str, Any]) -> Any:
    await asyncio.Event().wait()


async def big(_: Mapping[str, Any]) -> Any:
    return "x" * 500_000


HANDLERS = {"echo": echo, "refuse": refuse, "stall": stall, "big": big}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(tmp_path / "control.sock", HANDLERS, idle_s=0.5)
    await server.start()
    yield tmp_path / "control.sock"
    await server.close()


async def client(place: Path, command: str, **arguments: Any) -> Any:
    """Ask as a command does, from a thread."""
    return await asyncio.to_thread(ask, [place], command, timeout_s=10, **arguments)


async def raw(place: Path, data: bytes) -> dict[str, Any]:
    """Send bytes and return the answer."""
    reader, writer = await asyncio.open_unix_connection(place)
    writer.write(data)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 5))
    writer.transport.abort()  # a server that refuses has not read what was sent, which is an error
    return answer


async def test_a_command_is_answered(place: Path) -> None:
    answer = await client(place, "echo", word="Grüße")
    assert answer == {"got": {"command": "echo", "word": "Grüße"}}


async def test_one_connection_may_ask_many_times(place: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(place)
    for number in range(5):
        writer.write(json.dumps({"command": "echo", "n": number}).encode() + b"\n")
        answer = json.loads(await reader.readline())
        assert answer["result"]["got"]["n"] == number
    writer.close()


async def test_a_long_answer_arrives_whole(place: Path) -> None:
    assert len(await client(place, "big")) == 500_000


async def test_an_error_of_ours_is_an_answer_with_remedy_and_exit_code(place: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        await client(place, "refuse")
    assert (caught.value.message, caught.value.remedy) == ("Not now.", "Wait a little.")
    assert caught.value.exit_code == ExitCode.TEMPORARY


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"hello\n", "one line of JSON"),
        (b"\xff\xfe\n", "one line of JSON"),
        (b"[" * 10_000 + b"\n", "one line of JSON"),
        (b"[1]\n", "JSON object"),
        (b'{"command": 3}\n', "JSON object"),
        (b'{"command": "fly"}\n', "there are big, echo, refuse, stall"),
        (b"x" * (MAX_REQUEST_BYTES + 100) + b"\n", "at most"),
        (b"x" * (MAX_REQUEST_BYTES * 8), "at most"),
    ],
    ids=["text", "binary", "deep", "list", "number", "unknown", "long", "endless"],
)
async def test_malformed_input_is_answered_and_harms_nobody(
    place: Path, line: bytes, said: str
) -> None:
    answer = await raw(place, line)
    assert not answer["ok"]
    assert said in answer["error"]
    assert (await client(place, "echo"))["got"] == {"command": "echo"}


async def test_clients_that_say_nothing_or_stop_halfway_are_cut_off(place: Path) -> None:
    silent, silent_writer = await asyncio.open_unix_connection(place)
    half, half_writer = await asyncio.open_unix_connection(place)
    half_writer.write(b'{"command"')
    assert await asyncio.wait_for(silent.read(), 5) == b""
    assert await asyncio.wait_for(half.read(), 5) == b""
    silent_writer.close()
    half_writer.close()


async def test_a_client_that_does_not_read_its_answers_is_cut_off(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WRITE_S", 0.2)
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(str(place))
    deaf.sendall(b'{"command": "big"}\n' * 10)
    assert (await client(place, "echo"))["got"] == {"command": "echo"}
    await asyncio.sleep(0.4)
    deaf.settimeout(5)
    received = 0
    while data := await asyncio.to_thread(deaf.recv, 1 << 20):
        received += len(data)
    assert received < 5_000_000
    deaf.close()


async def test_a_client_that_leaves_without_waiting_harms_nobody(place: Path) -> None:
    for _ in range(5):
        for _ in range(MAX_CLIENTS - 1):
            hasty = socket.socket(socket.AF_UNIX)
            hasty.connect(str(place))
            hasty.sendall(b'{"command": "big"}\n')
            hasty.close()
        assert (await client(place, "echo"))["got"] == {"command": "echo"}


async def test_too_many_clients_are_told_to_come_back(place: Path) -> None:
    crowd = [await asyncio.open_unix_connection(place) for _ in range(MAX_CLIENTS)]
    answer = await raw(place, b'{"command": "echo"}\n')
    assert answer["code"] == ExitCode.TEMPORARY
    for _, writer in crowd:
        writer.close()


async def test_only_owner_and_group_may_use_the_socket(place: Path) -> None:
    assert place.stat().st_mode & 0o777 == 0o660


async def test_a_second_server_is_refused_and_the_first_lives_on(place: Path) -> None:
    second = ControlServer(place, HANDLERS)
    with pytest.raises(UnavailableError, match="Another stt-edge listens"):
        await second.start()
    await second.close()
    assert (await client(place, "echo"))["got"] == {"command": "echo"}


async def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "control.sock"
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from stt_edge.service.control import ControlServer\n"
        "async def main():\n"
        f"    await ControlServer(Path({str(place)!r}), {{}}).start()\n"
        "    print('up', flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    dead = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert dead.stdout is not None
    assert await asyncio.to_thread(dead.stdout.readline) == b"up\n"
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    dead.stdout.close()
    assert place.exists()
    server = ControlServer(place, HANDLERS)
    await server.start()
    assert (await client(place, "echo"))["got"] == {"command": "echo"}
    await server.close()


async def test_a_closed_server_leaves_no_socket_and_may_start_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "control.sock"
    server = ControlServer(place, HANDLERS)
    await server.start()
    lingering = socket.socket(socket.AF_UNIX)
    lingering.connect(str(place))
    lingering.sendall(b'{"command": "stall"}\n')
    await asyncio.sleep(0.05)
    await server.close()
    assert not place.exists()
    assert lingering.recv(10) == b""
    lingering.close()
    await server.start()
    await server.close()
    assert caplog.messages == []


async def test_a_place_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Cannot listen on"):
        await ControlServer(tmp_path / "gone" / "control.sock", {}).start()
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with pytest.raises(UnavailableError, match="too long"):
        await ControlServer(deep / "control.sock", {}).start()


# The client alone


def test_no_daemon_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError) as caught:
        ask([tmp_path / "a.sock", tmp_path / "b.sock"], "status")
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert "systemctl start stt-edge" in caught.value.remedy


def test_the_socket_of_a_dead_daemon_does_not_hide_a_living_one(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    with listening(tmp_path / "alive", b'{"ok": true, "result": 7}\n'):
        assert ask([tmp_path / "stale", tmp_path / "alive"], "status") == 7


def test_a_socket_that_may_not_be_used_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(PermissionDeniedError) as caught:
        ask([tmp_path / "control.sock"], "status")
    assert "usermod -aG stt-edge" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.PERMISSION


def test_a_refusal_is_heard_though_the_daemon_has_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b'{"ok": false, "error": "Too many clients.", "code": 75}\n')
    theirs.close()
    monkeypatch.setattr(control_client, "_connect", lambda *_: ours)
    with pytest.raises(RefusedError, match="Too many clients"):
        ask([Path("control.sock")], "status")


def test_a_daemon_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    with (
        listening(tmp_path / "s", None),
        pytest.raises(TemporaryError, match="has not answered within"),
    ):
        ask([tmp_path / "s"], "status", timeout_s=0.1)


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"[1]\n", b'{"ok": tr'])
def test_an_answer_that_makes_no_sense_is_a_clear_error(tmp_path: Path, answer: bytes) -> None:
    with listening(tmp_path / "s", answer), pytest.raises(UnavailableError):
        ask([tmp_path / "s"], "status", timeout_s=5)


class listening:  # noqa: N801  reads as a statement
    """A peer that accepts one connection and answers with the given bytes, or never (None)."""

    def __init__(self, place: Path, answer: bytes | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(place))
        self._socket.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> None:
        if self._answer is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._answer is not None:
            self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        assert self._answer is not None
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(self._answer)
            connection.shutdown(socket.SHUT_RDWR)


ASK_AS_NOBODY = """
import json, os, socket, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(json.dumps({"command": sys.argv[2]}).encode() + b"\\n")
    print(connection.recv(65536).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
async def test_what_deletes_is_for_root_and_the_user_of_the_daemon() -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="stt-edge-control-"))
    place.chmod(0o755)
    server = ControlServer(place / "control.sock", HANDLERS, privileged=["echo"])
    await server.start()
    try:
        (place / "control.sock").chmod(0o666)

        async def asked_by_nobody(command: str) -> Any:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ASK_AS_NOBODY, str(place / "control.sock"), command),
                stdout=asyncio.subprocess.PIPE,
            )
            return json.loads((await process.communicate())[0])

        answer = await asked_by_nobody("echo")
        assert (answer["ok"], answer["code"]) == (False, ExitCode.PERMISSION)
        assert (await asked_by_nobody("refuse"))["error"] == "Not now."
        assert (await client(place / "control.sock", "echo"))["got"] == {"command": "echo"}
    finally:
        await server.close()
        shutil.rmtree(place)
