"""Grammars in JSGF, as far as a speech engine without imports understands them.

Read here, without the engine, so that a mistake is reported with its line when the configuration
is checked, and so that the words of a grammar are known before a dictionary is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from stt_edge.frozen import frozen

TOP_RULE: Final = "stt-edge-top"
"""The rule that ``with_top_rule`` adds."""

_HEADER: Final = re.compile(r"\ufeff?#JSGF(\s+[^\s;]+){0,3}\s*;")
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<rule><[^<>]+>)
      | (?P<tag>\{(?:\\.|[^\\}])*\})
      | (?P<weight>/[0-9]*\.?[0-9]+(?:e-?[0-9]+)?/)
      | (?P<mark>[=;|*+()\[\]])
      | (?P<word>[^\s=;|*+<>(){}\[\]/"]+)""",
    re.VERBOSE | re.DOTALL,
)
_MAX_DEPTH: Final = 100
_PUNCTUATION: Final = '.,;:!?"()'


class JsgfError(Exception):
    """A grammar that cannot be used; the message names the line."""


@frozen
class Grammar:
    """What is known of a grammar that has been read."""

    name: str
    words: frozenset[str]
    """As they are written."""
    public: tuple[str, ...]
    """The names of its public rules, in their order; at least one."""


def parse(text: str) -> Grammar:
    """Read a grammar. Raises JsgfError."""
    return _Parser(text).grammar()


def with_top_rule(text: str, grammar: Grammar) -> str:
    """Return the text with a rule added that is any of its public rules.

    An engine begins with one rule only, and which of several that is, is anybody's guess.
    """
    rules = " | ".join(f"<{name}>" for name in grammar.public)
    return f"{text}\npublic <{TOP_RULE}> = {rules};\n"


def words_of(phrase: str) -> list[str]:
    """Return the words of a phrase: its punctuation is not spoken."""
    bare = (word.strip(_PUNCTUATION) for word in phrase.split())
    return [word for word in bare if word]


def from_phrases(phrases: Iterable[str]) -> str:
    """Return the grammar whose sentences are these phrases."""
    sentences = " | ".join(" ".join(words_of(phrase)) for phrase in phrases)
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {sentences};\n"


@frozen
class _Token:
    kind: str
    text: str
    line: int


class _Parser:
    """Recursive descent over the tokens of one grammar."""

    def __init__(self, text: str) -> None:
        header = _HEADER.match(text)
        if header is None:
            raise JsgfError("line 1: a grammar begins with #JSGF V1.0;")
        self._tokens = list(_tokens(text, header.end()))
        self._at = 0
        self._depth = 0
        self._words: set[str] = set()
        self._public: list[str] = []
        self._rules: set[str] = set()
        self._wanted: dict[str, int] = {}

    def grammar(self) -> Grammar:
        """Read it all."""
        self._expect("word", "grammar")
        name = self._expect("word").text
        self._expect("mark", ";")
        while self._peek() is not None:
            self._rule()
        for rule, line in self._wanted.items():
            if rule not in self._rules:
                raise JsgfError(f"line {line}: the rule <{rule}> is not defined")
        if not self._public:
            raise JsgfError("no rule is public; write: public <name> = …;")
        return Grammar(name, frozenset(self._words), tuple(self._public))

    def _rule(self) -> None:
        public = self._accept("word", "public") is not None
        token = self._take()
        if token.kind == "word" and token.text == "import":
            raise JsgfError(f"line {token.line}: import is not supported; put the rules in here")
        if token.kind != "rule":
            raise _unexpected(token, "a rule such as <name>")
        name = token.text[1:-1].strip()
        if name in self._rules:
            raise JsgfError(f"line {token.line}: the rule <{name}> is defined twice")
        self._rules.add(name)
        if public:
            self._public.append(name)
        self._expect("mark", "=")
        self._alternatives()
        self._expect("mark", ";")

    def _alternatives(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise JsgfError(f"line {self._take().line}: nested too deeply")
        self._sequence()
        while self._accept("mark", "|"):
            self._sequence()
        self._depth -= 1

    def _sequence(self) -> None:
        self._item()
        while (token := self._peek()) is not None and token.text not in ("|", ";", ")", "]"):
            self._item()

    def _item(self) -> None:
        self._accept("weight")
        token = self._take()
        if token.kind == "word":
            self._words.add(token.text)
        elif token.kind == "rule":
            name = token.text[1:-1].strip()
            if name not in ("NULL", "VOID"):
                self._wanted.setdefault(name, token.line)
        elif token.text in ("(", "["):
            self._alternatives()
            self._expect("mark", ")" if token.text == "(" else "]")
        else:
            raise _unexpected(token, "a word, a rule or a group")
        while self._accept("mark", "*") or self._accept("mark", "+") or self._accept("tag"):
            pass

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self) -> _Token:
        token = self._peek()
        if token is None:
            raise JsgfError("the grammar ends in the middle of a rule; is a ; missing?")
        self._at += 1
        return token

    def _accept(self, kind: str, text: str | None = None) -> _Token | None:
        token = self._peek()
        if token is None or token.kind != kind or text not in (None, token.text):
            return None
        self._at += 1
        return token

    def _expect(self, kind: str, text: str | None = None) -> _Token:
        token = self._take()
        if token.kind != kind or text not in (None, token.text):
            raise _unexpected(token, text or f"a {kind}")
        return token


def _tokens(text: str, at: int) -> Iterator[_Token]:
    line = 1 + text.count("\n", 0, at)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            hint = "; write words without quotes" if text[at] == '"' else ""
            raise JsgfError(f"line {line}: {text[at]!r} is not understood here{hint}")
        assert match.lastgroup is not None
        if match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), line)
        line += match.group().count("\n")
        at = match.end()


def _unexpected(token: _Token, wanted: str) -> JsgfError:
    return JsgfError(f"line {token.line}: expected {wanted}, got {token.text}")
