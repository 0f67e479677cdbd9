"""Every provider on a network, through the real session and transport, against its simulator.

What is said is synthetic speech (``tests/simulators/speech.py``): what the simulator understands
follows from the audio it was given, so that text lost or doubled shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from stt_edge.clock import SystemClock
from stt_edge.config.loader import loads
from stt_edge.model import AudioSpan, Record
from stt_edge.providers import registry
from stt_edge.providers.base import Capabilities, PartTimes, Provider
from stt_edge.session.dispatcher import Dispatcher
from stt_edge.session.standing import Health
from stt_edge.sinks import registry as sinks
from tests.session.scripted import MemoryAudio, MemoryListener, MemoryResults, head, tail
from tests.simulators.core import Faults, Simulator
from tests.simulators.registry import names, provider_of, simulator_class
from tests.simulators.speech import (
    ENGLISH,
    ICELANDIC,
    THAI,
    SyntheticRecogniser,
    say,
    text_of,
)

VOCABULARY: Final = {"tiro": ICELANDIC, "iapp": THAI, "google": THAI, "aws": ICELANDIC}
UNPACED: Final = frozenset({"unpaced"})
BUFFERED: Final = frozenset({"google_rest", "openai"})
"""They are given an utterance at once, when it has ended."""
RESAMPLED: Final = frozenset({"openai_realtime"})
NETWORK: Final = [name for name in names() if name != "google_rest"] + ["google_rest"]


class AtOnce(random.Random):
    """Draws the lower bound: no back-off lasts."""

    def uniform(self, a: float, b: float) -> float:
        return a


@dataclass
class Desk:
    """A provider, its simulator, and a session between them."""

    name: str
    simulator: Simulator
    provider: Provider
    audio: MemoryAudio
    results: MemoryResults
    listener: MemoryListener
    dispatcher: Dispatcher

    @property
    def capabilities(self) -> Capabilities:
        return self.provider.capabilities

    @property
    def vocabulary(self) -> Sequence[str]:
        return VOCABULARY.get(self.name, ENGLISH)

    def speak(self, utterance: str, pcm: bytes, at: int = 0) -> None:
        """Say something, whole."""
        self.audio.spans[utterance] = [AudioSpan(at, pcm)]
        self.dispatcher.opened(head(utterance, at))
        self.dispatcher.grew(utterance)
        self.dispatcher.ended(utterance, tail(at + len(pcm) // 2))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)

    async def record(self, utterance: str) -> Record:
        """Wait for the record of an utterance; there is never more than one."""
        await self.until(lambda: any(one == utterance for one, *_ in self.results.finished))
        (record,) = [record for one, _, record in self.results.finished if one == utterance]
        assert record is not None
        return record

    def text(self, words: Sequence[int]) -> str:
        return text_of(words, self.vocabulary)


def quick(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with which a test need not last as long as what is said."""
    return {**options, "rate": 50}


def built(name: str, options: dict[str, Any], directory: Path) -> Provider:
    """Return the provider as the daemon would build it from a file."""
    listed = {"providers": [{"name": provider_of(name), **options}]}
    config = loads(yaml.safe_dump(listed).encode(), directory / "x.yaml", registry, sinks)
    (entry,) = config.providers
    return registry.build(entry.name, entry.kind, entry.options)


@contextlib.asynccontextmanager
async def desk(
    name: str,
    directory: Path,
    faults: Faults | None = None,
    adapt: Callable[[Capabilities], Capabilities] = lambda capabilities: capabilities,
    **more: Any,
) -> AsyncIterator[Desk]:
    faults = faults or Faults()
    faults = replace(faults, other=faults.other | UNPACED)
    recogniser = partial(SyntheticRecogniser, VOCABULARY.get(name, ENGLISH))
    async with simulator_class(name)(faults, recogniser=recogniser) as simulator:
        options = {**simulator.options(directory), **more}
        provider = built(name, quick(name, options), directory)
        provider = replace(provider, capabilities=adapt(provider.capabilities))
        audio, results, listener = MemoryAudio(), MemoryResults(), MemoryListener()
        dispatcher = Dispatcher(
            [provider], audio, results, listener, SystemClock(), node="here", rng=AtOnce()
        )
        try:
            yield Desk(name, simulator, provider, audio, results, listener, dispatcher)
        finally:
            await dispatcher.aclose()
            if provider.aclose is not None:
                await provider.aclose()


