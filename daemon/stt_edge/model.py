"""The nouns every part of the program shares: audio addresses, utterances, parts and records.

Audio is 16 kHz mono signed 16-bit little-endian PCM throughout and is addressed by
``(stream, sample)``: a *stream* is one opening of the device, its sample counter starts at 0 and
also counts samples known to be missing. Intervals are half-open, ``[start, end)``.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Final

from stt_edge.frozen import frozen

SAMPLE_RATE: Final = 16_000
"""Hertz."""

SAMPLE_BYTES: Final = 2
"""Bytes a sample: s16le, mono."""

NS_PER_SAMPLE: Final = 1_000_000_000 // SAMPLE_RATE
"""62,500: a sample lasts a whole number of nanoseconds, so addresses convert without rounding."""


def ms_to_samples(milliseconds: float) -> int:
    """Convert a duration in milliseconds to the nearest whole number of samples."""
    return round(milliseconds * SAMPLE_RATE / 1000)


def samples_to_ms(samples: int) -> int:
    """Convert a number of samples to the nearest whole number of milliseconds."""
    return round(samples * 1000 / SAMPLE_RATE)


def samples_to_s(samples: int) -> float:
    """Convert a number of samples to seconds; exact in decimal with seven places."""
    return samples / SAMPLE_RATE


class EndReason(StrEnum):
    """Why an utterance ended."""

    SILENCE = "silence"
    """The speaker paused for the hangover."""
    MAX_LENGTH = "max-length"
    """It grew too long and was cut; the next one continues it at the very next sample."""
    DEVICE = "device"
    """The ear or its device was lost in the middle of it."""
    GAP = "gap"
    """More audio is missing than a pause would last."""
    MUTE = "mute"
    STOP = "stop"
    END_OF_FILE = "end-of-file"
    CRASH = "crash"
    """Main died while it was open; what the log holds of it is all there is."""

    @property
    def truncates(self) -> bool:
        """Whether the speaker was probably still speaking when the utterance ended."""
        return self in (EndReason.DEVICE, EndReason.GAP, EndReason.CRASH)


class UtteranceState(StrEnum):
    """Where an utterance is on its way from the ear to a record."""

    OPEN = "open"
    ENDED = "ended"
    DONE = "done"
    DROPPED = "dropped"
    POISONED = "poisoned"


@frozen
class AudioSpan:
    """Contiguous audio: ``len(pcm) // 2`` samples from ``sample`` on, none missing between."""

    sample: int
    pcm: bytes

    @property
    def end(self) -> int:
        """The address of the first sample after the span."""
        return self.sample + len(self.pcm) // SAMPLE_BYTES


@frozen
class UtteranceStart:
    """What is known of an utterance when it starts; written at the head of its log."""

    id: str
    """UUIDv7; also the id of its record."""
    stream: str
    start: int
    """The first sample handed over, pre-roll included."""
    started_at: datetime
    """Wall time of ``start``, UTC; set once, from the utterance's first block."""
    started_mono_ns: int
    """CLOCK_MONOTONIC at ``start``; meaningful in the same boot only."""
    continues: bool = False
    """Cut from the previous utterance at its maximum length: no pause lies between."""
    clock_unsynced: bool = False
    """The wall clock was not known to be right when ``started_at`` was read."""
    lost_before: int = 0
    """Samples known to be missing since the utterance before it (gaps while nobody spoke)."""


@frozen
class UtteranceEnd:
    """What is known of an utterance when it has ended; written at the tail of its log."""

    end: int
    """The first sample not handed over."""
    reason: EndReason
    speech_end: int
    """The end of the last speech in it: ``end`` less the hangover, for a pause."""
    speech_samples: int
    """Voiced time, as the gate judged it."""
    lost: int = 0
    """Samples known to be missing between start and end."""


@frozen
class Word:
    """One recognised word; ``start`` and ``end`` are samples of the utterance's stream."""

    text: str
    start: int
    end: int
    confidence: float | None = None


@frozen
class Part:
    """What a provider calls a final: stored once, together with ``acked_sample``."""

    utterance_id: str
    seq: int
    """0, 1, 2 … in the order of commitment."""
    start: int
    end: int
    text: str
    provider: str
    model: str | None = None
    language: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()
    item_id: str | None = None
    """The provider's own name for it, where it has one; repeats are recognised by it."""
    truncated: bool = False
    """Promoted from a partial because the provider never sent the final."""


@frozen
class Record:
    """One utterance as the sinks see it. Times are UTC; order records by ``start``."""

    id: str
    stream: str
    start: datetime
    end: datetime
    start_sample: int
    end_sample: int
    text: str
    provider: str
    node: str
    duration_ms: int
    speech_ms: int
    language: str | None = None
    confidence: float | None = None
    model: str | None = None
    latency_ms: int | None = None
    """From the end of speech to the commit; None where the two lie in different boots."""
    lost_ms: int = 0
    reconnects: int = 0
    delayed: bool = False
    truncated: bool = False
    continues: bool = False
    clock_unsynced: bool = False
    supersedes: str | None = None
    words: tuple[Word, ...] = field(default=())
