"""Peers that stop reading, peers whose packets vanish: the WebSocket transport finds them."""

from __future__ import annotations

import asyncio

import pytest

from stt_edge.errors import FailureKind
from stt_edge.providers.base import TransportClosedError
from stt_edge.providers.transports import sockets, websocket
from stt_edge.providers.transports.websocket import WebSocketEndpoint, WebSocketTransport
from stt_edge.session import link
from tests.providers.network import HOST, Relay, half_open, websocket_server


def to(url: str, *, pings: bool = True) -> WebSocketTransport:
    return WebSocketTransport(lambda: WebSocketEndpoint(url), pings=pings)


async def ending(transport: WebSocketTransport) -> TransportClosedError:
    async with asyncio.timeout(10):
        with pytest.raises(TransportClosedError) as caught:
            await transport.receive()
    return caught.value


@pytest.mark.parametrize("pings", [True, False], ids=["pings", "no pings"])
@pytest.mark.parametrize("fault", ["stop_reading", "vanish"])
async def test_a_peer_that_is_gone_is_found(
    fault: str, pings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_PING_S", 0.2)
    monkeypatch.setattr(websocket, "_CLOSE_S", 0.1)
    monkeypatch.setattr(sockets, "_LOST_AFTER_MS", 400)
    monkeypatch.setattr(link, "_STALLED_S", 0.4)
    _, failure = await half_open(fault, pings=pings, before_s=0.1, at_once=fault != "vanish")
    assert failure.kind in (FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.SERVER)


async def test_the_kernel_alone_finds_a_peer_that_stops_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "_LOST_AFTER_MS", 300)
    async with websocket_server() as port, Relay(port) as relay:
        transport = to(f"ws://{HOST}:{relay.port}/", pings=False)
        await transport.connect()
        relay.stop_reading()
        async with asyncio.timeout(10):
            with pytest.raises(TransportClosedError) as caught:
                await transport.send(bytes(4_000_000))
        assert caught.value.code == 1006
        transport.abort()


async def test_a_server_that_answers_no_pings_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_PING_S", 0.1)
    monkeypatch.setattr(websocket, "_CLOSE_S", 0.1)
    async with websocket_server() as port, Relay(port) as relay:
        transport = to(f"ws://{HOST}:{relay.port}/")
        await transport.connect()
        relay.swallow()
        assert (await ending(transport)).code == 1006


async def test_without_pings_silence_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_PING_S", 0.02)
    async with websocket_server() as port, Relay(port) as relay:
        transport = to(f"ws://{HOST}:{relay.port}/", pings=False)
        await transport.connect()
        relay.swallow()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await transport.receive()
        transport.abort()


async def test_a_slow_network_is_none_that_is_gone() -> None:
    async with websocket_server() as port, Relay(port) as relay:
        transport = to(f"ws://{HOST}:{relay.port}/", pings=False)
        await transport.connect()
        relay.throttle(200_000)
        await transport.send(bytes(20_000))
        assert await transport.receive() == bytes(20_000)
        await transport.close()
