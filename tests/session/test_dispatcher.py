"""Utterances on their way through connections, with a provider that the test plays by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from stt_edge.clock import SystemClock
from stt_edge.errors import FailureKind, LogError, ProviderError
from stt_edge.model import AudioSpan, EndReason, UtteranceState
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Farewell,
    Final,
    Finalized,
    Partial,
    PartTimes,
    Ready,
    WordOffset,
)
from stt_edge.session import dispatcher as module
from stt_edge.session import placement
from stt_edge.session.chain import SessionRules
from stt_edge.session.dispatcher import Dispatcher
from tests.session.scripted import (
    MemoryAudio,
    MemoryListener,
    MemoryResults,
    Remote,
    Wire,
    head,
    tail,
)


class AtOnce(random.Random):
    """Draws the lower bound: no back-off lasts."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Bench:
    """A dispatcher with everything around it in memory."""

    def __init__(self, capabilities: Capabilities | None = None, hold_s: float | None = None):
        self.remote = Remote(capabilities)
        self.audio = MemoryAudio()
        self.results = MemoryResults()
        self.listener = MemoryListener()
        self.dispatcher = Dispatcher(
            [self.remote.provider],
            self.audio,
            self.results,
            self.listener,
            SystemClock(),
            node="here",
            rules=SessionRules(hold_s=hold_s),
            rng=AtOnce(),
        )

    def speak(self, name: str, pcm: bytes, sample: int = 0) -> None:
        """Begin an utterance, or let it grow."""
        if name not in self.audio.spans:
            self.audio.spans[name] = []
            self.dispatcher.opened(head(name, sample))
        self.audio.spans[name].append(AudioSpan(sample, pcm))
        self.dispatcher.grew(name)

    def fall_silent(self, name: str, reason: EndReason = EndReason.SILENCE) -> None:
        self.dispatcher.ended(name, tail(self.audio.spans[name][-1].end, reason))

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something to become true; a test hangs no longer than ten seconds."""
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.002)

    async def wire(self, number: int) -> Wire:
        await self.until(lambda: len(self.remote.wires) > number)
        return self.remote.wires[number]


PCM = bytes(range(256)) * 50  # 0.4 s, no two blocks alike


def final(text: str, start: int = 0, end: int = 6400) -> Final:
    return Final(text, words=(WordOffset(text, start, end, 0.9),), confidence=0.9)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.dispatcher.aclose()


async def test_an_utterance_becomes_a_record(bench: Bench) -> None:
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: "goodbye" in wire.words)
    wire.say(Partial("he"), final("hello"))
    wire.hang_up()
    await bench.until(lambda: bench.results.finished)
    (record,) = bench.results.records
    assert (record.id, record.text, record.confidence) == ("a", "hello", 0.9)
    assert (record.start_sample, record.end_sample) == (0, 6400)
    assert not record.delayed
    assert wire.pcm == PCM
    assert bench.listener.partials == ["he"]
    assert await bench.dispatcher.drain(1)


async def test_audio_is_sent_while_somebody_still_speaks(bench: Bench) -> None:
    bench.speak("a", PCM)
    wire = await bench.wire(0)
    await bench.until(lambda: len(wire.pcm) >= len(PCM) - 3200)
    bench.speak("a", PCM, 6400)
    await bench.until(lambda: len(wire.pcm) >= 2 * len(PCM) - 3200)
    assert "goodbye" not in wire.words
    bench.fall_silent("a")
    await bench.until(lambda: "goodbye" in wire.words)
    assert wire.pcm == PCM + PCM


async def test_a_second_utterance_does_not_wait_for_the_first_to_drain(bench: Bench) -> None:
    bench.speak("a", PCM)
    bench.fall_silent("a")
    first = await bench.wire(0)
    await bench.until(lambda: "goodbye" in first.words)
    bench.speak("b", PCM[::-1], 50_000)
    second = await bench.wire(1)
    await bench.until(lambda: second.pcm)
    assert not first.closed
    bench.fall_silent("b")
    await bench.until(lambda: "goodbye" in second.words)
    second.say(final("two"))
    second.hang_up()
    first.say(final("one"))
    first.hang_up()
    await bench.until(lambda: len(bench.results.records) == 2)
    assert {record.id: record.text for record in bench.results.records} == {"a": "one", "b": "two"}


async def test_a_third_utterance_waits_for_a_connection(bench: Bench) -> None:
    for name in "abc":
        bench.speak(name, PCM)
        bench.fall_silent(name)
    second = await bench.wire(1)
    await bench.until(lambda: "goodbye" in second.words)
    assert len(bench.remote.wires) == 2
    assert bench.dispatcher.status().waiting == 1
    second.hang_up()
    third = await bench.wire(2)
    await bench.until(lambda: "goodbye" in third.words)


async def test_a_dropped_connection_goes_on_where_it_was_acknowledged(bench: Bench) -> None:
    bench.speak("a", PCM)
    bench.fall_silent("a")
    first = await bench.wire(0)
    await bench.until(lambda: "goodbye" in first.words)
    first.say(final("one", 0, 2400))
    first.hang_up(ProviderError(FailureKind.LOST, "reset"))
    second = await bench.wire(1)
    await bench.until(lambda: "goodbye" in second.words)
    assert second.pcm == PCM[4800:]
    second.say(final("two", 0, 4000))
    second.hang_up()
    await bench.until(lambda: bench.results.records)
    (record,) = bench.results.records
    assert record.text == "one two"
    assert record.reconnects == 1
    assert [word.start for word in record.words] == [0, 2400]
    assert [acked for _, acked in bench.results.parts] == [2400, 6400]


async def test_after_an_end_that_is_not_confirmed_the_rest_is_sent(bench: Bench) -> None:
    pcm = PCM * 4
    bench.speak("a", pcm)
    bench.fall_silent("a")
    first = await bench.wire(0)
    await bench.until(lambda: "goodbye" in first.words)
    first.say(final("one"), Farewell(confirmed=False))
    second = await bench.wire(1)
    await bench.until(lambda: "goodbye" in second.words)
    assert second.pcm == pcm[2 * 6400 :]
    second.say(final("two", 0, 3 * 6400))
    second.hang_up()
    await bench.until(lambda: bench.results.records)
    assert bench.results.records[0].text == "one two"


async def test_without_times_the_whole_utterance_is_sent_again() -> None:
    bench = Bench(Capabilities(part_times=PartTimes.NONE))
    bench.speak("a", PCM)
    bench.fall_silent("a")
    first = await bench.wire(0)
    await bench.until(lambda: "goodbye" in first.words)
    first.say(Final("one"))
    first.hang_up(ProviderError(FailureKind.LOST, "reset"))
    second = await bench.wire(1)
    await bench.until(lambda: "goodbye" in second.words)
    second.say(Final("one"), Final("two"))
    second.hang_up()
    await bench.until(lambda: bench.results.records)
    assert second.pcm == PCM
    assert [part.text for part, _ in bench.results.parts] == ["one", "two"]
    assert bench.results.records[0].text == "one two"
    await bench.dispatcher.aclose()


async def test_a_held_connection_takes_the_next_utterance() -> None:
    bench = Bench(Capabilities(finalize=True, hold_s=30, part_times=PartTimes.WORDS))
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: "finalize" in wire.words)
    wire.say(final("one"), Finalized())
    await bench.until(lambda: bench.results.records)
    bench.speak("b", PCM, 90_000)
    bench.fall_silent("b")
    await bench.until(lambda: wire.words.count("finalize") == 2)
    wire.say(final("two"), Finalized())
    await bench.until(lambda: len(bench.results.records) == 2)
    assert len(bench.remote.wires) == 1
    assert bench.results.records[1].words[0].start == 90_000
    closing = asyncio.ensure_future(bench.dispatcher.aclose())
    await bench.until(lambda: wire.words[-1] == "goodbye")
    wire.hang_up()
    await closing
    assert {name for name, _ in bench.results.spent} == {"scripted"}
    # Each utterance is charged for when it is done: a connection may be held for hours.
    assert [cost.seconds_sent for _, cost in bench.results.spent] == [0.4, 0.4, 0.0]


async def test_nothing_is_sent_before_the_provider_is_ready() -> None:
    bench = Bench(Capabilities(ready_message=True, part_times=PartTimes.WORDS))
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: wire.words == ["open"])
    await asyncio.sleep(0.05)
    assert wire.pcm == b""
    wire.say(Ready())
    await bench.until(lambda: "goodbye" in wire.words)
    assert wire.pcm == PCM
    await bench.dispatcher.aclose()


async def test_a_provider_that_is_not_there_is_tried_again_and_loses_nothing(bench: Bench) -> None:
    bench.remote.refuse = ProviderError(FailureKind.CONNECT, "refused")
    bench.speak("a", PCM)
    bench.fall_silent("a")
    await bench.wire(3)
    assert bench.listener.standings[0] == ("backing-off", "refused")
    assert len(bench.listener.standings) == 1
    bench.remote.refuse = None
    await bench.until(lambda: bench.remote.wires[-1].pcm == PCM)
    bench.remote.wires[-1].say(final("late"))
    bench.remote.wires[-1].hang_up()
    await bench.until(lambda: bench.results.records)
    assert bench.listener.standings[-1] == ("up", "")


async def test_a_confirmed_end_without_words_is_no_record(bench: Bench) -> None:
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: "goodbye" in wire.words)
    wire.hang_up()
    await bench.until(lambda: bench.results.finished)
    assert bench.results.finished == [("a", UtteranceState.DONE, None)]


async def test_a_partial_stands_in_when_the_final_never_comes() -> None:
    quick = Capabilities(part_times=PartTimes.WORDS, drain_timeout_s=0.05)
    bench = Bench(quick)
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: "goodbye" in wire.words)
    wire.say(Partial("nearly"))
    await bench.until(lambda: bench.results.records)
    (record,) = bench.results.records
    assert record.text == "nearly"
    assert record.truncated
    await bench.dispatcher.aclose()


async def test_a_silent_provider_is_asked_once_more_and_then_given_up() -> None:
    bench = Bench(Capabilities(part_times=PartTimes.WORDS, drain_timeout_s=0.05))
    bench.speak("a", PCM)
    bench.fall_silent("a")
    await bench.until(lambda: bench.results.finished)
    assert [wire.pcm for wire in bench.remote.wires] == [PCM, PCM]
    assert bench.results.finished == [("a", UtteranceState.DONE, None)]
    await bench.dispatcher.aclose()


async def test_backlog_gives_way_to_live_speech_and_goes_on_later() -> None:
    patient = Capabilities(max_connections=1, part_times=PartTimes.WORDS, drain_timeout_s=60)
    bench = Bench(patient)
    bench.audio.spans["old"] = [AudioSpan(0, PCM)]
    bench.dispatcher.recovered(head("old"), tail(6400, EndReason.CRASH), [], 0)
    first = await bench.wire(0)
    await bench.until(lambda: "goodbye" in first.words)
    bench.speak("live", PCM[::-1])
    second = await bench.wire(1)
    await bench.until(lambda: second.pcm)
    assert first.closed
    bench.fall_silent("live")
    await bench.until(lambda: "goodbye" in second.words)
    second.say(final("now"))
    second.hang_up()
    third = await bench.wire(2)
    await bench.until(lambda: third.pcm == PCM)
    third.say(final("then"))
    third.hang_up()
    await bench.until(lambda: len(bench.results.records) == 2)
    live, old = bench.results.records
    assert (live.id, live.delayed) == ("live", False)
    assert (old.id, old.delayed, old.truncated, old.latency_ms) == ("old", True, True, None)
    await bench.dispatcher.aclose()


async def test_what_was_all_acknowledged_before_a_crash_is_not_sent_again(bench: Bench) -> None:
    bench.speak("a", PCM)
    bench.fall_silent("a")
    wire = await bench.wire(0)
    await bench.until(lambda: "goodbye" in wire.words)
    wire.say(final("hello"))
    await bench.until(lambda: bench.results.parts)
    part, acked = bench.results.parts[0]
    after = Bench()
    after.dispatcher.recovered(head("a"), tail(6400), [part], acked)
    assert [record.text for record in after.results.records] == ["hello"]
    assert after.remote.wires == []


async def test_audio_that_cannot_be_read_ends_its_utterance_only(bench: Bench) -> None:
    bench.audio.broken = LogError("bad sector")
    bench.speak("a", PCM)
    await bench.until(lambda: bench.remote.wires and bench.remote.wires[0].closed)
    bench.audio.broken = None
    bench.fall_silent("a")
    await bench.until(lambda: bench.results.finished)
    assert bench.results.finished == [("a", UtteranceState.DROPPED, None)]
    bench.speak("b", PCM)
    bench.fall_silent("b")
    wire = await bench.wire(1)
    await bench.until(lambda: wire.pcm == PCM)


async def test_no_session_opens_while_results_wait_for_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_RETRY_CONGESTED_S", 0.02)
    bench.results.full = True
    bench.speak("a", PCM)
    bench.fall_silent("a")
    await asyncio.sleep(0.06)
    assert bench.remote.wires == []
    bench.results.full = False
    wire = await bench.wire(0)
    await bench.until(lambda: wire.pcm == PCM)


async def test_an_onset_connects_early_only_where_waiting_is_free() -> None:
    for billing, expected in ((Billing.AUDIO, 1), (Billing.SESSION, 0)):
        bench = Bench(Capabilities(billing=billing, part_times=PartTimes.WORDS))
        bench.dispatcher.onset()
        bench.dispatcher.onset()
        await asyncio.sleep(0.02)
        assert len(bench.remote.wires) == expected
        bench.speak("a", PCM)
        wire = await bench.wire(0)
        await bench.until(lambda wire=wire: wire.pcm)
        assert len(bench.remote.wires) == 1
        await bench.dispatcher.aclose()


async def test_a_local_engine_that_dies_of_an_utterance_sets_it_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_TROUBLED_S", (1.0, 0.01))
    bench = Bench(Capabilities(local=True, max_connections=1, part_times=PartTimes.WORDS))
    dies = ProviderError(FailureKind.LOST, "killed")
    bench.speak("bad", PCM)
    bench.fall_silent("bad")
    for attempt in range(4):
        wire = await bench.wire(attempt)
        await bench.until(lambda wire=wire: wire.pcm == PCM)
        wire.hang_up(dies)
    wire = await bench.wire(4)
    await bench.until(lambda: wire.pcm == PCM)
    bench.speak("good", PCM[::-1])
    bench.fall_silent("good")
    wire.hang_up(dies)
    wire = await bench.wire(5)
    await bench.until(lambda: "goodbye" in wire.words)
    assert wire.pcm == PCM[::-1]
    wire.say(final("fine"))
    wire.hang_up()
    wire = await bench.wire(6)
    await bench.until(lambda: wire.pcm == PCM)
    wire.hang_up(dies)
    await bench.until(lambda: len(bench.results.finished) == 2)
    assert bench.results.finished[1] == ("bad", UtteranceState.POISONED, None)
    assert bench.dispatcher.status().poisoned == 1
    await bench.dispatcher.aclose()


async def test_closing_returns_what_is_unfinished_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    bench = Bench()
    bench.speak("a", PCM)
    wire = await bench.wire(0)
    await bench.until(lambda: wire.pcm)
    assert not await bench.dispatcher.drain(0.01)
    await bench.dispatcher.aclose()
    assert wire.closed
    assert bench.results.finished == []
    assert asyncio.all_tasks() == before
