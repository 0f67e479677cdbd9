"""Whether a server can be reached: its name, its port, its certificate, and what time it has."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.transports.proxies import named_proxy
from stt_edge.providers.transports.sockets import connect_failure
from stt_edge.providers.transports.tls import tls_context
from stt_edge.service.doctor.finding import Finding, Level

_RESOLVE_S: Final = 5.0
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 5.0
_SOON_DAYS: Final = 14
_MOST_OFF_S: Final = 60.0
_MOST_LINES: Final = 100
_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}
_SET_CLOCK: Final = "Set the clock: timedatectl set-ntp true"


@frozen
class Address:
    """Where a server is."""

    scheme: str
    """``wss``, ``https``, ``ws``, ``http``, or ``tcp`` for anything that is not HTTP."""
    host: str
    port: int

    @property
    def secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme in ("wss", "https")

    def __str__(self) -> str:
        """Return host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str) -> Address | None:
    """Return the address in a URL; None when there is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    scheme = parts.scheme if parts.scheme in _PORTS else "tcp"
    return Address(scheme, parts.hostname, port)


def proxy_of(address: Address) -> Address | None:
    """Return the proxy the environment names for an address, if it does."""
    if address.scheme not in _PORTS:
        return None
    url = named_proxy(address.scheme, address.host, address.port)
    return None if url is None else address_of(url if "://" in url else f"http://{url}")


async def resolve(what: str, address: Address) -> Finding:
    """Look the name up."""
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(address.host, address.port)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        reason = "no answer" if isinstance(error, TimeoutError) else _reason(error)
        return Finding(
            what,
            Level.FAIL,
            f"{address.host} cannot be resolved: {reason}.",
            "Check the name, the network, and the DNS server: resolvectl status",
        )
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return Finding(what, Level.OK, f"{address.host} is {', '.join(addresses)} ({since(began)}).")


async def reach(name: str, address: Address, ca_file: str | None) -> list[Finding]:
    """Connect, with TLS where it is used, and ask the server for the time."""
    what = f"{name}: connection"
    began = time.monotonic()
    try:
        context = await asyncio.to_thread(tls_context, ca_file) if address.secure else None
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except ProviderError as error:
        return [failure(what, error)]
    except OSError as error:
        return [failure(what, connect_failure(error, str(address)))]
    took = since(began)
    certificate: dict[str, Any] | None = writer.get_extra_info("peercert")
    try:
        found = [connected(what, address, certificate, took)]
        if address.scheme != "tcp":
            date = await _date(reader, writer, address)
            found += _clock(f"{name}: clock", address, date, certificate)
    finally:
        writer.transport.abort()
    return found


def connected(
    what: str, address: Address, certificate: dict[str, Any] | None, took: str
) -> Finding:
    """Return the finding for a connection that came about; ``took`` is how long, for a person."""
    if not certificate:
        return Finding(what, Level.OK, f"{address} takes connections ({took}).")
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends - time.time()) // 86_400)
    message = f"{address} takes connections; its certificate is good for {days} days ({took})."
    if days < _SOON_DAYS:
        return Finding(what, Level.WARN, message, "Whoever runs that server has to renew it.")
    return Finding(what, Level.OK, message)


def since(began: float) -> str:
    """Return how long ago something began, ``time.monotonic()``, for a person."""
    return f"{(time.monotonic() - began) * 1000:.0f} ms"


def failure(what: str, error: ProviderError) -> Finding:
    """Return the finding for a failure."""
    level = Level.WARN if error.kind is FailureKind.OVERLOADED else Level.FAIL
    remedies = {
        FailureKind.CONNECT: "Check the network, the address, and what a firewall lets out.",
        FailureKind.TIMEOUT: "Check the network, the address, and what a firewall lets out.",
        FailureKind.CLOCK: _SET_CLOCK,
        FailureKind.OVERLOADED: "Try again later; if it stays so, look at your plan's limits.",
        FailureKind.SERVER: "It is the service's own trouble: try again later.",
        FailureKind.DENIED: "Check the key and the account.",
        FailureKind.REQUEST: "Check the provider's options: model, language, url.",
    }
    remedy = error.remedy or remedies.get(error.kind, "Check url and the provider's options.")
    return Finding(what, level, error.message, remedy)


async def _date(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address
) -> float | None:
    """Return how far the server's clock is ahead of ours in seconds; None when it does not say."""
    asked = time.time()
    # Not HEAD: many a WebSocket server knows GET only, and complains of anything else in its log.
    writer.write(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
    with contextlib.suppress(OSError, ValueError):  # it speaks something else, or nothing
        async with asyncio.timeout(_ANSWER_S):
            for _ in range(_MOST_LINES):
                line = (await reader.readline()).decode("latin-1")
                field, _, value = line.partition(":")
                if field.strip().lower() == "date":
                    return _seconds(value) - (asked + time.time()) / 2
                if not line.strip():
                    break
    return None


def _seconds(date: str) -> float:
    """Return the time of a Date header. Raises ValueError."""
    from email.utils import parsedate_to_datetime

    moment = parsedate_to_datetime(date.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _clock(
    what: str, address: Address, ahead_s: float | None, certificate: dict[str, Any] | None
) -> list[Finding]:
    if ahead_s is None:
        if not certificate:
            return []
        now = f"{datetime.now(UTC):%Y-%m-%d}"
        message = f"{address.host} does not tell the time; its certificate agrees with {now}."
        return [Finding(what, Level.OK, message)]
    if abs(ahead_s) <= _MOST_OFF_S:
        return [Finding(what, Level.OK, f"agrees with {address.host} within a minute.")]
    side = "behind" if ahead_s > 0 else "ahead of"
    message = f"this machine is {abs(ahead_s):.0f} s {side} {address.host}."
    return [Finding(what, Level.WARN, message, _SET_CLOCK)]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
