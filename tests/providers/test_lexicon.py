from __future__ import annotations

from pathlib import Path

import pytest

from stt_edge.providers.lexicon import LexiconError, Pronunciation, look_up, plain, read_words

DICTIONARY = "a AH\na(2) EY\nlamp L AE M P\nthe DH AH\nthe(2) DH IY\n"


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "some.dict"
    path.write_text(DICTIONARY)
    return path


def test_a_word_is_found_in_every_way_it_is_said_whatever_its_case(dictionary: Path) -> None:
    found = look_up(dictionary, {"The", "lamp", "mycroft"})
    assert found == {
        "The": [Pronunciation("the", "DH AH"), Pronunciation("the(2)", "DH IY")],
        "lamp": [Pronunciation("lamp", "L AE M P")],
    }


def test_extra_words_are_looked_up_with_the_dictionarys_own(dictionary: Path) -> None:
    extra = [Pronunciation("mycroft", "M AY K R AO F T"), Pronunciation("a(3)", "AE")]
    found = look_up(dictionary, {"Mycroft", "a"}, extra)
    assert [way.phones for way in found["Mycroft"]] == ["M AY K R AO F T"]
    assert sorted(way.phones for way in found["a"]) == ["AE", "AH", "EY"]


def test_a_file_of_words_is_read_without_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("# mine\n\nMycroft\tM AY K R AO F T\n;; more\nathena  AH TH IY N AH \n")
    assert read_words(path) == (
        Pronunciation("mycroft", "M AY K R AO F T"),
        Pronunciation("athena", "AH TH IY N AH"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ok OW K EY\nmycroft\n", "line 2: expected a word and its phones"),
        (b"caf\xe9 K AE F EY\n", "line 1: this is no UTF-8"),
        (b"x " + b"AH " * 200 + b"\n", "line 1: expected"),
        (b"x AH\n" * 300_000, "more than 1 MB"),
    ],
)
def test_a_bad_file_of_words_is_refused_with_the_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "words"
    path.write_bytes(content)
    with pytest.raises(LexiconError, match=message):
        read_words(path)


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("a(2)", "a"),
        ("a(12)", "a"),
        ("a", "a"),
        ("(NULL)", "(NULL)"),
        ("a(b)", "a(b)"),
        ("()", "()"),
    ],
)
def test_the_mark_of_another_pronunciation_is_no_part_of_a_word(entry: str, word: str) -> None:
    assert plain(entry) == word
