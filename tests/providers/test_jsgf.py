from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.providers import jsgf

GRAMMAR = """#JSGF V1.0 UTF-8 en;
// lights
grammar home;

/* any
   of them */
public <light> = please [turn] /2.5/ (on {yes} | off) <which> lamp+ ;
<which> = the | my /0.3/ own* {own \\} one} | <NULL>;
public <stop> = stop;
"""


def test_a_grammar_tells_its_name_its_words_and_its_public_rules() -> None:
    grammar = jsgf.parse(GRAMMAR)
    assert grammar.name == "home"
    assert grammar.words == {"please", "turn", "on", "off", "lamp", "the", "my", "own", "stop"}
    assert grammar.public == ("light", "stop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a grammar begins with #JSGF"),
        ("<a> = b;", "line 1: a grammar begins with #JSGF"),
        ("#JSGF V1.0;\n", "ends in the middle"),
        ("#JSGF V1.0;\npublic <a> = b;", "line 2: expected grammar, got public"),
        ("#JSGF V1.0;\ngrammar g;\n", "no rule is public"),
        ("#JSGF V1.0;\ngrammar g;\n<a> = b;", "no rule is public"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = b", "is a ; missing"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = (b;", "line 3: expected ), got ;"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = [b);", "line 3: expected ], got )"),
        ("#JSGF V1.0;\ngrammar g;\n\npublic <a> = b |;", "line 4: expected a word"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = ;", "line 3: expected a word"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = <b>;", "line 3: the rule <b> is not defined"),
        (
            "#JSGF V1.0;\ngrammar g;\npublic <a> = b;\n<a> = c;",
            "line 4: the rule <a> is defined twice",
        ),
        ("#JSGF V1.0;\ngrammar g;\nimport <x.y>;", "line 3: import is not supported"),
        (
            '#JSGF V1.0;\ngrammar g;\npublic <a> = "b";',
            "line 3: '\"' is not understood here; write words without quotes",
        ),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = {tag};", "line 3: expected a word"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = b {tag;", "line 3: '{' is not understood"),
        ("#JSGF V1.0;\ngrammar g;\npublic <a> = " + "(" * 5000, "nested too deeply"),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, message: str) -> None:
    with pytest.raises(jsgf.JsgfError) as caught:
        jsgf.parse(text)
    assert message in str(caught.value)


@given(st.text(alphabet='ab <>=;|()[]{}*+/."\\\n', max_size=80))
def test_no_text_is_more_than_a_mistake(body: str) -> None:
    with contextlib.suppress(jsgf.JsgfError):
        jsgf.parse(f"#JSGF V1.0;\ngrammar g;\npublic <a> = {body}")


def test_one_more_rule_is_any_of_the_public_ones() -> None:
    text = jsgf.with_top_rule(GRAMMAR, jsgf.parse(GRAMMAR))
    assert text.startswith(GRAMMAR)
    assert text.endswith("public <stt-edge-top> = <light> | <stop>;\n")
    assert jsgf.parse(text).public[-1] == jsgf.TOP_RULE


def test_the_punctuation_of_a_phrase_is_not_spoken() -> None:
    assert jsgf.words_of(' What\'s the "time", now?! ') == ["What's", "the", "time", "now"]
    assert jsgf.words_of(" … ?, ") == ["…"]
    assert jsgf.words_of(" ., ") == []


@given(
    st.lists(
        st.lists(st.sampled_from(["Turn", "on", "it's", "twenty-one"]), min_size=1, max_size=5),
        min_size=1,
        max_size=9,
    )
)
def test_phrases_make_a_grammar_of_just_their_words(phrases: list[list[str]]) -> None:
    grammar = jsgf.parse(jsgf.from_phrases(" ".join(words) + "." for words in phrases))
    assert grammar.words == {word for words in phrases for word in words}
    assert grammar.public == ("phrase",)
