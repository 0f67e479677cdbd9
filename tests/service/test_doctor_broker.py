"""The check of an MQTT broker, with a real mosquitto and with what is none."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.service.doctor.broker import check_broker, connect_packet
from stt_edge.service.doctor.finding import Finding, Level
from stt_edge.sinks.mqtt import Options
from tests.cli.test_doctor import write_certificate
from tests.mosquitto import HOST, Mosquitto, free_port, needs_mosquitto
from tests.service.doctoring import found


def broker(directory: Path, *lines: str, anonymous: bool = True) -> Mosquitto:
    """A broker with an account ``ear``, whose password is ``sesame``."""
    accounts = directory / "accounts"
    accounts.touch()
    add = ["mosquitto_passwd", "-b", str(accounts), "ear", "sesame"]
    subprocess.run(add, check=True, capture_output=True)
    lines = (f"password_file {accounts}", *lines)
    return Mosquitto(directory / "broker", lines, anonymous=anonymous)


async def look(options: Options) -> dict[str, Finding]:
    every = [finding async for finding in check_broker("sink-mqtt", options)]
    return {finding.name.removeprefix("sink-mqtt: "): finding for finding in found(every)}


def password(directory: Path, text: str) -> str:
    path = directory / "password"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@needs_mosquitto
async def test_a_broker_that_lets_us_in_is_well(tmp_path: Path) -> None:
    with broker(tmp_path, anonymous=False) as there:
        secret = password(tmp_path, "sesame\n")
        steps = await look(Options(there.url, "ear", secret))
    assert list(steps) == ["name", "connection", "login"]
    assert {step.level for step in steps.values()} == {Level.OK}
    assert "lets ear in" in steps["login"].message


@needs_mosquitto
@pytest.mark.parametrize("text", ["wrong\n", None])
async def test_a_login_that_is_refused_fails(text: str | None, tmp_path: Path) -> None:
    with broker(tmp_path, anonymous=False) as there:
        options = Options(there.url)
        if text is not None:
            options = replace(options, username="ear", password_file=password(tmp_path, text))
        login = (await look(options))["login"]
    assert login.level is Level.FAIL
    assert "refuses us" in login.message
    assert "sesame" not in login.message + login.remedy


@needs_mosquitto
async def test_a_password_file_that_is_missing_fails(tmp_path: Path) -> None:
    with broker(tmp_path) as there:
        gone = str(tmp_path / "gone")
        login = (await look(Options(there.url, "ear", gone)))["login"]
    assert (login.level, gone in login.message) == (Level.FAIL, True)


@needs_mosquitto
async def test_a_session_of_the_service_is_not_taken_over(tmp_path: Path) -> None:
    with broker(tmp_path) as there:
        reader, writer = await asyncio.open_connection(HOST, there.port)
        writer.write(connect_packet("stt-edge-kitchen", None, None))
        assert (await reader.readexactly(4))[3] == 0
        assert (await look(Options(there.url)))["login"].level is Level.OK
        writer.write(b"\xc0\x00")  # PINGREQ
        async with asyncio.timeout(10):
            assert await reader.readexactly(2) == b"\xd0\x00"
        writer.close()
        await writer.wait_closed()


async def test_a_broker_that_is_away_fails_at_its_port() -> None:
    steps = await look(Options(f"mqtt://127.0.0.1:{free_port()}"))
    assert list(steps) == ["name", "connection"]
    assert steps["connection"].level is Level.FAIL


async def test_a_name_that_nobody_knows_fails_first() -> None:
    steps = await look(Options("mqtt://nowhere.invalid"))
    assert {name: step.level for name, step in steps.items()} == {"name": Level.FAIL}


async def test_what_is_no_broker_is_told_from_one() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        login = (await look(Options(f"mqtt://127.0.0.1:{port}")))["login"]
    assert login.level is Level.FAIL
    assert "does not answer as an MQTT broker" in login.message


@needs_mosquitto
async def test_a_certificate_is_trusted_only_with_its_authority(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    pem = write_certificate(tmp_path / "server.pem", 90.5)
    with broker(tmp_path, f"certfile {pem}", f"keyfile {pem}") as there:
        url = f"mqtts://{HOST}:{there.port}"
        trusted = await look(Options(url, ca_file=str(pem)))
        stranger = await look(Options(url))
    assert "good for 90 days" in trusted["connection"].message
    assert trusted["login"].level is Level.OK
    assert list(stranger) == ["name", "connection"]
    assert stranger["connection"].level is Level.FAIL


def test_a_long_packet_has_its_length_in_two_bytes() -> None:
    packet = connect_packet("x" * 200, "ear", "sesame")
    assert packet[:3] == bytes((0x10, (len(packet) - 3) % 128 | 0x80, (len(packet) - 3) // 128))
    assert packet.endswith(b"\x00\x03ear\x00\x06sesame")
