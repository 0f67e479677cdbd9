from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import pocketsphinx
from stt_edge.providers.base import PartTimes, Provider
from stt_edge.providers.pocketsphinx import Options
from stt_edge.providers.sphinx_files import package_directory

pytest.importorskip("pocketsphinx")

GRAMMAR = "#JSGF V1.0;\ngrammar g;\npublic <a> = turn (on | off);\n"


def problems(**options: Any) -> list[tuple[str, str]]:
    return list(Options(**options).problems())


def settings_of(provider: Provider) -> dict[str, Any]:
    host: Any = provider.make_transport()._host  # type: ignore[attr-defined]
    settings: dict[str, Any] = json.loads(host._settings)
    return settings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that looks like a model."""
    hmm = tmp_path / "nl" / "nl-ptm"
    hmm.mkdir(parents=True)
    for name in ("mdef", "means", "variances", "transition_matrices"):
        (hmm / name).touch()
    (tmp_path / "nl" / "nl.dict").write_text("aan A N\nlamp L A M P\n")
    (tmp_path / "nl" / "nl.lm.bin").touch()
    (tmp_path / "nl" / "nl-phone.lm.bin").touch()
    return tmp_path / "nl"


def test_the_defaults_are_free_speech_with_the_packages_own_model() -> None:
    assert problems() == []
    provider = pocketsphinx.build("p", Options())
    assert (provider.model, provider.language) == ("en-us", "en")
    capabilities = provider.capabilities
    assert capabilities.local
    assert capabilities.max_connections == 1
    assert capabilities.ready_message
    assert capabilities.finalize
    assert capabilities.confidence
    assert capabilities.part_times is PartTimes.WORDS


def test_phrases_have_no_confidence_worth_the_name() -> None:
    provider = pocketsphinx.build("p", Options(phrases=("turn on the lamp",)))
    assert not provider.capabilities.confidence


def test_good_phrases_and_grammars_have_no_problems(tmp_path: Path) -> None:
    path = tmp_path / "lights.jsgf"
    path.write_text("\ufeff" + GRAMMAR)
    assert problems(phrases=("Turn on the lamp!", "what's the time?")) == []
    assert problems(grammar=str(path)) == []


def test_words_that_are_in_no_dictionary_are_named_with_the_remedy() -> None:
    ((key, message),) = problems(phrases=("hey Mycroft", "call 112", "turn on"))
    assert key == "phrases"
    assert message.startswith("not in the dictionary: 112, Mycroft; write them as words")
    assert "extra_words" in message
    ((_, message),) = problems(phrases=tuple(f"x{n}x" for n in range(30)))
    assert "and 22 more" in message


def test_an_extra_word_is_as_good_as_one_of_the_dictionary(tmp_path: Path) -> None:
    extra = tmp_path / "words"
    extra.write_text("mycroft M AY K R AO F T\n")
    assert problems(phrases=("hey Mycroft",), extra_words=str(extra)) == []
    extra.write_text("mycroft\n")
    ((key, message),) = problems(phrases=("hey Mycroft",), extra_words=str(extra))
    assert (key, "line 1" in message) == ("extra_words", True)
    ((key, message),) = problems(extra_words=str(tmp_path / "gone"))
    assert (key, "No such file" in message) == ("extra_words", True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"public <a> = b;", "line 1: a grammar begins with #JSGF"),
        (GRAMMAR.replace(")", "]").encode(), "line 3: expected ), got ]"),
        (GRAMMAR.replace("off", "offf").encode(), "not in the dictionary: offf"),
        (b"\xff" + GRAMMAR.encode(), "is no UTF-8 text"),
        (b"x" * (2 << 20), "larger than 1 MB"),
    ],
)
def test_a_bad_grammar_is_reported_before_anything_starts(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "g.jsgf"
    if content is not None:
        path.write_bytes(content)
    ((key, said),) = problems(grammar=str(path))
    assert key == "grammar"
    assert message in said


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"phrases": ("a",), "grammar": "g"}, "grammar"),
        ({"phrases": ("a",), "lm": "l"}, "lm"),
        ({"phrases": ()}, "phrases"),
        ({"phrases": ("go", " .,")}, "phrases"),
        ({"model": "/nowhere"}, "model"),
        ({"hmm": "/nowhere"}, "hmm"),
        ({"lm": "/nowhere"}, "lm"),
        ({"dict": "/nowhere"}, "dict"),
    ],
)
def test_options_that_cannot_be_are_reported_at_their_key(
    options: dict[str, Any], key: str
) -> None:
    assert [where for where, _ in problems(**options)] == [key]


def test_a_model_is_found_in_its_directory(model: Path) -> None:
    assert problems(model=str(model)) == []
    settings = settings_of(pocketsphinx.build("p", Options(model=str(model), language="nl")))
    assert settings["model"] == "nl"
    assert settings["hmm"] == str(model / "nl-ptm")
    assert settings["dict"] == str(model / "nl.dict")
    assert settings["lm"] == str(model / "nl.lm.bin")
    assert problems(model=str(model), phrases=("lamp aan",)) == []
    assert problems(model=str(model), phrases=("lamp on",)) != []


def test_a_directory_that_leaves_a_choice_asks_for_it(model: Path) -> None:
    (model / "small.dict").touch()
    ((key, message),) = problems(model=str(model))
    assert key == "model"
    assert "nl.dict, small.dict; name one by dict" in message
    assert problems(model=str(model), dict=str(model / "nl.dict")) == []


def test_a_directory_without_a_model_says_what_is_missing(model: Path) -> None:
    (model / "nl-ptm" / "means").unlink()
    ((_, message),) = problems(model=str(model))
    assert "no acoustic model: it has no means" in message
    (model / "nl-ptm" / "mdef").unlink()
    ((_, message),) = problems(model=str(model))
    assert "has no acoustic model" in message


def test_without_a_language_model_only_phrases_can_be_understood(model: Path) -> None:
    (model / "nl.lm.bin").unlink()
    assert "has no language model" in problems(model=str(model))[0][1]
    assert problems(model=str(model), phrases=("lamp aan",)) == []


def test_what_went_missing_after_the_check_is_an_error_of_the_setup(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"home: grammar: .* No such file") as caught:
        pocketsphinx.build("home", Options(grammar=str(tmp_path / "gone.jsgf")))
    assert caught.value.kind is FailureKind.SETUP


def test_the_package_is_found_without_being_loaded() -> None:
    directory = package_directory()
    assert directory is not None
    assert (directory / "model" / "en-us" / "cmudict-en-us.dict").is_file()
