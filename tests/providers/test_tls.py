"""What is trusted, and what a failed handshake means."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.transports.sockets import connect_failure, place_of
from stt_edge.providers.transports.tls import tls_context, tls_failure
from tests.providers.certificates import Authority


@pytest.mark.parametrize("private", [False, True])
def test_every_context_verifies_the_certificate_and_its_name(private: bool, tmp_path: Path) -> None:
    context = tls_context(str(Authority(tmp_path).file) if private else None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_private_authority_is_trusted_besides_the_systems(tmp_path: Path) -> None:
    system = len(ssl.create_default_context().get_ca_certs())
    found = tls_context(str(Authority(tmp_path, "hers").file)).get_ca_certs()
    assert len(found) == system + 1
    assert ((("commonName", "hers"),),) in [one["subject"] for one in found]


def test_a_context_is_kept_as_long_as_its_file_stays_as_is(tmp_path: Path) -> None:
    file = Authority(tmp_path).file
    first = tls_context(str(file))
    assert tls_context(str(file)) is first
    assert tls_context(None) is tls_context(None)
    Authority(tmp_path)  # writes another certificate into the same file
    os.utime(file, ns=(1, 1))
    second = tls_context(str(file))
    assert second is not first
    assert second.get_ca_certs() != first.get_ca_certs()


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\x00", b"directory"])
def test_a_file_without_certificates_is_a_matter_of_setup(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content == b"directory":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(ProviderError) as caught:
        tls_context(str(file))
    assert caught.value.kind is FailureKind.SETUP
    assert str(file) in caught.value.message
    assert "PEM" in caught.value.remedy


def test_a_file_that_appears_later_is_used(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    with pytest.raises(ProviderError):
        tls_context(str(file))
    Authority(tmp_path)
    assert tls_context(str(file)).get_ca_certs()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("certificate is not yet valid", FailureKind.CLOCK),
        ("certificate has expired", FailureKind.CONNECT),
        ("Hostname mismatch, certificate is not valid for 'x'.", FailureKind.CONNECT),
        ("unable to get local issuer certificate", FailureKind.CONNECT),
    ],
)
def test_only_a_certificate_of_the_future_blames_the_clock(said: str, kind: FailureKind) -> None:
    error = ssl.SSLCertVerificationError(1, "verify failed")
    error.verify_message = said
    failure = tls_failure(error, "x:443")
    assert failure.kind is kind
    assert "x:443" in failure.message
    assert connect_failure(error, "x:443").message == failure.message


def test_any_other_tls_error_is_no_connection_and_says_why() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")
    assert tls_failure(error, "x:443").kind is FailureKind.CONNECT
    assert tls_failure(error, "x:443").message == "TLS with x:443 failed: handshake failed."


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("wss://a.example:1/p?key=k", "a.example:1"),
        ("wss://user:secret@a.example/p", "a.example"),
        ("wss://user:se@cret@[::1]:5/", "[::1]:5"),
        ("wss://[::1", "an address that is none"),
        ("", ""),
    ],
)
def test_of_a_url_host_and_port_are_shown(url: str, place: str) -> None:
    assert place_of(url) == place


def test_an_error_without_words_still_says_something() -> None:
    assert connect_failure(ConnectionResetError(), "x:1").message == (
        "no connection to x:1: ConnectionResetError."
    )
    assert connect_failure(TimeoutError(), "x:1").kind is FailureKind.TIMEOUT
