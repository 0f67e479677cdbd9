"""pocketsphinx: speech recognition on this machine, with the English model of its own package.

Free speech, or a list of phrases, or a grammar. It runs in a worker process of its own
(``worker/pocketsphinx.py``), so this module never imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers import jsgf, lexicon
from stt_edge.providers.base import Provider
from stt_edge.providers.local_engine import LOCAL, require, worker_provider
from stt_edge.providers.sphinx_files import (
    PACKAGE,
    ModelFiles,
    OptionError,
    find_model,
    package_directory,
)

_MAX_GRAMMAR_BYTES: Final = 1 << 20
_MAX_NAMED: Final = 8
_NOT_IN_DICTIONARY: Final = (
    "not in the dictionary: {words}; write them as words that are in it, numbers too, or say how "
    "they sound in a file named by extra_words"
)


@frozen
class Options:
    """The keys of a provider of this kind."""

    phrases: tuple[str, ...] | None = option(
        None, doc="understand these phrases and nothing else; far more exact than free speech"
    )
    grammar: str | None = option(
        None, doc="understand the sentences of this JSGF grammar and nothing else", path=True
    )
    extra_words: str | None = option(
        None, doc="file of words the dictionary lacks: on each line a word, its phones", path=True
    )
    model: str | None = option(
        None, doc="directory of a model in place of the English one of the package", path=True
    )
    hmm: str | None = option(None, doc="acoustic model, if not the one in model", path=True)
    lm: str | None = option(None, doc="language model, if not the one in model", path=True)
    dict: str | None = option(None, doc="dictionary, if not the one in model", path=True)
    language: str = option("en", doc="label of the results; the model decides what is understood")
    idle_unload_s: float = option(
        120.0, minimum=0, maximum=86_400, doc="give the model's memory back after this long unused"
    )

    @property
    def bounded(self) -> bool:
        """Whether it understands listed sentences only, in place of free speech."""
        return self.phrases is not None or self.grammar is not None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        if self.phrases is not None and self.grammar is not None:
            yield "grammar", "give phrases or a grammar, not both"
        elif self.bounded and self.lm is not None:
            yield "lm", "phrases and grammars need no language model; remove it"
        elif package_directory() is not None:  # else building the provider says how to get it
            try:
                _check_words(self)
            except OptionError as error:
                yield error.key, str(error)


EXTRA: Final = "pocketsphinx"
PACKAGES: Final = (PACKAGE,)
CAPABILITIES: Final = LOCAL


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    require(name, PACKAGE, "pocketsphinx")
    try:
        files = _files(options)
        settings = _settings(options, files)
    except OptionError as error:
        raise ProviderError(FailureKind.SETUP, f"{name}: {error.key}: {error}.") from error
    return worker_provider(
        name,
        PACKAGE,
        settings,
        language=options.language,
        idle_unload_s=options.idle_unload_s,
        confidence=not options.bounded,
    )


def _settings(options: Options, files: ModelFiles) -> dict[str, Any]:
    return {
        "model": files.name,
        "hmm": str(files.hmm),
        "lm": None if files.lm is None else str(files.lm),
        "dict": str(files.dictionary),
        "words": [[known.word, known.phones] for known in _extra_words(options)],
        "grammar": _grammar(options),
    }


def _files(options: Options) -> ModelFiles:
    return find_model(
        options.model, options.hmm, options.lm, options.dict, with_lm=not options.bounded
    )


def _extra_words(options: Options) -> tuple[lexicon.Pronunciation, ...]:
    if options.extra_words is None:
        return ()
    path = Path(options.extra_words)
    try:
        return lexicon.read_words(path)
    except lexicon.LexiconError as error:
        raise OptionError("extra_words", f"{path}: {error}") from error
    except OSError as error:
        raise _unreadable("extra_words", path, error) from error


def _grammar(options: Options) -> str | None:
    """Return the grammar as JSGF, or None for free speech."""
    if options.phrases is not None:
        return _of_phrases(options.phrases)
    if options.grammar is None:
        return None
    path = Path(options.grammar)
    try:
        if path.stat().st_size > _MAX_GRAMMAR_BYTES:
            raise OptionError("grammar", f"{path} is larger than {_MAX_GRAMMAR_BYTES >> 20} MB")
        text = path.read_text(encoding="utf-8-sig")
        jsgf.parse(text)
    except jsgf.JsgfError as error:
        raise OptionError("grammar", f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise OptionError("grammar", f"{path} is no UTF-8 text") from error
    except OSError as error:
        raise _unreadable("grammar", path, error) from error
    return text


def _of_phrases(phrases: tuple[str, ...]) -> str:
    if not phrases:
        raise OptionError("phrases", "the list is empty; remove the line for free speech")
    for number, phrase in enumerate(phrases, 1):
        if not jsgf.words_of(phrase):
            raise OptionError("phrases", f"phrase {number} has no words: {phrase!r}")
    return jsgf.from_phrases(phrases)


def _check_words(options: Options) -> None:
    """Check all that can be checked without loading the model. Raises OptionError."""
    files, extra, grammar = _files(options), _extra_words(options), _grammar(options)
    if grammar is None:
        return
    key, words = _words_of(options, grammar)
    try:
        known = lexicon.look_up(files.dictionary, words, extra)
    except OSError as error:
        raise _unreadable("dict", files.dictionary, error) from error
    if missing := sorted(words - known.keys()):
        named = ", ".join(missing[:_MAX_NAMED])
        if len(missing) > _MAX_NAMED:
            named += f" and {len(missing) - _MAX_NAMED} more"
        raise OptionError(key, _NOT_IN_DICTIONARY.format(words=named))


def _words_of(options: Options, grammar: str) -> tuple[str, frozenset[str]]:
    if options.phrases is None:
        return "grammar", jsgf.parse(grammar).words
    spoken = (word for phrase in options.phrases for word in jsgf.words_of(phrase))
    return "phrases", frozenset(spoken)


def _unreadable(key: str, path: Path, error: OSError) -> OptionError:
    return OptionError(key, f"{path} cannot be read: {error.strerror or error}")
