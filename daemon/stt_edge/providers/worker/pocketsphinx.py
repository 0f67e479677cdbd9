"""The pocketsphinx engine: free speech with a language model, or the sentences of a grammar.

The features of speech are normalised by their mean (CMN). Decoding a whole recording knows that
mean; live, pocketsphinx starts from a constant, or from what the last speaker left, and adapts too
late for a short utterance: measured, 8 to 11 words more of a hundred are wrong. So the first
second of an utterance is kept back; a cheap pass over it measures the mean, which is then kept up
to date twice a second. An utterance that is over before is decoded whole. Every utterance begins
afresh, so the same audio gives the same text, whatever was heard before.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import FailureKind
from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from stt_edge.providers import jsgf
from stt_edge.providers.lexicon import Pronunciation, look_up, plain
from stt_edge.providers.worker.engine import EngineError, Heard, HeardWord, joint_confidence

_HEAD_BYTES: Final = ms_to_samples(1000) * SAMPLE_BYTES
_UPDATE_BYTES: Final = ms_to_samples(500) * SAMPLE_BYTES
_SEGMENT_BYTES: Final = ms_to_samples(120_000) * SAMPLE_BYTES
"""A longer utterance is decoded in pieces: what the decoder keeps of one grows with its length."""
_FRAME_SAMPLES: Final = ms_to_samples(10)

_GRAMMAR: Final = "grammar"
_PROBE: Final = "probe"
_PROBE_GRAMMAR: Final = "#JSGF V1.0;\ngrammar probe;\npublic <probe> = <NULL>;\n"
_FILLER_MARKS: Final = "<[(+"
"""``<s>``, ``<sil>``, ``[NOISE]``, ``(NULL)``, ``++UM++``: no word of a dictionary begins so."""


class PocketsphinxEngine:
    """One decoder and the utterance it is at. See ``engine.Engine``."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the model. Raises EngineError.

        ``settings``: ``hmm``, ``dict`` (paths), either ``lm`` (a path) or ``grammar`` (JSGF text),
        ``words`` (pairs of a word and its phones) and ``model`` (what to call it all).
        """
        self.model = str(settings["model"])
        self._free = settings["grammar"] is None
        more = [Pronunciation(word, phones) for word, phones in settings["words"]]
        self._decoder = _load(settings, more)
        self._search: str = self._decoder.current_search()
        self._head: bytearray | None = None
        """What has been kept back; None when no utterance is in hand or it is being decoded."""
        self._fed_bytes = 0
        """Of the piece that is being decoded."""
        self._piece_start = 0
        """Its first sample."""
        self._words: list[HeardWord] = []
        """Of the pieces before it."""
        self._decoding = False

    def begin(self) -> None:
        """Start an utterance; one in hand is forgotten."""
        self._abandon()
        self._piece_start = 0
        self._words = []
        self._head = bytearray()

    def feed(self, pcm: bytes) -> None:
        """Take the audio that follows."""
        if self._head is not None:
            self._head += pcm
            if len(self._head) >= _HEAD_BYTES:
                self._start_decoding(self._head)
            return
        self._decode(pcm)
        if self._fed_bytes >= _SEGMENT_BYTES:
            self._end_piece()
            self._head = bytearray()

    def partial(self) -> Heard | None:
        """Return what has been understood so far, if anything."""
        words = [*self._words, *(self._heard(final=False) if self._decoding else ())]
        return Heard(tuple(words)) if words else None

    def finish(self) -> Heard | None:
        """End the utterance; return what was said, if anything."""
        if self._head:
            self._decode_whole(bytes(self._head))
        if self._decoding:
            self._end_piece()
        self._head = None
        words, self._words = tuple(self._words), []
        if not words:
            return None
        return Heard(words, joint_confidence(words))

    def _start_decoding(self, head: bytearray) -> None:
        pcm = bytes(head)
        self._head = None
        mean = self._mean_of(pcm)
        self._renew()
        if mean is not None:
            self._decoder.set_cmn(mean)
        self._decoder.start_utt()
        self._decoding = True
        self._decode(pcm)

    def _decode(self, pcm: bytes) -> None:
        self._decoder.process_raw(pcm)
        updates = self._fed_bytes // _UPDATE_BYTES
        self._fed_bytes += len(pcm)
        if self._fed_bytes // _UPDATE_BYTES > updates and self._fed_bytes > _HEAD_BYTES:
            self._decoder.get_cmn(update=True)

    def _decode_whole(self, pcm: bytes) -> None:
        if not pcm.strip(b"\0"):
            return  # the mean of digital silence is no number
        self._renew()
        self._decoder.start_utt()
        self._decoding = True
        self._decoder.process_raw(pcm, full_utt=True)
        self._fed_bytes = len(pcm)

    def _end_piece(self) -> None:
        self._decoder.end_utt()
        self._decoding = False
        self._words += self._accepted(self._heard(final=True))
        self._piece_start += self._fed_bytes // SAMPLE_BYTES
        self._fed_bytes = 0

    def _abandon(self) -> None:
        self._head = None
        if self._decoding:
            self._decoder.end_utt()
            self._decoding = False
        self._fed_bytes = 0

    def _mean_of(self, pcm: bytes) -> str | None:
        """Return the cepstral mean of some audio, or None when there is none."""
        self._decoder.activate_search(_PROBE)
        self._renew()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=True, full_utt=True)
        self._decoder.end_utt()
        mean: str = self._decoder.get_cmn()
        self._decoder.activate_search(self._search)
        return mean if all(math.isfinite(float(value)) for value in mean.split(",")) else None

    def _renew(self) -> None:
        """Forget the mean and the noise; and that this decoder ever normalised live.

        pocketsphinx falls back to live normalisation for good once audio has come in pieces.
        """
        self._decoder.reinit_feat()

    def _accepted(self, words: list[HeardWord]) -> list[HeardWord]:
        """Return the words, or none if a grammar is used and they are no whole sentence of it.

        The decoder returns what fits best so far where it has not come to the end of a sentence.
        """
        if self._free or self._decoder.get_fsg(self._search).accept(
            " ".join(word.text for word in words)
        ):
            return words
        return []

    def _heard(self, *, final: bool) -> list[HeardWord]:
        words: list[HeardWord] = []
        for segment in self._decoder.seg() or ():
            text = plain(segment.word)
            if text[0] in _FILLER_MARKS:
                continue
            start = self._piece_start + segment.start_frame * _FRAME_SAMPLES
            end = self._piece_start + (segment.end_frame + 1) * _FRAME_SAMPLES
            # In a grammar a word competes with nothing but silence: always nearly 1.
            sure = round(min(1.0, segment.prob), 4) if final and self._free else None
            words.append(HeardWord(text, start, end, sure))
        return words


def _load(settings: dict[str, Any], more: list[Pronunciation]) -> Any:
    import pocketsphinx

    pocketsphinx.set_loglevel("ERROR")
    grammar: str | None = settings["grammar"]
    try:
        if grammar is not None:
            decoder = _load_grammar(settings, grammar, more)
        else:
            decoder = pocketsphinx.Decoder(
                hmm=settings["hmm"], lm=settings["lm"], dict=settings["dict"], loglevel="ERROR"
            )
            for known in more:
                decoder.add_word(known.word, known.phones, update=known is more[-1])
        decoder.add_jsgf_string(_PROBE, _PROBE_GRAMMAR)
    except (RuntimeError, ValueError, OSError, jsgf.JsgfError) as error:
        raise EngineError(
            FailureKind.SETUP,
            f"pocketsphinx cannot use the model {settings['model']}: {error}.",
            "What it said about it is in the log, just before this.",
        ) from error
    pocketsphinx.set_loglevel("FATAL")
    return decoder


def _load_grammar(settings: dict[str, Any], grammar: str, more: list[Pronunciation]) -> Any:
    """Return a decoder that knows the words of the grammar and no others.

    The whole dictionary would be 20 MB of memory.
    """
    import pocketsphinx

    read = jsgf.parse(grammar)
    ways = look_up(Path(settings["dict"]), read.words, more)
    if missing := sorted(read.words - ways.keys()):
        raise EngineError(
            FailureKind.SETUP, f"not in the dictionary of {settings['model']}: {', '.join(missing)}"
        )
    with os.fdopen(os.memfd_create("dict"), "wb") as dictionary:
        for word, alternatives in ways.items():
            for number, way in enumerate(alternatives, 1):
                mark = f"({number})" if number > 1 else ""
                dictionary.write(f"{word}{mark} {way.phones}\n".encode())
        dictionary.flush()
        decoder = pocketsphinx.Decoder(
            hmm=settings["hmm"],
            lm=None,
            dict=f"/proc/self/fd/{dictionary.fileno()}",
            loglevel="ERROR",
        )
    text = jsgf.with_top_rule(grammar, read)
    decoder.add_fsg(_GRAMMAR, decoder.parse_jsgf(text, f"{read.name}.{jsgf.TOP_RULE}"))
    decoder.activate_search(_GRAMMAR)
    return decoder
