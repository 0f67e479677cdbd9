"""``stt-edge doctor``: what it finds of providers, with servers that are well and others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from stt_edge.cli.main import main
from stt_edge.config.settings import ProviderEntry
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Billing
from stt_edge.service.doctor import checks
from stt_edge.service.doctor.finding import Level
from stt_edge.service.doctor.network import Address, address_of, proxy_of, reach, resolve
from stt_edge.service.doctor.provider import check_provider, shake_hands
from tests.fakes.provider import Behaviour, FakeServer
from tests.simulators.core import Faults
from tests.simulators.deepgram import Simulator


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def providers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the other checks out: they look at the machine the tests run on."""
    monkeypatch.setattr(checks, "CHECKS", ())
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))


Ask = Callable[..., Awaitable[dict[str, dict[str, Any]]]]


@pytest.fixture
def ask(providers_only: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Write a configuration with one provider, and return the doctor's findings by name."""

    async def look(code: int, **options: Any) -> dict[str, dict[str, Any]]:
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"providers": [options]}))
        assert await asyncio.to_thread(main, ["doctor", "--json", "-c", str(path)]) == code
        body = json.loads(capsys.readouterr().out)
        assert body["ok"] is (code == 0)
        return {
            each["name"].partition(": ")[2] or each["name"]: each
            for each in body["findings"]
            if each["name"].startswith(("configuration", "provider"))
        }

    return look


# Everything together


