"""The Vosk engine: a Kaldi model of the user's, free speech or a list of phrases.

Vosk looks for pauses of its own. They are of no interest, the gate has cut the utterance already,
but in a very long one the decoder is emptied at a pause: what it keeps grows with its length.
A recogniser adapts to the speaker, so every utterance gets a new one: the same audio gives the
same text, whatever was heard before.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Final

from stt_edge.errors import FailureKind
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples
from stt_edge.providers.worker.engine import (
    EngineError,
    Heard,
    HeardWord,
    in_order,
    joint_confidence,
)

_PAUSE_COUNTS_SAMPLES: Final = ms_to_samples(60_000)
_LONGEST_SAMPLES: Final = ms_to_samples(120_000)
_UNKNOWN: Final = "[unk]"
_QUIET: Final = -1
"""Warnings and errors only (vosk_api.h, vosk_set_log_level)."""


class VoskEngine:
    """One model and the utterance it is at. See ``engine.Engine``."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the model. Raises EngineError.

        ``settings``: ``directory`` (a path), ``model`` (what to call it) and ``phrases`` (a list of
        texts, or None for free speech).
        """
        import vosk

        self.model = str(settings["model"])
        self._phrases: list[str] | None = settings["phrases"]
        self._new_recogniser: Any = vosk.KaldiRecognizer
        vosk.SetLogLevel(_QUIET)
        with _NamingTheModel(self.model):
            self._loaded = vosk.Model(str(settings["directory"]))
            self._recogniser: Any = self._make()  # of a model without a dictionary there is none
        self._piece_samples = 0
        self._words: list[HeardWord] = []

    def begin(self) -> None:
        """Start an utterance; one in hand is forgotten."""
        self._recogniser = self._make()
        self._piece_samples = 0
        self._words = []

    def feed(self, pcm: bytes) -> None:
        """Take the audio that follows."""
        paused = self._recogniser.AcceptWaveform(pcm)
        self._piece_samples += len(pcm) // SAMPLE_BYTES
        longest = _PAUSE_COUNTS_SAMPLES if paused else _LONGEST_SAMPLES
        if self._piece_samples >= longest:
            self._words += _heard(self._recogniser.Result(), "result")
            self._piece_samples = 0

    def partial(self) -> Heard | None:
        """Return what has been understood so far, if anything."""
        words = in_order(
            [*self._words, *_heard(self._recogniser.PartialResult(), "partial_result")]
        )
        return Heard(tuple(words)) if words else None

    def finish(self) -> Heard | None:
        """End the utterance; return what was said, if anything."""
        words = in_order([*self._words, *_heard(self._recogniser.FinalResult(), "result")])
        self._words = []
        return Heard(tuple(words), joint_confidence(words)) if words else None

    def _make(self) -> Any:
        if self._phrases is None:
            recogniser = self._new_recogniser(self._loaded, SAMPLE_RATE)
        else:
            # Without the unknown word all that is said would be forced into one of the phrases.
            # Vosk reads no \\u escapes.
            grammar = json.dumps([*self._phrases, _UNKNOWN], ensure_ascii=False)
            recogniser = self._new_recogniser(self._loaded, SAMPLE_RATE, grammar)
        recogniser.SetWords(True)
        recogniser.SetPartialWords(True)
        return recogniser


def _heard(result: str, key: str) -> list[HeardWord]:
    """Return the words of a result; the times in it are seconds since the recogniser was made."""
    return [
        HeardWord(
            word["word"],
            round(word["start"] * SAMPLE_RATE),
            round(word["end"] * SAMPLE_RATE),
            min(1.0, max(0.0, word["conf"])),
        )
        for word in json.loads(result).get(key, ())
        if word["word"] != _UNKNOWN
    ]


class _NamingTheModel:
    """Turns what Vosk raises into EngineError: a bare Exception, of no class of its own."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if kind is Exception:
            raise EngineError(
                FailureKind.SETUP,
                f"vosk cannot use the model {self._model}: {error}.",
                "What it said about it is in the log, just before this.",
            ) from error
