"""Whether a configured provider can be used; nothing that is billed is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from stt_edge.config.settings import ProviderEntry
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import (
    Billing,
    Failed,
    Protocol,
    Provider,
    Ready,
    Transport,
    TransportClosedError,
)
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports.http import HttpTransport
from stt_edge.service.doctor.case import CREDENTIALS
from stt_edge.service.doctor.finding import AS_ROOT, Finding, Level, doubtful, failing
from stt_edge.service.doctor.network import Address, address_of, failure, proxy_of, reach, resolve
from stt_edge.service.doctor.people import READ, User

_PARTING_S: Final = 2.0
_ADDRESS_S: Final = 30.0


async def check_provider(entry: ProviderEntry, user: User | None = None) -> AsyncIterator[Finding]:
    """Look at one provider: package, model, keys, name, connection, clock, handshake.

    ``user`` is the one the service runs as, who has to be able to read the keys.
    """
    name = f"provider {entry.name}"
    try:
        provider = registry.build(entry.name, entry.kind, entry.options)
    except ProviderError as error:
        yield failure(name, error)
        return
    try:
        yield _installed(name, provider)
        keys = list(check_keys(name, entry.options, provider, user or User.this()))
        for finding in keys:
            yield finding
        if not provider.capabilities.local and not _failed(keys) and not _unseen(keys):
            async for finding in _check_network(name, entry.options, provider):
                yield finding
    finally:
        if provider.aclose is not None:
            await provider.aclose()


def check_keys(name: str, options: Any, provider: Provider, user: User) -> Iterator[Finding]:
    """Look at the files with keys: readable, one line, and nobody else's business."""
    what = f"{name}: key"
    named = getattr(options, "api_key_file", None)
    secret = None if named is None else SecretFile(named)
    for path in dict.fromkeys([*([secret.path] if secret else []), *map(Path, provider.watched)]):
        # The rights to a systemd credential are in its access control list, not in its mode.
        borrowed = CREDENTIALS in path.parents
        if path.exists() and not borrowed and not user.may(READ, path):
            message = f"{path} may not be read by {user.name}, as whom the service runs."
            yield failing(what, message, f"sudo chgrp stt-edge {path} && sudo chmod 0640 {path}")
            continue
        if path.exists() and not os.access(path, os.R_OK):
            message = f"{path} may be read by {user.name}, and not by this user: it is not tried."
            yield doubtful(what, message, AS_ROOT)
            continue
        if secret is not None and path == secret.path:
            try:
                secret.read()
            except ProviderError as error:
                yield failure(what, error)
                continue
        elif not path.exists():
            continue  # one of several places where credentials may be
        yield _permissions(what, path)


async def shake_hands(name: str, provider: Provider) -> Finding:
    """Open a session, wait until the provider is ready, and leave."""
    what = f"{name}: handshake"
    protocol, transport = provider.make_protocol(), provider.make_transport()
    if isinstance(transport, HttpTransport):
        return Finding(what, Level.OK, "is asked over HTTP; the first request tries the key.")
    began = time.monotonic()
    timeout_s = provider.capabilities.connect_timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            await _open(provider, protocol, transport)
        took_ms = (time.monotonic() - began) * 1000
        if provider.capabilities.billing is Billing.SESSION:  # which must not go on unseen
            await _take_leave(protocol, transport)
    except ProviderError as error:
        return failure(what, error)
    except TimeoutError:
        late = ProviderError(FailureKind.TIMEOUT, f"it is not ready after {timeout_s:g} s.")
        return failure(what, late)
    finally:
        transport.abort()
    said = "is ready" if provider.capabilities.ready_message else "lets us in"
    return Finding(what, Level.OK, f"{said} after {took_ms:.0f} ms.")


async def _check_network(name: str, options: Any, provider: Provider) -> AsyncIterator[Finding]:
    what = f"{name}: address"
    try:
        address = await _address(options, provider)
    except ProviderError as error:
        yield failure(f"{name}: key" if error.kind is FailureKind.DENIED else what, error)
        return
    if address is not None:
        proxy = proxy_of(address)
        dns = await resolve(f"{name}: name", proxy or address)
        yield dns
        if _failed([dns]):
            return
        if proxy is not None:
            yield Finding(what, Level.OK, f"{address} is reached by the proxy {proxy}.")
        reached = await reach(name, proxy or address, getattr(options, "ca_file", None))
        for finding in reached[: 1 if proxy else None]:  # the proxy's clock is not the provider's
            yield finding
        if _failed(reached):
            return
    yield await shake_hands(name, provider)


async def _address(options: Any, provider: Provider) -> Address | None:
    """Return where the provider is; None when its transport does not say. Raises ProviderError."""
    endpoint: Any = getattr(provider.make_transport(), "endpoint", None)
    if callable(endpoint):
        try:
            async with asyncio.timeout(_ADDRESS_S):
                endpoint = await asyncio.to_thread(endpoint)
        except TimeoutError:
            raise ProviderError(
                FailureKind.TIMEOUT, "the credentials could not be had in time."
            ) from None
    if (host := getattr(endpoint, "host", None)) is not None:
        return Address("tcp", host, endpoint.port)
    url = getattr(endpoint, "url", None) or getattr(endpoint, "base_url", None)
    url = url or getattr(options, "url", None)
    return None if url is None else address_of(url)


async def _open(provider: Provider, protocol: Protocol, transport: Transport) -> None:
    await transport.connect()
    protocol.open()
    await _flush(protocol, transport)
    ready = not provider.capabilities.ready_message
    while not ready:
        try:
            events = protocol.feed(await transport.receive())
        except TransportClosedError as closed:
            events = protocol.closed(closed.code, closed.reason)
            ready = True
        for event in events:
            if isinstance(event, Failed):
                raise event.failure
            ready = ready or isinstance(event, Ready)
        await _flush(protocol, transport)


async def _take_leave(protocol: Protocol, transport: Transport) -> None:
    protocol.goodbye()
    with contextlib.suppress(TimeoutError, TransportClosedError):
        async with asyncio.timeout(_PARTING_S):
            await _flush(protocol, transport)
            while True:
                protocol.feed(await transport.receive())


async def _flush(protocol: Protocol, transport: Transport) -> None:
    with contextlib.suppress(TransportClosedError):  # who receives learns of it with the code
        for message in protocol.to_send():
            await transport.send(message)


def _installed(name: str, provider: Provider) -> Finding:
    if provider.capabilities.local:
        model = f"; its model {provider.model} is there" if provider.model else ""
        return Finding(name, Level.OK, f"is installed{model}.")
    return Finding(name, Level.OK, "is installed.")


def _permissions(what: str, path: Path) -> Finding:
    mode = path.stat().st_mode
    if mode & stat.S_IROTH:
        return Finding(what, Level.WARN, f"{path} can be read by everybody.", f"chmod o= {path}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Finding(what, Level.WARN, f"{path} can be changed by others.", f"chmod go-w {path}")
    return Finding(what, Level.OK, f"{path} can be read, and not by everybody.")


def _unseen(keys: list[Finding]) -> bool:
    return any(key.remedy == AS_ROOT for key in keys)


def _failed(findings: list[Finding]) -> bool:
    return any(finding.level is Level.FAIL for finding in findings)
