"""How far an utterance has come: what was sent, what is acknowledged, which parts are its own.

Pure bookkeeping, one object an utterance, kept over reconnects. It turns a provider's offsets into
stream samples and decides which results are new: by the provider's item id or by time, never by
text, because people do say the same thing twice.
"""

from __future__ import annotations

import bisect
from dataclasses import replace
from typing import Final

from stt_edge.model import AudioSpan, Part, UtteranceEnd, UtteranceStart, Word, ms_to_samples
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.base import Partial, PartTimes, Provider

_COVERED_SAMPLES: Final = ms_to_samples(500)
"""Words may end so much before the gate heard the last of a voice."""

_FRUITLESS_TRIES: Final = 2


class Progress:
    """The state of one utterance on its way through one provider after another."""

    def __init__(self, head: UtteranceStart, *, recovered: bool = False, seq: int = 0) -> None:
        """Start at the utterance's first sample with nothing acknowledged."""
        self.head = head
        self.seq = seq
        """Its place among all, oldest first; never taken from a clock."""
        self.tail: UtteranceEnd | None = None
        self.recovered = recovered
        """It was left by an earlier run: monotonic times of it mean nothing now."""
        self.acked = head.start
        """Audio before this sample is never needed again."""
        self.parts: list[Part] = []
        """Committed, in the order of commitment."""
        self.reconnects = 0
        self.resent = False
        """Sent whole a second time already because no end was ever confirmed."""
        self._rest_at = -1
        """Where it was acknowledged to when the rest was last sent again."""
        self._rest_tries = 0
        """How often it was, from there."""
        self.begun_s = 0.0
        """When it last began to be sent, seconds of the monotonic clock."""
        self.ended_s: float | None = None
        """When it ended, seconds of the monotonic clock; None while somebody speaks."""
        self.strikes = 0
        """Failures that were its own fault."""
        self.finished_at_strike = 0
        """How many utterances had been finished when the first of them came."""
        self.unreadable = False
        """Its audio is lost; there is nothing more to send."""
        self.truncated = False
        """The provider left it unfinished."""
        self.job: tuple[str, str] | None = None
        """The provider that has made a job of it, and the token it can be asked with."""
        self.supersedes: str | None = None
        """The record a fallback made of it, which the one made now replaces; empty for none."""
        self.due_s = float("-inf")
        """Not to be sent again before, seconds of the monotonic clock."""
        self._provider: Provider | None = None
        self._offsets: list[int] = [0]
        self._samples: list[int] = [head.start]
        self._sent_offset = 0
        self._position = head.start
        self._items: set[str] = set()
        self._pending: list[Part] = []
        self._partial: Partial | None = None

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.head.id

    @property
    def position(self) -> int:
        """The first sample not yet sent on this connection."""
        return self._position

    @property
    def redone(self) -> bool:
        """Whether there is a record of it already, from a fallback."""
        return self.supersedes is not None

    @property
    def provider_name(self) -> str | None:
        """The provider it last went to, if to any."""
        return None if self._provider is None else self._provider.name

    def job_with(self, provider: str) -> str | None:
        """Return the token of a job ``provider`` has made of it, if it has."""
        return self.job[1] if self.job is not None and self.job[0] == provider else None

    def redo(self, record_id: str) -> None:
        """Begin anew: the fallback's record ``record_id`` (empty for none) is to be replaced."""
        self.supersedes = record_id
        self.acked = self.head.start
        self.parts, self.job, self.resent = [], None, False
        self.truncated = False
        self._items.clear()

    @property
    def sent_samples(self) -> int:
        """Samples sent on this connection."""
        return self._sent_offset

    def resume(self, parts: list[Part], acked: int) -> None:
        """Take up what an earlier run committed."""
        self.parts = list(parts)
        self.acked = max(self.acked, acked)
        self._items = {part.item_id for part in parts if part.item_id is not None}

    def begin(self, provider: Provider) -> None:
        """Start on a fresh session of ``provider``, from the first unacknowledged sample."""
        self._provider = provider
        self._position = self.acked
        self._offsets, self._samples = [0], [self.acked]
        self._sent_offset = 0
        self._pending.clear()
        self._partial = None
        self._items.clear()  # a provider's names for its results hold for one session

    def sent(self, span: AudioSpan) -> None:
        """Note that ``span`` was sent, right after what was sent before it."""
        if span.sample != self._position or not self._sent_offset:
            self._offsets.append(self._sent_offset)
            self._samples.append(span.sample)
        self._sent_offset += span.end - span.sample
        self._position = span.end

    def note(self, partial: Partial) -> None:
        """Keep the newest partial: it may have to stand in for a final that never comes."""
        self._partial = partial

    def accept(self, final: FinalResult) -> Part | None:
        """Return the part to commit for a final, or None if it says nothing new.

        Where the provider gives no times the part is kept back until ``settle``.
        """
        assert self._provider is not None
        self._partial = None
        if final.item_id is not None:
            if final.item_id in self._items:
                return None
            self._items.add(final.item_id)
        part = self._part_of(final)
        if part is None:
            return None
        if self._provider.capabilities.part_times is PartTimes.NONE:
            self._pending.append(part)
            return None
        return self._commit(part)

    def promote(self) -> list[Part]:
        """Return the partial as a part, truncated, behind those that were kept back.

        Nothing where the partial says nothing that is not yet committed.
        """
        partial, self._partial = self._partial, None
        if partial is None or not partial.text.strip():
            return []
        part = self._part_of(FinalResult(partial.text, end=partial.end, words=partial.words))
        if part is None:
            return []
        return [*self.settle(), self._commit(replace(part, truncated=True))]

    def settle(self) -> list[Part]:
        """Return the parts that were kept back: the utterance is complete."""
        settled = [self._commit(part) for part in self._pending]
        self._pending.clear()
        return settled

    def resend_rest(self) -> bool:
        """Return whether to send on, after an end that may have been a drop as well.

        Where the results reach the end of what was spoken all is well. Where they do not, the rest
        is sent again, twice where that brings nothing new: nothing more may have been said.
        """
        assert self.tail is not None
        if self._pending or self.tail.speech_end - self.acked < _COVERED_SAMPLES:
            return False
        if self._rest_at != self.acked:
            self._rest_at, self._rest_tries = self.acked, 0
        self._rest_tries += 1
        return self._rest_tries <= _FRUITLESS_TRIES

    def _commit(self, part: Part) -> Part:
        committed = replace(part, seq=len(self.parts))
        self.parts.append(committed)
        self.acked = max(self.acked, min(part.end, self._position))
        return committed

    def _part_of(self, final: FinalResult) -> Part | None:
        provider = self._provider
        assert provider is not None
        words = tuple(
            Word(
                _storable(word.text),
                self._first(word.start),
                self._last(word.end),
                word.confidence,
            )
            for word in final.words
        )
        fresh = tuple(word for word in words if (word.start + word.end) // 2 >= self.acked)
        text = _storable(final.text.strip())
        if words and len(fresh) < len(words):
            text = " ".join(word.text for word in fresh)
        start, end = self._range(final, fresh)
        timed = bool(words) or final.end is not None
        if not text or (timed and (start + end) // 2 < self.acked):
            return None
        return Part(
            utterance_id=self.id,
            seq=0,
            start=start,
            end=end,
            text=text,
            provider=provider.name,
            model=final.model or provider.model,
            language=final.language or provider.language,
            confidence=final.confidence,
            words=fresh,
            item_id=final.item_id,
        )

    def _range(self, final: FinalResult, words: tuple[Word, ...]) -> tuple[int, int]:
        if words:
            return words[0].start, max(word.end for word in words)
        start = self.acked if final.start is None else self._first(final.start)
        end = self._position if final.end is None else self._last(final.end)
        return start, max(start, end)

    def _first(self, offset: int) -> int:
        """Return the stream sample that went out ``offset`` samples after ``begin``."""
        at = bisect.bisect_right(self._offsets, offset) - 1
        return self._samples[max(at, 0)] + offset - self._offsets[max(at, 0)]

    def _last(self, offset: int) -> int:
        """Return the end of the audio before ``offset``; across a gap, the end before the gap."""
        at = bisect.bisect_left(self._offsets, offset) - 1
        return self._samples[max(at, 0)] + offset - self._offsets[max(at, 0)]


def _storable(text: str) -> str:
    """Replace lone surrogates: JSON can carry them, UTF-8 cannot."""
    return text.encode(errors="replace").decode()
