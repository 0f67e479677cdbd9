"""Several providers in a row: who gets an utterance, what a day may cost, and the way back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from stt_edge.clock import SystemClock
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import AudioSpan, EndReason
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Final,
    Finalized,
    Partial,
    PartTimes,
    Ready,
    Submitted,
    WordOffset,
)
from stt_edge.session import lane as lane_module
from stt_edge.session.budget import Budget, Cost, Ledger, cost_of
from stt_edge.session.chain import SessionRules
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.standing import Health
from tests.session.scripted import (
    EchoRemote,
    MemoryAudio,
    MemoryListener,
    MemoryResults,
    Remote,
    Wire,
    head,
    tail,
)

PCM = bytes(range(256)) * 50
DOWN = ProviderError(FailureKind.CONNECT, "refused")
DENIED = ProviderError(FailureKind.DENIED, "the key is refused")
CLOUD = Capabilities(billing=Billing.AUDIO, partials=True, part_times=PartTimes.WORDS)


class AtOnce(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


class Today(SystemClock):
    """The system's clock, on a day of the test's choosing."""

    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Bench:
    """A dispatcher over scripted providers."""

    def __init__(self, *remotes: Remote, rules: SessionRules | None = None) -> None:
        self.remotes = remotes
        self.audio = MemoryAudio()
        self.results = MemoryResults()
        self.listener = MemoryListener()
        self.clock = Today()
        self.dispatcher = Dispatcher(
            [remote.provider for remote in remotes],
            self.audio,
            self.results,
            self.listener,
            self.clock,
            node="here",
            rules=rules,
            rng=AtOnce(),
        )

    def speak(self, name: str, pcm: bytes = PCM) -> None:
        """Say something, whole."""
        self.audio.spans[name] = [AudioSpan(0, pcm)]
        self.dispatcher.opened(head(name))
        self.dispatcher.grew(name)
        self.dispatcher.ended(name, tail(len(pcm) // 2))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.002)

    async def said(self, name: str) -> str:
        """Wait for the record of an utterance; returns who made it."""
        await self.until(lambda: name in {record.id for record in self.results.records})
        return next(record.provider for record in self.results.records if record.id == name)

    def lane(self, at: int = 0) -> lane_module.Lane:
        return self.dispatcher._chain.lanes[at]


def named(remote: Remote, name: str, capabilities: Capabilities = CLOUD) -> Remote:
    made = remote.provider
    remote.provider = type(made)(name, capabilities, made.make_protocol, made.make_transport)
    return remote


def answer(wire: Wire, text: str = "hello") -> None:
    wire.say(Final(text, words=(WordOffset(text, 0, 6400, 0.9),)))
    wire.hang_up()


@pytest.fixture
async def close() -> AsyncIterator[Callable[[Bench], Bench]]:
    made: list[Bench] = []

    def register(bench: Bench) -> Bench:
        made.append(bench)
        return bench

    yield register
    for bench in made:
        await bench.dispatcher.aclose()


Close = Callable[[Bench], Bench]


async def test_the_first_is_used_while_it_is_well(close: Close) -> None:
    first, second = named(EchoRemote(), "first"), named(EchoRemote(), "second")
    bench = close(Bench(first, second))
    bench.speak("a")
    assert await bench.said("a") == "first"
    assert not second.wires


async def test_after_two_failed_attempts_the_utterance_goes_to_the_next(close: Close) -> None:
    first, second = named(Remote(), "first"), named(EchoRemote(), "second")
    first.refuse = DOWN
    bench = close(Bench(first, second))
    bench.speak("a")
    assert await bench.said("a") == "second"
    assert len(first.wires) >= 2
    assert second.wires[0].pcm == PCM


async def test_a_blocked_provider_is_passed_at_once(close: Close) -> None:
    first, second = named(Remote(), "first"), named(EchoRemote(), "second")
    first.refuse = DENIED
    bench = close(Bench(first, second))
    bench.speak("a")
    assert await bench.said("a") == "second"
    assert len(first.wires) == 1
    assert bench.dispatcher.status().in_use == "second"


async def test_one_that_is_not_ready_in_time_is_passed(
    close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stt_edge.session import dispatcher

    monkeypatch.setattr(dispatcher, "READY_WITHIN_S", 0.05)
    first, second = named(Remote(), "first"), named(EchoRemote(), "second")
    first.accepting.clear()
    bench = close(Bench(first, second))
    bench.speak("a")
    assert await bench.said("a") == "second"
    assert not any(wire.sent for wire in first.wires)


async def test_what_was_acknowledged_is_not_sent_to_the_next(close: Close) -> None:
    first, second = named(Remote(), "first"), named(EchoRemote(), "second")
    bench = close(Bench(first, second))
    bench.speak("a")
    await bench.until(lambda: first.wires and "goodbye" in first.wires[0].words)
    first.wires[0].say(Final("half", words=(WordOffset("half", 0, 3200),)))
    await bench.until(lambda: bench.results.parts)
    first.refuse = DENIED
    first.wires[0].hang_up(DENIED)
    assert await bench.said("a") == "first+second"
    assert second.wires[0].pcm == PCM[6400:]
    assert bench.results.records[0].text == "half echo"


async def test_one_that_is_back_is_greeted_then_tried_with_one_utterance(close: Close) -> None:
    first, second = named(EchoRemote(), "first"), named(EchoRemote(), "second")
    first.refuse = DOWN
    bench = close(Bench(first, second))
    bench.speak("a")
    assert await bench.said("a") == "second"
    first.refuse = None
    await bench.until(lambda: bench.lane().usable())
    probe = first.wires[-1]
    assert not probe.pcm
    await bench.until(lambda: "goodbye" in probe.words)
    first.accepting.clear()
    bench.speak("b")
    bench.speak("c")  # while the first has one on trial
    assert await bench.said("c") == "second"
    first.accepting.set()
    assert await bench.said("b") == "first"
    assert bench.lane().standing.health is Health.UP


async def test_a_failed_trial_doubles_the_time_until_the_next_probe(close: Close) -> None:
    lane = lane_module.Lane(named(Remote(), "x").provider, hold_s=None, connect_early=True)
    waits = []
    for _ in range(7):
        lane.failed(DOWN, 0.0, AtOnce(), established=False)
        lane.failed(DOWN, 0.0, AtOnce(), established=False)
        lane.greeted()
        lane.given("u")
        assert not lane.usable()  # there is one on trial already
        lane.failed(DOWN, 0.0, AtOnce(), established=False)
        waits.append(lane.standing.wait_s(0.0))
    assert waits == [30, 60, 120, 240, 480, 960, 960]
    lane.proved()
    assert lane.usable()


async def test_keep_has_the_first_do_again_what_another_did(close: Close) -> None:
    first, second = named(EchoRemote(), "first"), named(Remote(), "second")
    first.refuse = DENIED
    bench = close(Bench(first, second, rules=SessionRules(keep_for_first=True)))
    bench.speak("a")
    await bench.until(lambda: second.wires and "goodbye" in second.wires[0].words)
    answer(second.wires[0], "hollow")
    await bench.until(lambda: bench.results.first_tries)
    ((utterance, record),) = bench.results.first_tries
    assert record is not None
    assert (utterance, record.id, record.text, record.supersedes) == ("a", "a", "hollow", None)
    assert not bench.results.finished
    assert await bench.dispatcher.drain(1), "there is a record, so nothing is waited for"
    first.refuse = None
    bench.dispatcher.mended("first")
    await bench.until(lambda: bench.results.records)
    (again,) = bench.results.records
    assert (again.text, again.provider, again.supersedes) == ("echo", "first", "a")
    assert again.id != "a"
    assert first.wires[-1].pcm == PCM


async def test_what_waits_to_be_done_again_never_goes_to_the_fallback(close: Close) -> None:
    first, second = named(Remote(), "first"), named(EchoRemote(), "second")
    first.refuse = DENIED
    bench = close(Bench(first, second, rules=SessionRules(keep_for_first=True)))
    bench.audio.spans["old"] = [AudioSpan(0, PCM)]
    ended = tail(len(PCM) // 2, EndReason.SILENCE)
    bench.dispatcher.recovered(head("old"), ended, [], 0, supersedes="old")
    bench.speak("a")
    await bench.until(lambda: bench.results.first_tries)
    assert [name for name, _ in bench.results.first_tries] == ["a"]
    assert len(second.wires) == 1


async def test_a_mended_key_is_tried_at_once(close: Close) -> None:
    only = named(EchoRemote(), "only")
    only.refuse = DENIED
    bench = close(Bench(only))
    bench.speak("a")
    await bench.until(lambda: bench.lane().standing.health is Health.BLOCKED)
    assert bench.dispatcher.status().lanes[0].retry_in_s > 250
    only.refuse = None
    bench.dispatcher.mended("only")
    assert await bench.said("a") == "only"
    assert len(only.wires) == 2
    assert bench.listener.standings[-1] == ("up", "")


async def test_a_doubtful_provider_is_asked_by_one_connection_at_a_time(close: Close) -> None:
    only = named(Remote(), "only")
    only.accepting.clear()
    bench = close(Bench(only))
    bench.lane().failed(DOWN, 0.0, AtOnce(), established=False)
    bench.speak("a")
    bench.speak("b")
    bench.dispatcher.onset()
    assert len(only.wires) == 1
    bench.lane().proved()
    bench.dispatcher.hint()
    assert len(only.wires) == 2


# --- money ---


def test_billing_follows_the_provider() -> None:
    made = named(Remote(), "x", Capabilities(billing=Billing.AUDIO, minimum_billed_s=15.0)).provider
    assert cost_of(made, 4.0, 9.0).billed_s == 15.0
    assert cost_of(made, 40.0, 9.0).billed_s == 40.0
    assert cost_of(made, 0.0, 9.0).billed_s == 0.0
    session = named(Remote(), "x", Capabilities(billing=Billing.SESSION)).provider
    assert cost_of(session, 4.0, 9.0).billed_s == 9.0
    assert cost_of(named(Remote(), "x", Capabilities()).provider, 4.0, 9.0) == Cost(4.0, 9.0)


async def test_when_the_budget_is_spent_what_costs_nothing_goes_on(close: Close) -> None:
    cloud = named(EchoRemote(), "cloud")
    local = named(EchoRemote(), "local", Capabilities(part_times=PartTimes.WORDS))
    bench = close(Bench(cloud, local, rules=SessionRules(budget=Budget(seconds_per_day=0.3))))
    bench.speak("a")
    assert await bench.said("a") == "cloud"
    await bench.until(lambda: bench.results.spent)
    bench.speak("b")
    assert await bench.said("b") == "local"
    assert bench.listener.budgets == [True]
    assert bench.dispatcher.status().budget_spent


async def test_what_a_held_connection_costs_counts_at_once(close: Close) -> None:
    terms = Capabilities(billing=Billing.AUDIO, minimum_billed_s=15.0, finalize=True, hold_s=60.0)
    only = named(Remote(), "only", terms)
    bench = close(Bench(only, rules=SessionRules(budget=Budget(seconds_per_day=15.0))))
    bench.speak("a")
    await bench.until(lambda: only.wires and "finalize" in only.wires[0].words)
    only.wires[0].say(Final("one"), Finalized())
    await bench.until(lambda: bench.results.records)
    assert bench.lane().links[0].free
    assert bench.dispatcher.status().budget_spent
    bench.speak("b")
    assert bench.dispatcher.status().waiting == 1
    assert [cost.billed_s for _, cost in bench.results.spent] == [15.0]


async def test_what_waits_for_a_provider_that_is_away_is_not_waited_for(close: Close) -> None:
    only = named(EchoRemote(), "only")
    only.refuse = DENIED
    bench = close(Bench(only))
    assert bench.dispatcher.stuck(12.0)
    bench.speak("a")
    assert not bench.dispatcher.stuck(12.0)
    await bench.until(lambda: bench.dispatcher.stuck(12.0))
    assert not bench.dispatcher.stuck(301.0)
    only.refuse = None
    bench.dispatcher.mended("only")
    assert not bench.dispatcher.stuck(12.0)
    assert await bench.said("a") == "only"


async def test_live_speech_and_backlog_do_not_take_turns_in_connecting(close: Close) -> None:
    only = named(Remote(), "only")
    bench = close(Bench(only))
    only.accepting.clear()
    bench.lane().failed(DOWN, 0.0, AtOnce(), established=False)
    ended = tail(len(PCM) // 2)
    for name in ("old1", "old2"):
        bench.audio.spans[name] = [AudioSpan(0, PCM)]
        bench.dispatcher.recovered(head(name), ended, [], 0)
    await bench.until(lambda: len(only.wires) == 1)
    bench.audio.spans["now"] = [AudioSpan(0, PCM)]
    bench.dispatcher.opened(head("now"))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(only.wires) <= 3


async def test_without_another_provider_speech_waits_until_the_day_turns(close: Close) -> None:
    cloud = named(EchoRemote(), "cloud")
    bench = close(Bench(cloud, rules=SessionRules(budget=Budget(seconds_per_day=10.0))))
    today = bench.clock.now().astimezone().date()
    bench.dispatcher.spent_before(Ledger(today).with_cost("cloud", Cost(billed_s=10.0)))
    bench.speak("a")
    assert bench.dispatcher.status().waiting == 1
    assert not cloud.wires
    bench.clock.ahead = timedelta(days=1)
    bench.dispatcher.hint()  # as the timer at midnight does
    assert await bench.said("a") == "cloud"
    assert bench.listener.budgets == [True, False]


def test_money_counts_as_seconds_do() -> None:
    ledger = Ledger(datetime.now(UTC).date()).with_cost("a", Cost(money=0.4))
    ledger = ledger.with_cost("b", Cost(money=0.6))
    assert ledger.spent(Budget(money_per_day=1.0))
    assert not ledger.spent(Budget(money_per_day=1.01))
    assert not ledger.spent(Budget())


# --- what connections learned to do ---


async def test_a_finalize_that_is_not_answered_is_followed_by_the_goodbye(close: Close) -> None:
    terms = Capabilities(finalize=True, finalize_timeout_s=0.02, hold_s=60.0)
    only = named(Remote(), "only", terms)
    bench = close(Bench(only))
    bench.speak("a")
    await bench.until(lambda: only.wires and "goodbye" in only.wires[0].words)
    assert only.wires[0].words[-2:] == ["finalize", "goodbye"]
    answer(only.wires[0])
    assert await bench.said("a") == "only"


async def test_a_goodbye_that_is_not_answered_is_said_once_more(close: Close) -> None:
    only = named(Remote(), "only", Capabilities(goodbye_again_s=0.02))
    bench = close(Bench(only))
    bench.speak("a")
    await bench.until(lambda: only.wires and only.wires[0].words.count("goodbye") == 2)
    answer(only.wires[0])
    assert await bench.said("a") == "only"
    assert only.wires[0].words.count("goodbye") == 2


async def test_a_held_connection_is_kept_alive(close: Close) -> None:
    terms = Capabilities(finalize=True, hold_s=60.0, keep_alive_s=0.01)
    only = named(Remote(), "only", terms)
    bench = close(Bench(only))
    bench.speak("a")
    await bench.until(lambda: only.wires and "finalize" in only.wires[0].words)
    assert "keep-alive" not in only.wires[0].words
    only.wires[0].say(Final("one"), Finalized())
    await bench.until(lambda: only.wires[0].words.count("keep-alive") >= 3)
    bench.speak("b")
    await bench.until(lambda: only.wires[0].words[-1] == "finalize")
    assert len(only.wires) == 1


async def test_no_utterance_begins_on_a_session_that_is_nearly_over(close: Close) -> None:
    terms = Capabilities(finalize=True, hold_s=600.0, max_session_s=100.0)
    only = named(Remote(), "only", terms)
    bench = close(Bench(only, rules=SessionRules(longest_s=60.0)))
    bench.speak("a")
    await bench.until(lambda: only.wires and "finalize" in only.wires[0].words)
    only.wires[0].say(Final("one"), Finalized())
    await bench.until(lambda: bench.results.records)
    bench.lane().links[0]._opened_s -= 31.0
    bench.speak("b")
    await bench.until(lambda: len(only.wires) == 2)
    await bench.until(lambda: "goodbye" in only.wires[0].words)
    await bench.until(lambda: only.wires[1].pcm == PCM)
    assert only.wires[0].pcm == PCM, "the old session was given nothing of it"


async def test_a_job_is_asked_for_and_not_sent_again(close: Close) -> None:
    only = named(Remote(), "only", Capabilities(resumable=True, part_times=PartTimes.WORDS))
    bench = close(Bench(only))
    bench.speak("a")
    await bench.until(lambda: only.wires and "goodbye" in only.wires[0].words)
    only.wires[0].say(Submitted("job-7"))
    await bench.until(lambda: bench.results.jobs)
    assert bench.results.jobs == [("a", ("only", "job-7"))]
    only.wires[0].hang_up(ProviderError(FailureKind.LOST, "gone"))
    await bench.until(lambda: len(only.wires) == 2 and "goodbye" in only.wires[1].words)
    assert "resume job-7" in only.wires[1].words
    assert not only.wires[1].pcm
    only.wires[1].say(Final("done", words=(WordOffset("done", 3200, 6400),)))
    only.wires[1].hang_up()
    assert await bench.said("a") == "only"
    (record,) = bench.results.records
    assert (record.words[0].start, record.words[0].end) == (3200, 6400)


async def test_a_job_the_provider_has_forgotten_is_sent_again(close: Close) -> None:
    only = named(Remote(), "only", Capabilities(resumable=True, part_times=PartTimes.WORDS))
    bench = close(Bench(only))
    bench.audio.spans["old"] = [AudioSpan(0, PCM)]
    ended = tail(len(PCM) // 2)
    bench.dispatcher.recovered(head("old"), ended, [], 0, job=("only", "job-7"))
    await bench.until(lambda: only.wires and "resume job-7" in only.wires[0].words)
    only.wires[0].hang_up(ProviderError(FailureKind.REQUEST, "no such operation"))
    await bench.until(lambda: bench.results.jobs)
    assert bench.results.jobs == [("old", None)]
    assert bench.lane().standing.health is not Health.BLOCKED
    await bench.until(lambda: len(only.wires) == 2 and "goodbye" in only.wires[1].words)
    answer(only.wires[1])
    assert await bench.said("old") == "only"
    assert only.wires[-1].pcm == PCM


async def test_an_utterance_that_is_refused_is_not_sent_again_and_again_at_once(
    close: Close,
) -> None:
    only = named(Remote(), "only", Capabilities(ready_message=True))
    bench = close(Bench(only))
    bench.speak("a")
    for attempt in range(2):
        await bench.until(lambda at=attempt: len(only.wires) > at)
        only.wires[attempt].say(Ready(), Partial("x"))
        await bench.until(lambda at=attempt: only.wires[at].pcm)
        only.wires[attempt].hang_up(ProviderError(FailureKind.UTTERANCE, "too long"))
    await bench.until(lambda: bench.dispatcher.status().waiting == 1)
    (waiting,) = bench.dispatcher._placement.waiting
    assert waiting.due_s - asyncio.get_running_loop().time() > 1.0
