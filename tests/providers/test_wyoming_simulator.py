"""The client and the simulator of Wyoming, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import Partial, Provider, TransportClosedError
from stt_edge.providers.transports.tcp import TcpEndpoint, TcpTransport, UnixEndpoint
from stt_edge.providers.wyoming import Options
from stt_edge.providers.wyoming_frames import encode
from tests.providers.client import Client
from tests.simulators.core import Faults
from tests.simulators.speech import THAI, SyntheticRecogniser, say, text_of
from tests.simulators.wyoming import Simulator

WORDS = [0, 1, 5, 6, 7]
TEXT = text_of(WORDS, THAI)
SPEECH = say(WORDS)


def simulator(*other: str, **faults: Any) -> Simulator:
    return Simulator(
        Faults(other=frozenset(other), **faults), recogniser=partial(SyntheticRecogniser, THAI)
    )


def provider(service: Simulator, directory: Path, **options: Any) -> Provider:
    known = service.options(directory)
    return registry.build("w", "wyoming", Options(**known, **options))


class Caller(Client):
    """Connects without waiting to be told that it may speak."""

    async def connect(self) -> None:
        await self.transport.connect()
        self.protocol.open()
        await self.flush()

    async def flush(self) -> None:
        with contextlib.suppress(TransportClosedError):  # the receiver learns of it too
            await super().flush()


async def call(service: Simulator, directory: Path, **options: Any) -> Caller:
    caller = Caller(provider(service, directory, **options))
    await caller.connect()
    try:
        await caller.speak(SPEECH)
        await caller.goodbye()
    finally:
        await caller.transport.close()
    return caller


@pytest.mark.parametrize(
    "mode", ["", "inline", "streaming", "stop-first", "no-transcript", "unknown", "ping"]
)
async def test_every_manner_of_server_is_understood(mode: str, tmp_path: Path) -> None:
    async with simulator(mode) as service:
        caller = await call(service, tmp_path, language="th")
    assert caller.text == TEXT
    (session,) = service.sessions
    assert session.pcm == SPEECH
    assert session.ended
    assert json.loads(session.texts[0]) == {"type": "transcribe", "language": "th"}


async def test_pieces_are_shown_as_they_come(tmp_path: Path) -> None:
    async with simulator("streaming") as service:
        caller = await call(service, tmp_path)
    assert [partial.text for partial in caller.partials][-1] == TEXT
    assert len(caller.partials) > 2


async def test_a_transcript_before_the_end_is_a_part_of_the_whole(tmp_path: Path) -> None:
    async with simulator("early") as service:
        caller = Caller(provider(service, tmp_path))
        await caller.connect()
        await caller.speak(SPEECH)
        await caller.until(Partial)
        await caller.goodbye()
    assert caller.text == TEXT


async def test_a_result_said_twice_counts_once(tmp_path: Path) -> None:
    async with simulator("stay", duplicate_finals=True) as service:
        caller = await call(service, tmp_path)
    assert len(caller.finals) == 1


async def test_each_utterance_has_a_connection_of_its_own(tmp_path: Path) -> None:
    async with simulator() as service:
        for _ in range(3):
            assert (await call(service, tmp_path)).text == TEXT
    assert len(service.sessions) == 3


async def test_silence_has_no_result(tmp_path: Path) -> None:
    async with simulator() as service:
        caller = Caller(provider(service, tmp_path))
        await caller.connect()
        await caller.speak(bytes(32_000))
        await caller.goodbye()
    assert caller.finals == []


async def test_a_late_transcript_is_waited_for(tmp_path: Path) -> None:
    async with simulator(late_final_s=0.3) as service:
        assert (await call(service, tmp_path)).text == TEXT


async def test_a_server_on_this_machine_is_reached_through_a_file(tmp_path: Path) -> None:
    service = simulator()
    service.socket_file = tmp_path / "asr.sock"
    async with service:
        assert (await call(service, tmp_path)).text == TEXT


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(drop_s=(0.5,)), FailureKind.LOST),
        (Faults(drop_at_goodbye=True), FailureKind.LOST),
        (Faults(http_status=503), FailureKind.LOST),
        (Faults(other=frozenset(["error"])), FailureKind.SERVER),
        (Faults(garbage=True), FailureKind.PROTOCOL),
        (Faults(huge=True), FailureKind.PROTOCOL),
        (Faults(invalid_utf8=True), FailureKind.PROTOCOL),
    ],
    ids=["drop", "drop-end", "refused", "error", "garbage", "huge", "utf8"],
)
async def test_what_goes_wrong_is_told_by_its_kind(
    fault: Faults, kind: FailureKind, tmp_path: Path
) -> None:
    async with Simulator(fault) as service:
        with pytest.raises(ProviderError) as caught:
            await call(service, tmp_path)
    assert caught.value.kind is kind


@pytest.mark.parametrize("wrong", ["no-request", "no-start", "odd", "rate"])
async def test_the_simulator_hangs_up_when_the_order_or_the_format_is_wrong(
    wrong: str, tmp_path: Path
) -> None:
    good = {"rate": 16000, "width": 2, "channels": 1}
    said = {
        "no-request": encode("audio-start", good),
        "no-start": encode("transcribe") + encode("audio-stop"),
        "odd": encode("transcribe")
        + encode("audio-start", good)
        + encode("audio-chunk", good, b"x"),
        "rate": encode("transcribe") + encode("audio-start", {**good, "rate": 44100}),
    }[wrong]
    async with simulator() as service:
        transport = TcpTransport(TcpEndpoint("127.0.0.1", service.port))
        await transport.connect()
        await transport.send(said)
        with pytest.raises(TransportClosedError):
            await transport.receive()
        await transport.close()


# The transport


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (TcpEndpoint("127.0.0.1", 1), "no connection to 127.0.0.1:1"),
        (UnixEndpoint("/nowhere/asr.sock"), "no connection to /nowhere/asr.sock"),
        (TcpEndpoint("nowhere.invalid", 1), "the name of nowhere.invalid:1 cannot be resolved"),
    ],
)
async def test_nobody_there_is_no_connection(
    endpoint: TcpEndpoint | UnixEndpoint, said: str
) -> None:
    transport = TcpTransport(endpoint)
    with pytest.raises(ProviderError, match=said) as caught:
        await transport.connect()
    assert caught.value.kind is FailureKind.CONNECT
    await transport.close()
    transport.abort()


async def test_the_kernel_is_told_to_give_up_and_to_buffer_little() -> None:
    async with simulator() as service:
        transport = TcpTransport(TcpEndpoint("127.0.0.1", service.port))
        await transport.connect()
        assert transport._writer is not None
        found = transport._writer.get_extra_info("socket")
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 64 * 1024
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        transport.abort()
        transport.abort()
        with pytest.raises(TransportClosedError):
            await transport.send(b"x")


async def test_a_peer_that_stops_reading_holds_the_sender_until_it_lets_go() -> None:
    async with simulator(stop_reading_s=0.0) as service:
        transport = TcpTransport(TcpEndpoint("127.0.0.1", service.port))
        await transport.connect()
        await transport.send(encode("transcribe") + encode("audio-start", FORMAT))

        async def pump() -> None:
            while True:
                await transport.send(encode("audio-chunk", FORMAT, bytes(64_000)))

        pumping = asyncio.create_task(pump())
        await asyncio.sleep(0.1)
        assert not pumping.done()
        transport.abort()
        with pytest.raises(TransportClosedError):
            await pumping


async def test_a_receiver_is_woken_when_the_connection_is_let_go() -> None:
    async with simulator() as service:
        transport = TcpTransport(TcpEndpoint("127.0.0.1", service.port))
        await transport.connect()
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0)
        transport.abort()
        with pytest.raises(TransportClosedError):
            await receiving


FORMAT = {"rate": 16000, "width": 2, "channels": 1}
