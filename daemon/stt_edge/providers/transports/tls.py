"""TLS as every transport uses it: always verified, with the system's certificates and one's own."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from stt_edge.errors import FailureKind, ProviderError


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies; one is kept for each ``ca_file`` as long as it stays as is.

    Raises ProviderError of kind SETUP when the file holds no certificates.
    """
    if ca_file is None:
        return _context(None, 0)
    try:
        return _context(ca_file, Path(ca_file).stat().st_mtime_ns)
    except OSError as error:  # ssl.SSLError is one
        raise ProviderError(
            FailureKind.SETUP,
            f"ca_file {ca_file} cannot be used: {error.strerror or error.__class__.__name__}.",
            remedy="It must hold certificates in PEM form.",
        ) from error


@lru_cache(maxsize=8)
def _context(ca_file: str | None, _changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def tls_failure(error: ssl.SSLError, where: str) -> ProviderError:
    """Return what a failed handshake with ``where`` means."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "reason", None) or "handshake failed"  # asyncio's own has none
        return ProviderError(FailureKind.CONNECT, f"TLS with {where} failed: {reason}.")
    said = error.verify_message
    if "not yet valid" in said:
        return ProviderError(
            FailureKind.CLOCK,
            f"the certificate of {where} is not valid yet: this machine's clock is behind.",
            remedy="Set the clock: timedatectl status.",
        )
    return ProviderError(
        FailureKind.CONNECT,
        f"the certificate of {where} is refused: {said}.",
        remedy="If it is a private one, name the certificate that signed it in ca_file.",
    )
