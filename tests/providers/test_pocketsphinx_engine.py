"""The engine in this process, and real speech through real workers."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import pytest

from stt_edge.providers import pocketsphinx
from stt_edge.providers.pocketsphinx import Options
from stt_edge.providers.worker import pocketsphinx as engine_module
from stt_edge.providers.worker.engine import Heard
from stt_edge.providers.worker.pocketsphinx import PocketsphinxEngine
from tests.providers.client import Client, transcribe, using
from tests.scoring import words_of
from tests.shared_data import DATA, manifest, needs_data

pytest.importorskip("pocketsphinx")

SECOND = 32_000
CHUNK = 3200


def engine_of(**options: Any) -> PocketsphinxEngine:
    host: Any = pocketsphinx.build("ps", Options(**options)).make_transport()
    return PocketsphinxEngine(json.loads(host._host._settings))


def hear(engine: PocketsphinxEngine, pcm: bytes) -> Heard | None:
    engine.begin()
    for at in range(0, len(pcm), CHUNK):
        engine.feed(pcm[at : at + CHUNK])
    return engine.finish()


def pcm_of(name: str) -> bytes:
    with wave.open(str(DATA / "speech" / f"{name}.wav")) as clip:
        return bytes(clip.readframes(clip.getnframes()))


@pytest.fixture(scope="module")
def commands() -> PocketsphinxEngine:
    return engine_of(phrases=("turn on the lamp", "stop", "Go somewhere and do something!"))


@pytest.mark.parametrize(
    "samples", [0, 1, 100, 159, 160, 400, 411, 1600, 15_999, 16_000, 16_001, 40_000]
)
@pytest.mark.parametrize("fill", [b"\0\0", b"\1\0", b"\xff\x7f\0\x80"])
def test_no_length_of_no_speech_is_too_odd(
    commands: PocketsphinxEngine, samples: int, fill: bytes
) -> None:
    assert hear(commands, (fill * samples)[: 2 * samples]) is None


def test_digital_silence_says_nothing_in_free_speech_either() -> None:
    engine = engine_of()
    for seconds in (0.5, 1, 2):
        assert hear(engine, bytes(int(seconds * SECOND))) is None


@needs_data
def test_a_phrase_is_written_as_it_is_configured(commands: PocketsphinxEngine) -> None:
    heard = hear(commands, pcm_of("ps-something"))
    assert heard is not None
    assert heard.text == "Go somewhere and do something"
    assert heard.confidence is None


@needs_data
def test_part_of_a_phrase_is_no_phrase() -> None:
    eight = pcm_of("fsdd-8-yweweler")
    heard = hear(engine_of(phrases=("turn", "stop")), eight)
    assert heard is not None
    assert heard.text == "turn", "the nearest to eight that there is"
    assert hear(engine_of(phrases=("turn on the lamp in the living room", "stop")), eight) is None


@needs_data
def test_any_public_rule_of_a_grammar_may_be_said(tmp_path: Path) -> None:
    path = tmp_path / "g.jsgf"
    path.write_text(
        "#JSGF V1.0;\ngrammar g;\n<card> = (ten | seven) of clubs;\n"
        "public <a> = stop;\npublic <lamp> = turn (on | off) [the] lamp;\npublic <z> = <card>;\n"
    )
    engine = engine_of(grammar=str(path))
    clips = ("ps-cards-001", "ps-cards-003", "rh-turn-on-the-lamp")
    heard = [hear(engine, pcm_of(name)) for name in clips]
    assert [one and one.text for one in heard] == [
        "ten of clubs",
        "seven of clubs",
        "turn on the lamp",
    ]


@needs_data
def test_a_very_long_utterance_is_decoded_in_pieces_with_times_that_go_on(
    commands: PocketsphinxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = pcm_of("rh-turn-on-the-lamp")
    assert len(lamp) == 3 * SECOND
    monkeypatch.setattr(engine_module, "_SEGMENT_BYTES", len(lamp))
    heard = hear(commands, lamp * 3)
    assert heard is not None
    assert heard.text == " ".join(["turn on the lamp"] * 3)
    starts = [word.start for word in heard.words if word.text == "turn"]
    assert [start // (len(lamp) // 2) for start in starts] == [0, 1, 2]
    assert len({start % (len(lamp) // 2) for start in starts}) == 1, "each piece begins afresh"


@needs_data
def test_an_utterance_begun_anew_forgets_the_one_in_hand(commands: PocketsphinxEngine) -> None:
    alone = hear(commands, pcm_of("ps-something"))
    commands.begin()
    commands.feed(pcm_of("rh-turn-on-the-lamp"))
    assert hear(commands, pcm_of("ps-something")) == alone


@needs_data
def test_the_same_audio_gives_the_same_result_whatever_came_before(
    commands: PocketsphinxEngine,
) -> None:
    first = hear(commands, pcm_of("ps-something"))
    hear(commands, b"\xff\x7f\0\x80" * SECOND)
    assert hear(commands, pcm_of("ps-something")) == first


@needs_data
async def test_free_speech_is_understood_with_times_and_confidence() -> None:
    pcm = pcm_of("ps-something")
    async with using(pocketsphinx.build("ps", Options())) as provider:
        client = await transcribe(provider, pcm)
        assert client.text == "go somewhere and do something"
        (final,) = client.finals
        assert (final.model, final.language) == ("en-us", "en")
        assert final.confidence is not None
        assert 0 < final.confidence <= 1
        assert all(word.confidence is not None for word in final.words)
        ends = [0]
        for word in final.words:
            assert ends[-1] <= word.start < word.end
            ends.append(word.end)
        assert 0.35 < final.words[0].start / 16_000 < 0.6, "speech begins at 0.46 s"
        assert 2.0 < final.words[-1].end / 16_000 < 2.4, "and ends at 2.21 s"
        assert (final.start, final.end) == (final.words[0].start, ends[-1])

        for name, text in (
            ("ps-cards-001", "ten of clubs"),
            ("sb-spk1-snt6", "the pencils have all been used"),
            ("g-df-today", "today"),
            ("ps-something", "go somewhere and do something"),
        ):
            assert (await transcribe(provider, pcm_of(name))).text == text


@needs_data
async def test_partials_grow_into_the_final() -> None:
    pcm = pcm_of("ps-something")
    async with using(
        pocketsphinx.build("ps", Options(phrases=("go somewhere and do something",)))
    ) as provider:
        client = Client(provider)
        await client.connect()
        await client.speak(pcm[: 2 * SECOND])
        from stt_edge.providers.base import Partial

        await client.until(Partial)
        partial = client.partials[-1]
        assert "go somewhere and do something".startswith(partial.text)
        assert partial.end is not None
        assert partial.end <= SECOND
        client.transport.abort()


@needs_data
async def test_phrases_turn_it_into_a_command_recogniser(tmp_path: Path) -> None:
    clips = [
        row
        for row in manifest()
        if row.get("lang") == "en"
        and row["kind"] == "speech"
        and row["reference_confidence"] in ("publisher", "derived")
        and row["seconds"] <= 4
        and 0 < len(row["reference_norm"].split()) <= 8
    ]
    assert len(clips) >= 40
    extra = tmp_path / "words"
    extra.write_text("mycroft M AY K R AO F T\n")
    phrases = tuple(sorted({row["reference_norm"] for row in clips}))
    options = Options(phrases=phrases, extra_words=str(extra))
    assert list(options.problems()) == []
    right = 0
    async with using(pocketsphinx.build("ps", options)) as provider:
        for row in clips:
            client = await transcribe(provider, pcm_of(row["id"]))
            right += words_of(client.text) == words_of(row["reference_norm"])
    assert right >= len(clips) - 3, f"{right} of {len(clips)}"
