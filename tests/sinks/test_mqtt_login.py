"""How the MQTT sink gets in: passwords, TLS, client certificates; and what never gets out."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.redaction import redact
from stt_edge.sinks.mqtt import Options
from tests.fakes.mqtt_broker import MqttBroker
from tests.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.providers.certificates import Authority
from tests.sinks.mqtt_room import room, until

PASSWORD = "öpen sesame 17"

pytestmark = needs_mosquitto


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that lets in who knows the password."""
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-c", "-b", str(passwords), "stt-edge", PASSWORD], check=True
    )
    lines = [f"password_file {passwords}"]
    with Mosquitto(tmp_path / "broker", lines, anonymous=False) as broker:
        yield broker


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class TlsMosquitto(Mosquitto):
    @property
    def tls_url(self) -> str:
        return self.url.replace("mqtt://", "mqtts://")


def tls_broker(tmp_path: Path, authority: Authority, *lines: str) -> TlsMosquitto:
    server = authority.issue("server", ("localhost", "127.0.0.1"))
    return TlsMosquitto(
        tmp_path / "broker",
        [f"cafile {authority.file}", f"certfile {server}", f"keyfile {server}", *lines],
    )


async def test_the_password_is_read_from_its_file_at_each_attempt(
    locked: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "password"
    file.write_text("something else\n")
    options = Options(url=locked.url, username="stt-edge", password_file=str(file))
    async with room(options) as kitchen:
        kitchen.say("one")
        await until(lambda: "does not let 'stt-edge' in" in kitchen.trouble)
        assert "password_file" in kitchen.trouble
        file.write_text(f"{PASSWORD}\n")
        await kitchen.until_delivered(1)
    assert PASSWORD not in caplog.text
    assert "something else" not in caplog.text
    assert PASSWORD not in redact(f"user stt-edge, password {PASSWORD}")


async def test_who_says_no_name_is_not_let_in(locked: Mosquitto) -> None:
    async with room(Options(url=locked.url)) as kitchen:
        await until(lambda: "does not let a client without a name in" in kitchen.trouble)
        assert kitchen.follower.status().delivered == 0


async def test_a_password_that_cannot_be_read_is_said_and_nobody_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "password"
    async with MqttBroker.running() as broker:
        options = Options(url=broker.url, username="stt-edge", password_file=str(file))
        async with room(options) as kitchen:
            await until(lambda: f"{file} cannot be read: No such file" in kitchen.trouble)
            assert f"into {file}" in kitchen.trouble
            assert broker.versions_asked == []
            file.write_text("one\ntwo\n")
            await until(lambda: "more than one line" in kitchen.trouble)
            file.write_text("good")
            await until(lambda: broker.versions_asked)


async def test_a_systemd_credential_can_hold_the_password(
    locked: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt").write_text(PASSWORD)
    options = Options(url=locked.url, username="stt-edge", password_file="mqtt")
    async with room(options) as kitchen:
        kitchen.say("one")
        await kitchen.until_delivered(1)


async def test_tls_with_an_authority_of_our_own(tmp_path: Path, authority: Authority) -> None:
    with tls_broker(tmp_path, authority) as broker:
        async with room(Options(url=broker.tls_url, ca_file=str(authority.file))) as kitchen:
            kitchen.say("one")
            await kitchen.until_delivered(1)
        assert "(p5," in broker.log


async def test_a_broker_whose_certificate_nobody_vouches_for_is_not_spoken_to(
    tmp_path: Path, authority: Authority
) -> None:
    with tls_broker(tmp_path, authority) as broker:
        async with room(Options(url=broker.tls_url)) as kitchen:
            kitchen.say("one")
            await until(lambda: "certificate verify failed" in kitchen.trouble)
            assert kitchen.follower.status().delivered == 0


async def test_a_broker_of_another_name_is_not_spoken_to(
    tmp_path: Path, authority: Authority
) -> None:
    server = authority.issue("server", ("elsewhere.example",))
    lines = [f"cafile {authority.file}", f"certfile {server}", f"keyfile {server}"]
    with TlsMosquitto(tmp_path / "broker", lines) as broker:
        async with room(Options(url=broker.tls_url, ca_file=str(authority.file))) as kitchen:
            await until(lambda: "certificate verify failed" in kitchen.trouble)


def test_there_is_no_way_to_switch_verification_off() -> None:
    from stt_edge.config.schema import keys_of

    names = {key.name for key in keys_of(Options)}
    assert not [name for name in names if "insecure" in name or "verify" in name]


async def test_a_client_certificate_opens_what_wants_one(
    tmp_path: Path, authority: Authority
) -> None:
    lines = ("require_certificate true", "use_identity_as_username true")
    with tls_broker(tmp_path, authority, *lines) as broker:
        trusting = {"url": broker.tls_url, "ca_file": str(authority.file)}
        async with room(Options(**trusting)) as kitchen:
            await until(lambda: kitchen.trouble)
        card = authority.issue("kitchen-card", ("kitchen",))
        async with room(Options(**trusting, cert_file=str(card))) as kitchen:
            kitchen.say("one")
            await kitchen.until_delivered(1)
        assert "u'kitchen-card'" in broker.log


async def test_certificates_that_cannot_be_used_are_named(
    tmp_path: Path, authority: Authority
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    url = f"mqtts://127.0.0.1:{free_port()}"
    async with room(Options(url=url, ca_file=str(nonsense))) as kitchen:
        await until(lambda: f"Look at {nonsense}" in kitchen.trouble)
    card = authority.issue("card", ("kitchen",))
    other = authority.issue("other", ("kitchen",))
    options = Options(url=url, cert_file=str(card), key_file=str(other))
    async with room(options) as kitchen:
        await until(lambda: "cannot be used" in kitchen.trouble)
        assert f"{card}, {other}" in kitchen.trouble


async def test_plain_speech_on_a_tls_port_is_told_what_to_write(
    tmp_path: Path, authority: Authority
) -> None:
    with tls_broker(tmp_path, authority) as broker:
        async with room(Options(url=broker.url)) as kitchen:
            await until(lambda: "mqtts://" in kitchen.trouble)
            assert kitchen.follower.status().delivered == 0


async def test_an_access_list_of_a_real_broker_holds_records_and_lets_them_go(
    tmp_path: Path,
) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite homeassistant/#\ntopic readwrite stt-edge/kitchen/mute\n")
    with Mosquitto(tmp_path / "broker", [f"acl_file {access}"]) as broker:
        async with room(Options(url=broker.url)) as kitchen:
            kitchen.say("one")
            await until(lambda: "does not let a client without a name publish" in kitchen.trouble)
            assert kitchen.follower.status().set_aside == 0
            access.write_text("topic readwrite #\n")
            broker.stop()
            broker.start()
            await kitchen.until_delivered(1)
