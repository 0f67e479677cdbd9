"""Speech a simulator can recognise, and recognisers.

``say([3, 1])`` is audio in which each word is a run of equal samples, so what a simulator
"understands" follows from the audio it was given and from nothing else: audio that is sent again
gives the same words, audio that is missing gives none.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from stt_edge.model import SAMPLE_BYTES, ms_to_samples


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ENGLISH: Final = _words("the kitchen light is on now and then we open every window before seven")
ICELANDIC: Final = _words("góðan dag það er kalt úti í dag ætli þú viljir kaffi við gluggann núna")
THAI: Final = _words("สวัสดี ครับ วันนี้ อากาศ ดี มาก เปิด ไฟ ใน ครัว ให้ หน่อย")

_FIRST_LEVEL: Final = 1000
_LEVEL_STEP: Final = 100


def say(words: Sequence[int], *, word_ms: int = 250, gap_ms: int = 50) -> bytes:
    """Return s16le audio in which the words are said; numbers count from 0."""
    silence = bytes(SAMPLE_BYTES * ms_to_samples(gap_ms))
    said = bytearray(silence)
    for word in words:
        level = _FIRST_LEVEL + _LEVEL_STEP * word
        said += array.array("h", [level]).tobytes() * ms_to_samples(word_ms) + silence
    return bytes(said)


def text_of(words: Sequence[int], vocabulary: Sequence[str] = ENGLISH) -> str:
    """Return what a recogniser understands of ``say(words)``."""
    return " ".join(word_text(word, vocabulary) for word in words)


def word_text(number: int, vocabulary: Sequence[str]) -> str:
    """Return a word; behind the end of the vocabulary they carry a number and stay different."""
    turn, at = divmod(number, len(vocabulary))
    return vocabulary[at] + (str(turn) if turn else "")


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and the samples it covers, since the first one fed."""

    text: str
    start: int
    end: int
    confidence: float = 0.9


class Recogniser(Protocol):
    """Takes audio and says which words are complete."""

    def feed(self, pcm: bytes) -> None:
        """Take more audio, s16le, in pieces of any length."""

    def words(self) -> list[SpokenWord]:
        """Return the words that are complete, all since the beginning."""

    def finish(self) -> list[SpokenWord]:
        """Return all words: no more audio will come."""


RecogniserFactory = Callable[[], Recogniser]


class SyntheticRecogniser:
    """Understands what ``say`` says; a word counts when at least half of it is there."""

    def __init__(self, vocabulary: Sequence[str] = ENGLISH, *, word_ms: int = 250) -> None:
        self._vocabulary = vocabulary
        self._least = ms_to_samples(word_ms) // 2
        self._words: list[SpokenWord] = []
        self._rest = b""
        self._at = 0
        self._level = 0
        self._since = 0

    def feed(self, pcm: bytes) -> None:
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % SAMPLE_BYTES
        self._rest = pcm[whole:]
        for level, run in itertools.groupby(array.array("h", pcm[:whole])):
            if level != self._level:
                self._end_run()
                self._level, self._since = level, self._at
            self._at += len(list(run))

    def words(self) -> list[SpokenWord]:
        return list(self._words)

    def finish(self) -> list[SpokenWord]:
        self._end_run()
        self._level, self._since = 0, self._at
        return list(self._words)

    def _end_run(self) -> None:
        number, odd = divmod(self._level - _FIRST_LEVEL, _LEVEL_STEP)
        if self._level < _FIRST_LEVEL or odd or self._at - self._since < self._least:
            return
        text = word_text(number, self._vocabulary)
        self._words.append(SpokenWord(text, self._since, self._at))


class TimedRecogniser:
    """Understands one word in so many milliseconds of whatever it is given."""

    def __init__(self, vocabulary: Sequence[str] = ENGLISH, *, word_ms: int = 300) -> None:
        self._vocabulary = vocabulary
        self._word = ms_to_samples(word_ms)
        self._bytes = 0

    def feed(self, pcm: bytes) -> None:
        self._bytes += len(pcm)

    def words(self) -> list[SpokenWord]:
        return [
            SpokenWord(word_text(at, self._vocabulary), at * self._word, (at + 1) * self._word)
            for at in range(self._bytes // SAMPLE_BYTES // self._word)
        ]

    def finish(self) -> list[SpokenWord]:
        return self.words()


class SphinxRecogniser:
    """Really listens, with pocketsphinx; words are there only in the end."""

    def __init__(self) -> None:
        self._audio = bytearray()

    def feed(self, pcm: bytes) -> None:
        self._audio += pcm

    def words(self) -> list[SpokenWord]:
        return []

    def finish(self) -> list[SpokenWord]:
        from pocketsphinx import Decoder

        decoder = Decoder(loglevel="FATAL")
        decoder.start_utt()
        decoder.process_raw(bytes(self._audio), no_search=False, full_utt=True)
        decoder.end_utt()
        return [
            SpokenWord(seg.word.split("(")[0], seg.start_frame * 160, seg.end_frame * 160)
            for seg in decoder.seg()
            if seg.word[0] not in "<["
        ]


RECOGNISERS: Final[dict[str, RecogniserFactory]] = {
    "synthetic": SyntheticRecogniser,
    "timed": TimedRecogniser,
    "pocketsphinx": SphinxRecogniser,
}
