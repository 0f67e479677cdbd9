"""sherpa-onnx: the real package in a real worker, with a model of four tones; and with none."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stt_edge.config.schema import problems_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import PartTimes, Provider
from stt_edge.providers.sherpa import _KINDS, Options
from stt_edge.providers.worker.engine import Heard
from stt_edge.providers.worker.sherpa import SherpaEngine
from tests.fakes import tone_model
from tests.providers.client import Client, transcribe, using

sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="the package sherpa-onnx is not installed")

SPOKEN = [2, 3, 0, 1]
SPEECH = tone_model.say(SPOKEN)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """The directory of a real, tiny model."""
    place = tmp_path / "nemo-tones"
    tone_model.write_model(place)
    return place


def directory(tmp_path: Path, *names: str) -> Path:
    """A directory with empty files of these names, and tokens."""
    place = tmp_path / "model"
    place.mkdir()
    for name in ("tokens.txt", *names):
        (place / name).touch()
    return place


def problem(**options: Any) -> str:
    ((key, message),) = problems_of(Options(**options))
    return f"{key}: {message}"


def settings_of(provider: Provider) -> dict[str, Any]:
    host: Any = provider.make_transport()._host  # type: ignore[attr-defined]
    settings: dict[str, Any] = json.loads(host._settings)
    return settings


def files_of(options: Options) -> list[str]:
    arguments = settings_of(registry.build("s", "sherpa", options))["arguments"]
    return [Path(value).name for value in arguments.values() if isinstance(value, str)]


# A real model in a real worker


async def test_a_real_model_understands_and_tells_the_times(tones: Path) -> None:
    async with using(registry.build("s", "sherpa", Options(model=str(tones)))) as provider:
        client = await transcribe(provider, SPEECH)
    (final,) = client.finals
    assert final.text == "góðan lamp on"
    assert (final.model, final.confidence) == ("nemo-tones", None)
    spoken_ms = [(100, 700), (700, 1000), (1000, 1300)]
    for word, (start_ms, end_ms) in zip(final.words, spoken_ms, strict=True):
        assert start_ms * 16 <= word.start < word.end <= end_ms * 16


async def test_every_utterance_begins_anew_and_nothing_of_the_one_before_is_left(
    tones: Path,
) -> None:
    async with using(registry.build("s", "sherpa", Options(model=str(tones)))) as provider:
        client = Client(provider)
        await client.connect()
        assert await client.utterance(SPEECH) == "góðan lamp on"
        assert await client.utterance(tone_model.say([0])) == "lamp"
        assert client.finals[1].start == client.finals[1].words[0].start < 16 * 300
        assert await client.utterance(bytes(32_000)) == ""
        await client.goodbye()


def test_a_real_model_tells_what_it_has_understood_so_far(tones: Path) -> None:
    made = real_engine(tones)
    made.begin()
    assert made.partial() is None
    made.feed(SPEECH[: 32 * 850])
    so_far = made.partial()
    assert so_far is not None
    assert so_far.text == "góðan lamp"


def test_the_end_of_an_utterance_is_understood_though_no_silence_follows(tones: Path) -> None:
    spoken = SPEECH[: 32 * 1035]  # in the midst of a step of 80 ms, the first of the last tone
    made = real_engine(tones)
    made.begin()
    for at in range(0, len(spoken), 3200):
        made.feed(spoken[at : at + 3200])
    heard = made.finish()
    assert heard is not None
    assert heard.text == "góðan lamp on"
    assert heard.words[-1].end <= len(spoken) // 2


def real_engine(place: Path) -> SherpaEngine:
    return SherpaEngine(settings_of(registry.build("s", "sherpa", Options(model=str(place)))))


async def connect_failure(options: Options) -> ProviderError:
    async with using(registry.build("mine", "sherpa", options)) as provider:
        client = Client(provider)
        with pytest.raises(ProviderError) as caught:
            await client.connect()
        await client.transport.close()
    return caught.value


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("encoder.onnx", "decoder.onnx", "joiner.onnx"), "sherpa-onnx cannot use the model"),
        (("encoder.onnx", "decoder.onnx"), "sherpa-onnx cannot use the model"),
        (("model.onnx",), "sherpa-onnx cannot use the model"),
    ],
    ids=["transducer", "paraformer", "ctc"],
)
async def test_files_that_are_no_onnx_are_told_as_such(
    names: Sequence[str], said: str, tmp_path: Path
) -> None:
    failure = await connect_failure(Options(model=str(directory(tmp_path, *names))))
    assert failure.kind is FailureKind.SETUP
    assert said in str(failure)
    assert "streaming model" in failure.remedy


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("encoder.onnx", "decoder.onnx", "joiner.onnx"), "crashed while it loaded the model"),
        (("encoder.onnx", "decoder.onnx"), "does not exist in the metadata"),
        (("model.onnx",), "does not exist in the metadata"),
    ],
    ids=["transducer", "paraformer", "ctc"],
)
async def test_a_model_of_something_else_ends_the_worker_and_the_reason_is_told(
    names: Sequence[str], said: str, tmp_path: Path
) -> None:
    place = directory(tmp_path, *names)
    (place / "tokens.txt").write_text("a 0\n")
    for name in names:
        tone_model.write_other(place / name)
    failure = await connect_failure(Options(model=str(place)))
    assert failure.kind is FailureKind.SETUP
    assert said in str(failure)


# Words of tokens


@dataclass
class FakeResult:
    text: str
    tokens: list[str]
    timestamps: list[float]
    ys_probs: list[float] = field(default_factory=list)


class FakeStream:
    def __init__(self) -> None:
        self.samples = 0
        self.over = False

    def accept_waveform(self, sample_rate: float, waveform: Sequence[float]) -> None:
        assert not self.over
        assert sample_rate == 16_000
        assert all(-1 <= sample <= 1 for sample in waveform)
        self.samples += len(waveform)

    def input_finished(self) -> None:
        self.over = True


class FakeRecognizer:
    """Decodes in steps of 100 ms and has understood what it is told it has."""

    def __init__(self, result: FakeResult) -> None:
        self.result = result
        self.decoded = 0

    def create_stream(self, hotwords: str | None = None) -> FakeStream:
        return FakeStream()

    def is_ready(self, s: FakeStream) -> bool:
        return s.samples - self.decoded >= 1600

    def decode_stream(self, s: FakeStream) -> None:
        self.decoded += 1600

    def get_result_all(self, s: FakeStream) -> FakeResult:
        return self.result


def heard(monkeypatch: pytest.MonkeyPatch, result: FakeResult) -> Heard | None:
    """What the engine makes of a result, after a second of audio."""
    factory = SimpleNamespace(from_fake=lambda: FakeRecognizer(result))
    monkeypatch.setattr(sherpa_onnx, "OnlineRecognizer", factory)
    made = SherpaEngine({"model": "m", "factory": "from_fake", "arguments": {}})
    made.begin()
    made.feed(bytes(32_000))
    return made.finish()


def test_the_fake_has_the_shape_of_the_real_package() -> None:
    for name in ("create_stream", "is_ready", "decode_stream", "get_result_all"):
        real = inspect.signature(getattr(sherpa_onnx.OnlineRecognizer, name))
        assert list(inspect.signature(getattr(FakeRecognizer, name)).parameters) == list(
            real.parameters
        ), name
    from sherpa_onnx.lib import _sherpa_onnx as library

    assert {"text", "tokens", "timestamps", "ys_probs"} <= set(dir(library.OnlineRecognizerResult))
    said = sherpa_onnx.OnlineStream.accept_waveform.__doc__
    assert "sample_rate" in said
    assert "waveform" in said


@pytest.mark.parametrize("kind", _KINDS)
def test_every_kind_is_made_by_a_method_that_takes_its_arguments(kind: str, tmp_path: Path) -> None:
    place = directory(tmp_path, *[f"{part}.onnx" for part in _KINDS[kind]])
    built = registry.build("s", "sherpa", Options(model=str(place), kind_of_model=kind))
    settings = settings_of(built)
    make = getattr(sherpa_onnx.OnlineRecognizer, settings["factory"])
    inspect.signature(make).bind(**settings["arguments"])
    assert not inspect.signature(make).parameters["enable_endpoint_detection"].default


def test_words_are_put_together_of_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    result = FakeResult(
        " HELLO WORLD", [" HE", "LLO", " WOR", "LD"], [0.1, 0.2, 0.5, 0.6], [-0.1, -0.1, -0.5, -1]
    )
    found = heard(monkeypatch, result)
    assert found is not None
    assert found.text == "HELLO WORLD"
    first, second = found.words
    assert (first.start, first.end) == (1600, 3200 + 4000)
    assert (second.start, second.end) == (8000, 9600 + 4000)
    assert first.confidence == pytest.approx(0.905, abs=0.001)
    assert second.confidence == pytest.approx(0.497, abs=0.001)
    assert found.confidence == pytest.approx((0.905 * 0.497) ** 0.5, abs=0.001)


@pytest.mark.parametrize(
    ("text", "tokens", "starts"),
    [
        ("昨天 是 monday", ["昨", "天", "是", "mon@@", "day"], [1600, 4800, 6400]),
        ("สวัสดีครับ", ["สวัส", "ดี", "ครับ"], [1600]),
        ("góðan dag", ["▁GÓ", "ÐAN", "▁DAG"], [1600, 4800]),
    ],
)
def test_text_of_any_script_is_kept_as_it_is(
    text: str, tokens: list[str], starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0.1 * (at + 1) for at in range(len(tokens))]
    found = heard(monkeypatch, FakeResult(text, tokens, times))
    assert found is not None
    assert found.text == text
    assert [word.start for word in found.words] == starts


def test_text_that_was_rewritten_has_the_time_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = heard(monkeypatch, FakeResult("call 112", ["▁call", "▁one", "▁one"], [0.1, 0.2, 0.3]))
    assert found is not None
    assert [(word.start, word.end) for word in found.words] == [(1600, 8800)] * 2


@pytest.mark.parametrize("times", [[], [0.1], [5.0, 9.0]])
def test_times_that_are_missing_or_behind_the_end_stay_within_the_audio(
    times: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = heard(monkeypatch, FakeResult("a b", ["▁a", "▁b"], times))
    assert found is not None
    assert all(0 <= word.start <= word.end <= 16_000 for word in found.words)


def test_nothing_understood_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(monkeypatch, FakeResult("", [], [])) is None


# The options


def test_a_model_is_needed_and_the_message_says_where_from() -> None:
    assert "https://k2-fsa.github.io/sherpa" in problem()


def test_a_directory_that_is_no_model_says_what_is_missing(tmp_path: Path) -> None:
    place = directory(tmp_path)
    assert "does not exist" in problem(model=str(tmp_path / "gone"))
    assert f"holds no model itself; name {place}" in problem(model=str(tmp_path))
    assert "is no zipformer2-ctc model: it has no model*.onnx" in problem(model=str(place))
    (place / "encoder.onnx").touch()
    (place / "joiner.onnx").touch()
    assert "is no transducer model: it has no decoder*.onnx" in problem(model=str(place))
    assert "is no paraformer" in problem(model=str(place), kind_of_model="paraformer")
    (place / "tokens.txt").unlink()
    assert "it has no tokens.txt" in problem(model=str(place))


@pytest.mark.parametrize(
    ("name", "files", "factory"),
    [
        ("zipformer-en", ("encoder.onnx", "decoder.onnx", "joiner.onnx"), "from_transducer"),
        ("paraformer-zh", ("encoder.onnx", "decoder.onnx"), "from_paraformer"),
        ("zipformer-ctc-zh", ("model.onnx",), "from_zipformer2_ctc"),
        ("zipformer-ctc-zh", ("ctc-epoch-20.onnx",), "from_zipformer2_ctc"),
        ("nemo-streaming-80ms", ("model.onnx",), "from_nemo_ctc"),
        ("streaming-t-one-ru", ("model.onnx",), "from_t_one_ctc"),
        ("wenet-streaming", ("model-streaming.onnx",), "from_wenet_ctc"),
    ],
)
def test_the_kind_follows_from_the_files_and_the_name(
    name: str, files: Sequence[str], factory: str, tmp_path: Path
) -> None:
    place = directory(tmp_path, *files).rename(tmp_path / name)
    settings = settings_of(registry.build("s", "sherpa", Options(model=str(place))))
    assert (settings["factory"], settings["model"]) == (factory, name)


def test_of_two_variants_the_small_one_is_used_unless_told_otherwise(tmp_path: Path) -> None:
    parts = ("encoder", "decoder", "joiner")
    both = [f"{part}-epoch-99{mark}.onnx" for part in parts for mark in ("", ".int8")]
    place = str(directory(tmp_path, *both))
    assert files_of(Options(model=place)) == [
        "tokens.txt",
        "encoder-epoch-99.int8.onnx",
        "decoder-epoch-99.onnx",
        "joiner-epoch-99.int8.onnx",
    ]
    assert not any("int8" in name for name in files_of(Options(model=place, int8=False)))
    (Path(place) / "joiner-epoch-12.int8.onnx").touch()
    assert "has several: joiner-epoch-12.int8.onnx, joiner-epoch-99" in problem(model=place)


def test_hotwords_are_for_transducers_and_need_the_vocabulary(tmp_path: Path) -> None:
    place = directory(tmp_path, "encoder.onnx", "decoder.onnx", "joiner.onnx")
    hotwords = tmp_path / "hotwords.txt"
    options: dict[str, Any] = {"model": str(place), "hotwords_file": str(hotwords)}
    assert "is no file" in problem(**options)
    hotwords.write_text("GÓÐAN DAG\n")
    assert "has no bpe.vocab" in problem(**options)
    (place / "bpe.vocab").touch()
    built = registry.build("s", "sherpa", Options(**options))
    arguments = settings_of(built)["arguments"]
    assert arguments["decoding_method"] == "modified_beam_search"
    inspect.signature(sherpa_onnx.OnlineRecognizer.from_transducer).bind(**arguments)
    (place / "joiner.onnx").unlink()
    assert "a paraformer model takes no hotwords" in problem(**options)


def test_the_capabilities_follow_from_the_kind(tones: Path, tmp_path: Path) -> None:
    of_tones = registry.build("s", "sherpa", Options(model=str(tones))).capabilities
    assert of_tones.local
    assert of_tones.part_times is PartTimes.WORDS
    assert not of_tones.confidence
    place = directory(tmp_path, "encoder.onnx", "decoder.onnx", "joiner.onnx")
    assert registry.build("s", "sherpa", Options(model=str(place))).capabilities.confidence
