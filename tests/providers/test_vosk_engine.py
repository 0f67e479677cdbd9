"""Vosk: the real package in a real worker as far as it goes without a model; decoding with a fake.

The fake has the shape of the real thing, which a test compares, and understands ``say``.
"""

# ruff: noqa: N802  the names are Vosk's

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stt_edge.config.schema import problems_of
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import registry
from stt_edge.providers.base import PartTimes
from stt_edge.providers.transports.worker import WorkerHost
from stt_edge.providers.vosk import Options
from stt_edge.providers.worker.engine import EngineError, Heard
from stt_edge.providers.worker.vosk import VoskEngine
from tests.providers.client import Client, using
from tests.simulators.speech import ICELANDIC, SpokenWord, SyntheticRecogniser, say, text_of

PARTS = ("am/final.mdl", "conf/mfcc.conf", "conf/model.conf", "graph/HCLr.fst", "graph/Gr.fst")
CHUNK = 3200
WORDS = [0, 1, 2, 4]
SPEECH = say(WORDS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that looks like a small model."""
    place = tmp_path / "vosk-model-small-is"
    for part in PARTS:
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        (place / part).touch()
    return place


# A recogniser like Vosk's


class FakeModel:
    def __init__(
        self, model_path: str | None = None, model_name: Any = None, lang: Any = None
    ) -> None:
        if model_path is None or "broken" in model_path:
            raise Exception("Failed to create a model")  # noqa: TRY002  as Vosk does


class FakeRecognizer:
    def __init__(self, *args: Any) -> None:
        _, rate, *grammar = args
        assert rate == 16000
        self.grammar = json.loads(grammar[0]) if grammar else None
        if grammar:
            assert "\\u" not in grammar[0]
        self.heard = SyntheticRecogniser(ICELANDIC)
        self.told = self.emptied = 0
        self.with_words = self.with_partial_words = False

    def SetWords(self, enable_words: bool) -> None:
        self.with_words = enable_words

    def SetPartialWords(self, enable_partial_words: bool) -> None:
        self.with_partial_words = enable_partial_words

    def AcceptWaveform(self, data: bytes) -> int:
        assert len(data) % 2 == 0
        self.heard.feed(data)
        return int(data.endswith(bytes(CHUNK)))  # a pause

    def Result(self) -> str:
        self.emptied += 1
        return self._told(self.heard.words())

    def FinalResult(self) -> str:
        return self._told(self.heard.finish())

    def PartialResult(self) -> str:
        words = self.heard.words()[self.told :]
        body: dict[str, Any] = {"partial": self._text(words)}
        if words and self.with_partial_words:
            body["partial_result"] = [self._item(word) for word in words]
        return json.dumps(body)

    def _told(self, words: Sequence[SpokenWord]) -> str:
        new = words[self.told :]
        self.told = len(words)
        body: dict[str, Any] = {"text": self._text(new)}
        if new and self.with_words:
            body["result"] = [self._item(word) for word in new]
        return json.dumps(body)

    def _item(self, word: SpokenWord) -> dict[str, Any]:
        start, end = word.start / 16000, word.end / 16000
        return {"conf": 1.000001, "start": start, "end": end, "word": self._known(word.text)}

    def _text(self, words: Sequence[SpokenWord]) -> str:
        return " ".join(self._known(word.text) for word in words)

    def _known(self, word: str) -> str:
        listed = self.grammar is None or any(word in phrase.split() for phrase in self.grammar)
        return word if listed else "[unk]"


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        Model=FakeModel, KaldiRecognizer=FakeRecognizer, SetLogLevel=lambda level: None
    )
    monkeypatch.setitem(sys.modules, "vosk", fake)


def test_the_fake_has_the_shape_of_the_real_package() -> None:
    vosk = pytest.importorskip("vosk", reason="the package vosk is not installed")
    for fake, real in ((FakeModel, vosk.Model), (FakeRecognizer, vosk.KaldiRecognizer)):
        own = [name for name in vars(fake) if name[0].isupper() or name == "__init__"]
        for name in own:
            parameters = [
                list(inspect.signature(getattr(kind, name)).parameters) for kind in (fake, real)
            ]
            assert parameters[0] == parameters[1], name
    assert list(inspect.signature(vosk.SetLogLevel).parameters) == ["level"]
    with pytest.raises(Exception, match="Failed to create a model") as caught:
        vosk.Model("/nowhere")
    assert type(caught.value) is Exception


def engine(phrases: list[str] | None = None, directory: str = "/m") -> VoskEngine:
    return VoskEngine({"model": "small", "directory": directory, "phrases": phrases})


def feed(made: VoskEngine, pcm: bytes) -> None:
    for at in range(0, len(pcm), CHUNK):
        made.feed(pcm[at : at + CHUNK])


def heard(made: VoskEngine, pcm: bytes) -> Heard | None:
    made.begin()
    feed(made, pcm)
    return made.finish()


@pytest.mark.usefixtures("fake_package")
def test_an_utterance_has_its_words_with_times_and_confidence() -> None:
    result = heard(engine(), SPEECH)
    assert result is not None
    assert result.text == text_of(WORDS, ICELANDIC)
    assert [word.start for word in result.words] == [800 + 4800 * at for at in range(4)]
    assert result.words[0].end == 4800
    assert result.words[0].confidence == 1.0
    assert result.confidence == pytest.approx(1.0)


@pytest.mark.usefixtures("fake_package")
def test_what_is_understood_so_far_is_there_before_the_end() -> None:
    made = engine()
    made.begin()
    assert made.partial() is None
    feed(made, SPEECH[:24_000])
    partial = made.partial()
    assert partial is not None
    assert partial.text == text_of(WORDS[:2], ICELANDIC)
    assert partial.words[1].start == 5600


@pytest.mark.usefixtures("fake_package")
def test_the_same_audio_gives_the_same_text_whatever_was_heard_before() -> None:
    made = engine()
    first = heard(made, SPEECH)
    made.begin()
    feed(made, say([7, 8]))
    assert heard(made, SPEECH) == first


@pytest.mark.usefixtures("fake_package")
def test_silence_is_nothing() -> None:
    assert heard(engine(), bytes(32_000)) is None


@pytest.mark.usefixtures("fake_package")
def test_a_long_utterance_is_emptied_at_a_pause_and_loses_nothing() -> None:
    pause = bytes(2 * CHUNK)
    pcm = SPEECH + pause + bytes(61 * 32_000) + SPEECH + pause
    made = engine()
    result = heard(made, pcm)
    assert result is not None
    assert result.text == " ".join([text_of(WORDS, ICELANDIC)] * 2)
    assert result.words[4].start == len(pcm[: -len(SPEECH + pause)]) // 2 + 800
    assert made._recogniser.emptied == 1


@pytest.mark.usefixtures("fake_package")
def test_phrases_are_all_that_is_understood() -> None:
    made = engine(["góðan dag"])
    assert made._recogniser.grammar == ["góðan dag", "[unk]"]
    result = heard(made, SPEECH)
    assert result is not None
    assert result.text == "góðan dag"
    assert heard(made, say([4, 5])) is None


@pytest.mark.usefixtures("fake_package")
def test_a_model_that_cannot_be_loaded_is_an_error_of_the_setup() -> None:
    with pytest.raises(EngineError, match="vosk cannot use the model small: Failed to") as caught:
        engine(directory="/broken")
    assert caught.value.kind is FailureKind.SETUP
    assert "log" in caught.value.remedy


# The options


def test_a_model_is_needed_and_the_message_says_where_from() -> None:
    ((key, message),) = problems_of(Options())
    assert key == "model"
    assert "https://alphacephei.com/vosk/models" in message


def test_a_directory_that_is_no_model_says_what_is_missing(model: Path, tmp_path: Path) -> None:
    assert list(problems_of(Options(model=str(model)))) == []
    said = {
        str(tmp_path / "gone"): "does not exist; get one from",
        str(model / PARTS[0]): "is no directory",
        str(tmp_path): f"holds no model itself; name {model}",
        str(model / "conf"): "is no Vosk model: it has no am/final.mdl",
    }
    for directory, expected in said.items():
        ((key, message),) = problems_of(Options(model=directory))
        assert key == "model"
        assert expected in message
    (model / "graph" / "Gr.fst").unlink()
    ((_, message),) = problems_of(Options(model=str(model)))
    assert "it lacks its graph, graph/HCLG.fst or graph/HCLr.fst and graph/Gr.fst" in message


def test_a_model_of_the_old_layout_is_one_too(tmp_path: Path) -> None:
    for name in ("final.mdl", "mfcc.conf", "HCLG.fst"):
        (tmp_path / name).touch()
    assert list(problems_of(Options(model=str(tmp_path)))) == []


def test_phrases_need_a_graph_that_can_be_cut_down(model: Path) -> None:
    assert list(problems_of(Options(model=str(model), phrases=("lamp on",)))) == []
    assert [key for key, _ in problems_of(Options(model=str(model), phrases=()))] == ["phrases"]
    (model / "graph" / "Gr.fst").unlink()
    (model / "graph" / "HCLG.fst").touch()
    ((key, message),) = problems_of(Options(model=str(model), phrases=("lamp on",)))
    assert (key, "cannot be limited to phrases" in message) == ("phrases", True)


def test_the_provider_is_local_and_tells_times(model: Path) -> None:
    pytest.importorskip("vosk", reason="the package vosk is not installed")
    provider = registry.build("v", "vosk", Options(model=str(model), language="is"))
    assert (provider.model, provider.language) == ("vosk-model-small-is", "is")
    capabilities = provider.capabilities
    assert capabilities.local
    assert capabilities.part_times is PartTimes.WORDS
    assert capabilities.finalize
    assert capabilities.max_connections == 1
    assert provider.warm is not None


# The real package in a real worker


async def connect_failure(kind: str, options: Any) -> ProviderError:
    async with using(registry.build("mine", kind, options)) as provider:
        client = Client(provider)
        with pytest.raises(ProviderError) as caught:
            await client.connect()
        await client.transport.close()
    return caught.value


async def test_a_model_the_real_package_cannot_read_is_told_as_such(model: Path) -> None:
    pytest.importorskip("vosk", reason="the package vosk is not installed")
    failure = await connect_failure("vosk", Options(model=str(model)))
    assert failure.kind is FailureKind.SETUP
    assert "vosk cannot use the model vosk-model-small-is" in str(failure)


def test_a_directory_that_went_missing_is_an_error_of_the_setup(tmp_path: Path) -> None:
    pytest.importorskip("vosk", reason="the package vosk is not installed")
    with pytest.raises(ProviderError, match=r"mine: model: .*gone does not exist") as caught:
        registry.build("mine", "vosk", Options(model=str(tmp_path / "gone")))
    assert caught.value.kind is FailureKind.SETUP


@pytest.mark.parametrize("signal", ["SIGABRT", "SIGSEGV", "SIGILL"])
async def test_a_worker_that_crashes_while_it_loads_blames_the_model(signal: str) -> None:
    crash = f"import os, signal, sys; print('bad mdl', file=sys.stderr); sys.stderr.flush();\
 os.kill(os.getpid(), signal.{signal})"
    host = WorkerHost("mine", (sys.executable, "-c", crash), "{}", idle_unload_s=1)
    transport = host.transport()
    await transport.connect()
    with pytest.raises(
        ProviderError, match=f"crashed while it loaded .*{signal}.*bad mdl"
    ) as caught:
        await transport.receive()
    assert caught.value.kind is FailureKind.SETUP
    assert caught.value.remedy
    await transport.close()
    await host.aclose()


def run(script: str) -> str:
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("package", ["vosk", "sherpa_onnx"])
def test_a_missing_package_is_named_with_the_command_that_brings_it(package: str) -> None:
    kind = package.removesuffix("_onnx")
    said = run(
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from stt_edge.errors import ProviderError\n"
        "from stt_edge.providers import registry\n"
        f"try: registry.build('mine', {kind!r}, None)\n"
        "except ProviderError as error: print(error.kind, error)"
    )
    assert said.startswith(f"setup The provider mine needs the package {package}")
    assert f'pip install "stt-edge[{kind}]"' in said


@pytest.mark.parametrize("engine", ["vosk", "sherpa"])
def test_a_worker_loads_nothing_that_only_main_needs(engine: str) -> None:
    loaded = run(
        f"import sys, stt_edge.providers.worker.main, stt_edge.providers.worker.{engine}\n"
        "print(*sys.modules)"
    ).split()
    unwanted = {"asyncio", "ssl", "logging", "yaml", "websockets", "numpy", "vosk", "sherpa_onnx"}
    unwanted |= {"stt_edge.providers.base", "stt_edge.config", "sqlite3", "http"}
    assert unwanted & set(loaded) == set()
