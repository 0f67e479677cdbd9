"""Certificates for servers on this machine, good ones and bad ones."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"


@dataclass
class Authority:
    """Signs certificates for servers on this machine, good ones and bad ones."""

    directory: Path
    name: str = "authority"
    _key: Any = field(init=False)
    _certificate: Any = field(init=False)

    def __post_init__(self) -> None:
        self._key = _new_key()
        now = datetime.now(UTC)
        era = now - timedelta(days=2000), now + timedelta(days=2000)
        self._certificate = _signed((self.name, self._key), (self.name, self._key), era, ())
        self.file.write_bytes(_pem(self._certificate))

    @property
    def file(self) -> Path:
        """What a user names as ``ca_file``."""
        return self.directory / f"{self.name}.pem"

    def server(
        self,
        *names: str,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=1),
    ) -> ssl.SSLContext:
        """Return the context of a server; ``names`` are this machine's unless given."""
        now = datetime.now(UTC)
        wanted = names or ("localhost", HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue("server", wanted, now + begins, now + ends))
        return context

    def issue(
        self,
        subject: str,
        names: Sequence[str],
        begins: datetime | None = None,
        ends: datetime | None = None,
    ) -> Path:
        """Return a file with a key and a certificate for it, good for a day unless told."""
        from cryptography.hazmat.primitives import serialization

        key = _new_key()
        now = datetime.now(UTC)
        era = begins or now - timedelta(days=1), ends or now + timedelta(days=1)
        made = _signed((subject, key), (self.name, self._key), era, names)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self.directory / f"{subject}.pem"
        file.write_bytes(secret + _pem(made))
        return file

    def good(self) -> ssl.SSLContext:
        """Return a server's context with nothing wrong."""
        return self.server()

    def expired(self) -> ssl.SSLContext:
        """Return one whose certificate was good until yesterday."""
        return self.server(begins=timedelta(days=-9), ends=timedelta(days=-1))

    def not_yet_valid(self) -> ssl.SSLContext:
        """Return one whose certificate is good from tomorrow."""
        return self.server(begins=timedelta(days=1), ends=timedelta(days=9))

    def wrong_name(self) -> ssl.SSLContext:
        """Return one whose certificate is somebody else's."""
        return self.server("elsewhere.example")


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    found: bytes = certificate.public_bytes(Encoding.PEM)
    return found


def _signed(
    subject: tuple[str, Any],
    issuer: tuple[str, Any],
    era: tuple[datetime, datetime],
    names: Sequence[str],
) -> Any:
    """Return a certificate that also OpenSSL's strict rules accept (RFC 5280)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def named(text: str) -> Any:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority = not names
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject[0]))
        .issuer_name(named(issuer[0]))
        .public_key(subject[1].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(era[0])
        .not_valid_after(era[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                **usage,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(subject[1].public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key()),
            critical=False,
        )
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(issuer[1], hashes.SHA256())


def _alternative(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
