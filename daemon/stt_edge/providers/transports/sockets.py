"""What every TCP connection of ours is set up with, and what its errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.transports.tls import tls_failure

_LOST_AFTER_MS: Final = 15_000
_SEND_BUFFER_BYTES: Final = 64 * 1024
_UNSENT_BYTES: Final = 16 * 1024


def tune_socket(transport: asyncio.BaseTransport | None) -> None:
    """Have the kernel notice within 15 s that nothing sent arrives, and buffer little of it.

    TCP_USER_TIMEOUT (tcp(7)) also ends a connection whose peer has stopped reading; with the
    default buffers it would take minutes of speech until that shows. TCP_NOTSENT_LOWAT bounds what
    the peer has no room for, and not what is under way to it.
    """
    found = None if transport is None else transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # a proxy's tunnel may allow less; it is no reason to fail
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST_AFTER_MS)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def place_of(url: str) -> str:
    """Return host and port of a URL; nothing else of one is fit to be shown."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "an address that is none"


def unusable_url(example: str) -> ProviderError:
    """Return what is wrong with a URL that is none; it is not repeated, it may hold a key."""
    return ProviderError(
        FailureKind.REQUEST,
        "url is none that can be used.",
        remedy=f"It begins with {example}:// and names a host.",
    )


def connect_failure(error: OSError, where: str) -> ProviderError:
    """Return what an error while connecting to ``where`` (host:port) means."""
    if isinstance(error, ssl.SSLError):
        return tls_failure(error, where)
    if isinstance(error, socket.gaierror):
        return ProviderError(
            FailureKind.CONNECT, f"the name of {where} cannot be resolved: {error.strerror}."
        )
    if isinstance(error, TimeoutError):
        return ProviderError(FailureKind.TIMEOUT, f"no answer from {where}.")
    reason = error.strerror or str(error) or type(error).__name__
    return ProviderError(FailureKind.CONNECT, f"no connection to {where}: {reason}.")
