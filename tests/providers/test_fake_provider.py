"""The fake provider does what the tests that use it believe it does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import Finalized, TransportClosedError
from tests.fakes import recording
from tests.fakes.provider import Behaviour, FakeServer
from tests.providers.client import Client, transcribe, using

SECOND = 32_000


def pcm_of(seconds: float, fill: int = 1) -> bytes:
    return bytes([fill, 0]) * int(seconds * 16_000)


async def connected(server: FakeServer, **capabilities: Any) -> Client:
    client = Client(server.provider(**capabilities))
    await client.connect()
    return client


async def test_it_keeps_what_it_was_given_and_times_its_words_to_it() -> None:
    server = FakeServer()
    client = await transcribe(server.provider(), pcm_of(1.1))
    (utterance,) = server.utterances
    assert utterance.pcm == pcm_of(1.1)
    assert utterance.ended
    (final,) = client.finals
    assert final.text == "w0 w1 w2 w3" == utterance.finals[0]
    assert [(word.start, word.end) for word in final.words] == [
        (0, 4000),
        (4000, 8000),
        (8000, 12000),
        (12000, 16000),
    ]
    assert [partial.text for partial in client.partials] == ["w0 w1", "w0 w1 w2 w3"]


async def test_an_utterance_may_have_several_finals_each_with_its_own_words() -> None:
    server = FakeServer(Behaviour(part_ms=500, items=True, duplicate_finals=True))
    client = await transcribe(server.provider(), pcm_of(1.25))
    texts = [final.text for final in client.finals]
    assert texts == ["w0 w1", "w0 w1", "w2 w3", "w2 w3", "w4", "w4"]
    items = [final.item_id for final in client.finals]
    assert items[0] == items[1] != items[2]
    assert server.utterances[0].finals == ["w0 w1", "w2 w3", "w4"]


async def test_its_text_names_the_utterance() -> None:
    server = FakeServer(Behaviour(text="this is {n}", word_ms=100))
    provider = server.provider()
    await transcribe(provider, pcm_of(0.3))
    assert (await transcribe(provider, pcm_of(0.3))).text == "this is 1"


async def test_without_finalize_the_goodbye_brings_the_final() -> None:
    server = FakeServer(Behaviour(goodbye_s=0.05, final_s=0.02))
    client = await connected(server, finalize=False)
    await client.speak(pcm_of(1))
    await client.goodbye()
    assert client.text == "w0 w1 w2 w3"


async def test_a_slow_goodbye_is_slow_for_nobody_else() -> None:
    server = FakeServer(Behaviour(goodbye_s=60))
    first = await connected(server)
    await first.speak(pcm_of(0.5))
    leaving = asyncio.create_task(first.goodbye())
    second = await connected(server)
    assert await second.utterance(pcm_of(0.5)) == "w0 w1"
    assert not leaving.done()
    leaving.cancel()
    await first.transport.close()
    await second.transport.close()


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(drop_at=8000), Behaviour(drop_at_end=True)],
    ids=["in the middle", "at the end"],
)
async def test_a_dropped_connection_is_a_loss(behaviour: Behaviour) -> None:
    server = FakeServer(Behaviour(), behaviour)
    client = await connected(server)
    with contextlib.suppress(TransportClosedError):
        await client.speak(pcm_of(1))
        client.protocol.finalize()
        await client.flush()
    with pytest.raises(ProviderError) as caught:
        await client.until(Finalized)
    assert caught.value.kind is FailureKind.LOST
    assert not server.connections[0].open
    assert (await transcribe(server.provider(), pcm_of(1))).text == "w0 w1 w2 w3"


async def test_garbage_is_a_failure_of_the_protocol() -> None:
    client = await connected(FakeServer(Behaviour(garbage_at=8000)))
    with pytest.raises(ProviderError) as caught:
        await client.utterance(pcm_of(1))
    assert caught.value.kind is FailureKind.PROTOCOL
    client.transport.abort()


async def test_a_provider_can_be_refused_late_and_silent() -> None:
    refusal = ProviderError(FailureKind.DENIED, "no")
    with pytest.raises(ProviderError, match="no"):
        await connected(FakeServer(Behaviour(refuse=refusal)))
    late = Client(FakeServer(Behaviour(ready_s=60)).provider())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late.connect(), 0.05)
    late.transport.abort()
    mute = await connected(FakeServer(Behaviour(never_confirms=True)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(mute.utterance(pcm_of(1)), 0.05)
    assert mute.text == "w0 w1 w2 w3"
    mute.transport.abort()
    finalless = await transcribe(FakeServer(Behaviour(never_finals=True)).provider(), pcm_of(1))
    assert finalless.finals == []
    assert finalless.partials


async def test_a_peer_that_reads_no_more_blocks_whoever_sends() -> None:
    server = FakeServer(Behaviour(stuck_at=8000))
    client = await connected(server)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.speak(pcm_of(2)), 0.05)
    assert server.utterances[0].samples == 8000
    client.transport.abort()


async def test_it_counts_the_hints_and_the_end() -> None:
    server = FakeServer()
    async with using(server.provider()) as provider:
        assert provider.warm is not None
        provider.warm()
    assert (server.warmed, server.closed) == (1, True)


async def test_the_recording_kind_writes_audio_and_events_and_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("recording", "tests.fakes.recording")
    kind = registry.options("recording")
    assert kind is not None
    options = replace(kind(), directory=str(tmp_path))
    said = [pcm_of(0.5, fill) for fill in (1, 2, 3)]
    for pcm in said:
        provider = registry.build("tape", "recording", options)
        client = await transcribe(provider, pcm)
    assert client.text == "utterance 2"
    assert recording.recorded(tmp_path) == said
    events = recording.events(tmp_path)
    assert [event["what"] for event in events if event.get("utterance") == 2] == [
        "begin",
        *["audio"] * 5,
        "finalize",
        "final",
    ]
    times = [event["mono_ns"] for event in events]
    assert times == sorted(times)
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["what"] == "connect"
