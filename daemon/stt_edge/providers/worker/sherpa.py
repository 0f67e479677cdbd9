"""The sherpa-onnx engine: a streaming model of the user's, transducer, CTC or paraformer.

sherpa-onnx says when each token was heard, a piece of a word; words are put together here. What
is not divided by spaces in the text, as in Chinese or Thai, counts as one word.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any, Final

from stt_edge.errors import FailureKind
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples
from stt_edge.providers.worker.engine import (
    EngineError,
    Heard,
    HeardWord,
    in_order,
    joint_confidence,
)

_FULL_SCALE: Final = 32_768
_TAIL: Final = [0.0] * ms_to_samples(1000)
"""A model works in steps, and sees the end of the audio only behind its last whole step."""
_TOKEN_SAMPLES: Final = ms_to_samples(250)
"""The last token of a word is taken to last so long, if the next is not heard before."""
_MARKS: Final = str.maketrans("", "", "▁@ ")
"""Which tokens begin a word, or go on; no part of the text."""


class SherpaEngine:
    """One recogniser and the utterance it is at. See ``engine.Engine``."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the model. Raises EngineError.

        ``settings``: ``model`` (what to call it), ``factory`` (the method of OnlineRecognizer that
        makes a recogniser of this kind) and ``arguments`` (what to call it with).
        """
        self.model = str(settings["model"])
        self._recogniser = _load(settings)
        self._stream = self._recogniser.create_stream()
        self._fed_samples = 0

    def begin(self) -> None:
        """Start an utterance; one in hand is forgotten."""
        self._stream = self._recogniser.create_stream()
        self._fed_samples = 0

    def feed(self, pcm: bytes) -> None:
        """Take the audio that follows."""
        self._accept([sample / _FULL_SCALE for sample in array("h", pcm)])
        self._fed_samples += len(pcm) // SAMPLE_BYTES

    def partial(self) -> Heard | None:
        """Return what has been understood so far, if anything."""
        words = self._words()
        return Heard(tuple(words)) if words else None

    def finish(self) -> Heard | None:
        """End the utterance; return what was said, if anything."""
        self._accept(_TAIL)
        self._stream.input_finished()
        self._decode()
        words = self._words()
        return Heard(tuple(words), joint_confidence(words)) if words else None

    def _accept(self, samples: list[float]) -> None:
        self._stream.accept_waveform(SAMPLE_RATE, samples)
        self._decode()

    def _decode(self) -> None:
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)

    def _words(self) -> list[HeardWord]:
        result = self._recogniser.get_result_all(self._stream)
        tokens = _tokens(result, self._fed_samples)
        return in_order(words_of(result.text.split(), tokens, self._fed_samples))


@frozen
class Token:
    """A piece of a word, in samples since the utterance began."""

    text: str
    start: int
    end: int
    probability: float | None


def words_of(texts: Sequence[str], tokens: Sequence[Token], fed_samples: int) -> list[HeardWord]:
    """Return the words of a text with the times of the tokens they are made of.

    Where the tokens do not make up the text (numbers written out, and the like), every word may be
    anywhere between the first token and the last.
    """
    if not _spell(tokens, "".join(texts)):
        start, end = (tokens[0].start, tokens[-1].end) if tokens else (0, fed_samples)
        return [HeardWord(text, start, end) for text in texts]
    letters = iter([token for token in tokens for _ in token.text])
    words: list[HeardWord] = []
    for text in texts:
        own = [next(letters) for _ in text]
        words.append(HeardWord(text, own[0].start, own[-1].end, _confidence(own)))
    return words


def _spell(tokens: Sequence[Token], text: str) -> bool:
    """Return whether the tokens are the letters of a text, but for capitals."""
    spelled = "".join(token.text for token in tokens)
    return bool(spelled) and len(spelled) == len(text) and spelled.lower() == text.lower()


def _tokens(result: Any, fed_samples: int) -> list[Token]:
    """Return the tokens of a result; none where it does not say when they were heard."""
    texts, seconds, logs = result.tokens, result.timestamps, result.ys_probs
    if not texts or len(seconds) != len(texts):
        return []
    # The silence added in the end is no part of the audio.
    starts = [min(fed_samples, round(value * SAMPLE_RATE)) for value in seconds]
    ends = [
        min(start + _TOKEN_SAMPLES, following)
        for start, following in zip(starts, [*starts[1:], fed_samples], strict=True)
    ]
    known = len(logs) == len(texts)
    sure = [math.exp(min(0.0, value)) if known else None for value in (logs if known else texts)]
    return [
        Token(text.translate(_MARKS), start, end, probability)
        for text, start, end, probability in zip(texts, starts, ends, sure, strict=True)
    ]


def _confidence(tokens: Sequence[Token]) -> float | None:
    """Return how sure a word is, by the tokens of its letters."""
    known = [token.probability for token in tokens if token.probability is not None]
    if len(known) < len(tokens):
        return None
    return round(math.exp(sum(math.log(max(value, 1e-6)) for value in known) / len(known)), 4)


def _load(settings: dict[str, Any]) -> Any:
    import sherpa_onnx

    make = getattr(sherpa_onnx.OnlineRecognizer, settings["factory"])
    try:
        return make(**settings["arguments"])
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        line = " ".join(str(error).split())
        raise EngineError(
            FailureKind.SETUP,
            f"sherpa-onnx cannot use the model {settings['model']}: {line[:300]}",
            "Check that it is a streaming model, whole, and of the kind the option says.",
        ) from error