async def test_a_provider_that_is_well_is_asked_and_sent_nothing(ask: Ask, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        found = await ask(0, name="deepgram", **simulator.options(tmp_path))
    assert list(found) == [
        "configuration",
        "provider deepgram",
        "key",
        "name",
        "connection",
        "handshake",
    ]
    assert {each["level"] for each in found.values()} == {"ok"}
    assert found["name"]["message"].startswith("127.0.0.1 is 127.0.0.1 (")
    assert [session.pcm for session in simulator.sessions] == [b""] * len(simulator.sessions)


async def test_a_key_that_is_refused_fails_with_what_to_do(ask: Ask, tmp_path: Path) -> None:
    async with Simulator(Faults(http_status=401)) as simulator:
        found = await ask(1, name="deepgram", **simulator.options(tmp_path))
    handshake = found["handshake"]
    assert handshake["level"] == "fail"
    assert "401" in handshake["message"]
    assert "valid key" in handshake["remedy"]


async def test_a_port_that_takes_no_connections_is_not_greeted(ask: Ask, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        options = simulator.options(tmp_path)
    found = await ask(1, name="deepgram", **options)
    assert found["connection"]["level"] == "fail"
    assert "no connection to 127.0.0.1" in found["connection"]["message"]
    assert "handshake" not in found


@pytest.mark.parametrize(
    ("content", "mode", "level", "told"),
    [
        ("sesame\n", 0o644, "warn", "can be read by everybody"),
        ("sesame\n", 0o660, "warn", "can be changed by others"),
        ("sesame\n", 0o640, "ok", "can be read, and not by everybody"),
        ("one\ntwo\n", 0o600, "fail", "more than one line"),
        ("", 0o600, "fail", "is empty"),
        (None, 0, "fail", "cannot be read: No such file"),
    ],
)
async def test_the_key_file_is_looked_at(
    content: str | None, mode: int, level: str, told: str, *, ask: Ask, tmp_path: Path
) -> None:
    key = tmp_path / "the-key"
    if content is not None:
        key.write_text(content)
        key.chmod(mode)
    url = "ws://127.0.0.1:1/v1/listen"
    found = await ask(1, name="deepgram", url=url, api_key_file=str(key))
    assert found["key"]["level"] == level
    assert told in found["key"]["message"]
    assert bool(found["key"]["remedy"]) is (level != "ok")
    assert ("connection" in found) is (level != "fail")


async def test_a_local_engine_is_not_started_but_its_model_is_looked_for(ask: Ask) -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    found = await ask(0, name="pocketsphinx")
    assert found["provider pocketsphinx"]["message"] == "is installed; its model en-us is there."
    assert list(found) == ["configuration", "provider pocketsphinx"]


async def test_what_cannot_be_set_up_is_said_with_what_to_do() -> None:
    (finding,) = [each async for each in check_provider(ProviderEntry("x", "pocketsfinx", None))]
    assert (finding.name, finding.level) == ("provider x", Level.FAIL)
    assert finding.remedy == "Did you mean pocketsphinx?"


async def test_a_bad_configuration_is_a_finding(ask: Ask) -> None:
    found = await ask(1, name="deepgramm")
    assert [each["level"] for each in found.values()] == ["fail"]


@pytest.mark.usefixtures("providers_only")
def test_the_table_says_each_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    key = tmp_path / "none"
    path.write_text(f"providers: [{{name: deepgram, api_key_file: {key}}}]\n")
    assert main(["doctor", "-c", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"ok    configuration: {path}."
    assert lines[1].startswith("ok    provider deepgram: ")
    assert lines[2].startswith(f"fail  provider deepgram: key: The key file {key} cannot be read")
    assert lines[3] == f"      Put the key, alone on one line, into {key}."
    assert lines[4] == "2 well, 0 doubtful, 1 failing"


# Addresses and names


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://api.example.com/v1?x=1", Address("wss", "api.example.com", 443)),
        ("ws://user:secret@[::1]:8080", Address("ws", "::1", 8080)),
        ("tcp://host:10300", Address("tcp", "host", 10300)),
        ("https://", None),
        ("ws://host:99999", None),
        ("nonsense", None),
    ],
)
def test_the_address_is_in_the_url(url: str, address: Address | None) -> None:
    assert address_of(url) == address


async def test_a_name_that_nobody_knows_fails() -> None:
    finding = await resolve("name", Address("wss", "nowhere.invalid", 443))
    assert finding.level is Level.FAIL
    assert finding.message.startswith("nowhere.invalid cannot be resolved: ")
    assert "resolvectl" in finding.remedy


def test_a_proxy_is_asked_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address("wss", "api.example.com", 443)
    assert proxy_of(address) is None
    monkeypatch.setenv("https_proxy", "http://proxy.lan:3128")
    assert proxy_of(address) == Address("http", "proxy.lan", 3128)
    monkeypatch.setenv("no_proxy", "example.com")
    assert proxy_of(address) is None


# Connections, certificates and clocks


@contextlib.asynccontextmanager
async def server(
    ahead_s: float | None, context: ssl.SSLContext | None = None
) -> AsyncIterator[Address]:
    """An HTTP server whose clock is ``ahead_s`` seconds ahead; None tells no time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            now = datetime.now(UTC) + timedelta(seconds=ahead_s or 0)
            date = f"Date: {format_datetime(now, usegmt=True)}\r\n" if ahead_s is not None else ""
            writer.write(f"HTTP/1.1 404 Not Found\r\n{date}\r\n".encode())
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield Address("wss" if context else "ws", "127.0.0.1", port)


@pytest.mark.parametrize(
    ("ahead_s", "level", "told"),
    [
        (0, Level.OK, "agrees with 127.0.0.1 within a minute"),
        (7200, Level.WARN, "s behind 127.0.0.1"),
        (-7200, Level.WARN, "s ahead of 127.0.0.1"),
    ],
)
async def test_the_clock_is_compared_with_the_servers(
    ahead_s: float, level: Level, told: str
) -> None:
    async with server(ahead_s) as address:
        connection, clock = await reach("x", address, None)
    assert connection.level is Level.OK
    assert (clock.name, clock.level) == ("x: clock", level)
    assert told in clock.message
    assert ("timedatectl" in clock.remedy) is (level is Level.WARN)


async def test_a_server_that_tells_no_time_is_not_asked_for_it_in_vain() -> None:
    async with server(None) as address:
        assert [finding.name for finding in await reach("x", address, None)] == ["x: connection"]


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[float], tuple[ssl.SSLContext, str]]:
    pytest.importorskip("cryptography", reason="cryptography is not installed")

    def make(days: float) -> tuple[ssl.SSLContext, str]:
        path = write_certificate(tmp_path / "server.pem", days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context, str(path)

    return make


@pytest.mark.parametrize(("days", "level"), [(90.5, Level.OK), (5.5, Level.WARN)])
async def test_a_certificate_that_ends_soon_is_a_warning(
    days: float, level: Level, certificate: Callable[[float], tuple[ssl.SSLContext, str]]
) -> None:
    context, ca_file = certificate(days)
    async with server(0, context) as address:
        connection, _ = await reach("x", address, ca_file)
    assert connection.level is level
    assert f"good for {int(days)} days" in connection.message


async def test_a_certificate_agrees_with_the_clock_where_the_server_tells_no_time(
    certificate: Callable[[float], tuple[ssl.SSLContext, str]],
) -> None:
    context, ca_file = certificate(90)
    async with server(None, context) as address:
        _, clock = await reach("x", address, ca_file)
    assert clock.level is Level.OK
    assert "its certificate agrees" in clock.message


async def test_a_certificate_nobody_vouches_for_fails(
    certificate: Callable[[float], tuple[ssl.SSLContext, str]],
) -> None:
    context, _ = certificate(90)
    async with server(0, context) as address:
        (connection,) = await reach("x", address, None)
    assert connection.level is Level.FAIL
    assert "is refused" in connection.message
    assert "ca_file" in connection.remedy


def write_certificate(path: Path, days: float) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    import ipaddress

    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


# Handshakes


async def test_the_handshake_waits_until_the_provider_is_ready() -> None:
    server = FakeServer(Behaviour(ready_s=0.05))
    finding = await shake_hands("x", server.provider())
    assert finding.level is Level.OK
    assert finding.message.startswith("is ready after ")
    assert not server.connections[0].open
    assert server.utterances == []


async def test_a_provider_that_never_gets_ready_fails() -> None:
    server = FakeServer(Behaviour(ready_s=60))
    finding = await shake_hands("x", server.provider(connect_timeout_s=0.1))
    assert (finding.level, finding.message) == (Level.FAIL, "it is not ready after 0.1 s.")


@pytest.mark.parametrize(
    ("kind", "level"), [(FailureKind.DENIED, Level.FAIL), (FailureKind.OVERLOADED, Level.WARN)]
)
async def test_a_refusal_is_told_with_a_remedy(kind: FailureKind, level: Level) -> None:
    server = FakeServer(Behaviour(refuse=ProviderError(kind, "not now")))
    finding = await shake_hands("x", server.provider())
    assert (finding.level, finding.message) == (level, "not now")
    assert finding.remedy


@pytest.mark.parametrize("billing", list(Billing))
async def test_a_session_that_is_paid_by_the_hour_is_ended(billing: Billing) -> None:
    said: list[str] = []
    server = FakeServer(watch=lambda what, *_: said.append(what))
    await shake_hands("x", server.provider(billing=billing))
    assert ("goodbye" in said) is (billing is Billing.SESSION)