def heard(made: Desk) -> list[bytes]:
    """Return what each session was given, but for connections that were given nothing."""
    return [session.pcm for session in made.simulator.sessions if session.pcm]


@pytest.mark.parametrize("name", NETWORK)
async def test_what_is_said_arrives_sample_for_sample_and_comes_back_as_text(
    name: str, tmp_path: Path
) -> None:
    words, others = [0, 1, 2, 3, 4], [5, 6, 7]
    async with desk(name, tmp_path) as made:
        pcm = say(words)
        made.speak("a", pcm)
        record = await made.record("a")
        assert (record.text, record.provider) == (made.text(words), provider_of(name))
        assert not record.truncated
        if name not in RESAMPLED:
            assert heard(made) == [pcm]
        again = say(others)
        made.speak("b", again, at=100_000)
        record = await made.record("b")
        assert record.text == made.text(others)
        if name not in RESAMPLED:
            assert b"".join(heard(made)) == pcm + again
        for word in record.words:
            assert 100_000 <= word.start < word.end <= 100_000 + len(again) // 2


@pytest.mark.parametrize("name", NETWORK)
async def test_nothing_is_lost_while_the_handshake_takes_its_time(
    name: str, tmp_path: Path
) -> None:
    words = [6, 2, 8]
    async with desk(name, tmp_path, Faults(connect_s=0.4)) as made:
        pcm = say(words)
        half = len(pcm) // 4 * 2
        made.audio.spans["a"] = [AudioSpan(0, pcm[:half])]
        made.dispatcher.onset()
        made.dispatcher.opened(head("a"))
        made.audio.spans["a"].append(AudioSpan(half // 2, pcm[half:]))
        made.dispatcher.ended("a", tail(len(pcm) // 2))
        record = await made.record("a")
        assert (record.text, record.reconnects) == (made.text(words), 0)
        if name not in RESAMPLED:
            assert heard(made) == [pcm]


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize("seed", [1, 2])
async def test_after_five_drops_nothing_is_missing_and_nothing_doubled(
    name: str, seed: int, tmp_path: Path
) -> None:
    words = list(range(9))
    pcm = say(words, gap_ms=150)
    rng = random.Random(seed)
    length_s = len(pcm) / 32_000
    drops = tuple(rng.uniform(0.1, length_s * 0.9) for _ in range(5))
    async with desk(name, tmp_path, Faults(drop_s=drops)) as made:
        made.speak("a", pcm)
        record = await made.record("a")
        assert record.text == made.text(words)
        # A service that ends its audio early was sent no more than that; one drop may not happen.
        assert 1 <= record.reconnects <= 5
        if name in RESAMPLED:
            return
        acked = {0, *(acked for _, acked in made.results.parts)}
        if made.capabilities.part_times is PartTimes.NONE:
            acked = {0}
        for given in heard(made):
            assert any(pcm[2 * at :].startswith(given) for at in acked)


@pytest.mark.parametrize("name", NETWORK)
async def test_a_refused_key_blocks_and_the_message_does_not_hold_it(
    name: str, tmp_path: Path
) -> None:
    if name in ("vosk_server", "wyoming"):
        pytest.skip(f"{name} knows no keys")
    async with desk(name, tmp_path) as made:
        key_file = next(iter(made.provider.watched))
        key = made.simulator.key
        good = Path(key_file).read_text()
        Path(key_file).write_text(good.replace(key, "not-the-key-0815"))
        made.speak("a", say([1, 2]))
        await made.until(lambda: made.dispatcher.status().lanes[0].health == "blocked")
        (lane,) = made.dispatcher.status().lanes
        assert "0815" not in lane.message
        assert lane.retry_in_s > 250
        Path(key_file).write_text(good)
        made.dispatcher.mended(made.provider.name)
        record = await made.record("a")
        assert record.text == made.text([1, 2])


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize(
    "refusal",
    [
        (402, None, Health.BLOCKED, 250),
        (403, None, Health.BLOCKED, 250),
        (429, None, Health.BACKING_OFF, 25),
        (429, "90", Health.BACKING_OFF, 80),
        (503, None, Health.BACKING_OFF, 0),
    ],
)
async def test_a_refusal_is_taken_for_what_it_is(
    name: str, refusal: tuple[int, str | None, Health, float], tmp_path: Path
) -> None:
    status, retry_after, health, least_s = refusal
    if name in ("vosk_server", "wyoming", "google"):
        pytest.skip(f"{name} does not answer with HTTP")
    faults = Faults(http_status=status, retry_after=retry_after)
    async with desk(name, tmp_path, faults) as made:
        made.speak("a", say([1, 2]))
        await made.until(lambda: made.listener.standings)
        assert made.listener.standings[0][0] == health.value
        assert made.dispatcher.status().lanes[0].retry_in_s >= least_s


MISHAPS: Final = {
    "garbage": Faults(garbage=True),
    "huge": Faults(huge=True),
    "invalid-utf8": Faults(invalid_utf8=True),
    "close-1011": Faults(close_code=1011),
    "drop-at-goodbye": Faults(drop_at_goodbye=True),
}


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize("mishap", MISHAPS)
async def test_an_utterance_survives_a_service_that_misbehaves_for_a_while(
    name: str, mishap: str, tmp_path: Path
) -> None:
    words = [3, 1, 4, 1, 5]
    faults = MISHAPS[mishap]
    if name in BUFFERED | {"google", "wyoming"} and mishap not in ("garbage", "drop-at-goodbye"):
        pytest.skip(f"{name} has no frames of WebSocket")
    async with desk(name, tmp_path, faults) as made:
        made.speak("a", say(words))
        await made.until(lambda: made.listener.standings or made.results.finished)
        made.simulator.faults = Faults(other=UNPACED)
        while not made.results.finished:
            made.dispatcher.mended(made.provider.name)  # a crash again and again blocks as well
            await asyncio.sleep(0.01)
        record = await made.record("a")
        assert record.text == made.text(words)


@pytest.mark.parametrize("name", NETWORK)
async def test_what_a_service_says_twice_is_written_once(name: str, tmp_path: Path) -> None:
    words = [3, 3, 4]
    async with desk(name, tmp_path, Faults(duplicate_finals=True)) as made:
        made.speak("a", say(words))
        record = await made.record("a")
        assert record.text == made.text(words)
        assert len(made.results.records) == 1


@pytest.mark.parametrize("name", NETWORK)
async def test_a_late_final_is_waited_for(name: str, tmp_path: Path) -> None:
    async with desk(name, tmp_path, Faults(late_final_s=0.5)) as made:
        made.speak("a", say([2, 5]))
        record = await made.record("a")
        assert (record.text, record.reconnects) == (made.text([2, 5]), 0)


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize("mishap", ["silent", "never_confirm"])
async def test_a_service_that_says_nothing_in_the_end_does_not_hold_an_utterance_for_ever(
    name: str, mishap: str, tmp_path: Path
) -> None:
    def hasty(capabilities: Capabilities) -> Capabilities:
        return replace(
            capabilities,
            connect_timeout_s=0.3,
            drain_timeout_s=0.5,
            finalize_timeout_s=0.2 if capabilities.finalize else None,
        )

    faults = Faults(silent=mishap == "silent", never_confirm=mishap == "never_confirm")
    async with desk(name, tmp_path, faults, hasty) as made:
        made.speak("a", say([2, 5, 7]))
        await made.until(
            lambda: made.results.finished or made.dispatcher.status().lanes[0].health != "up"
        )
        hangs_up = name in ("vosk_server", "wyoming")
        if mishap == "silent" and (hangs_up or made.capabilities.ready_message):
            # Never ready, or gone before the answer: the utterance waits for better days.
            assert not made.results.finished
            return
        await made.until(lambda: made.results.finished)
        assert len(made.results.finished) == 1
