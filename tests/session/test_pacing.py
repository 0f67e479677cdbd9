"""How fast audio goes out, and in what pieces."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.model import SAMPLE_RATE, AudioSpan
from stt_edge.providers.base import Capabilities, Pacing
from stt_edge.session.pacing import TokenBucket, cut, pcm_of, samples_of

CAPABILITIES = Capabilities(chunk_ms=100, chunk_min_ms=50, chunk_max_ms=1000)


def spans(*lengths: int, gap: int = 1000) -> list[AudioSpan]:
    """Spans with a gap between them, no two samples alike."""
    made, at, value = [], 0, 0
    for length in lengths:
        pcm = b"".join((value + n).to_bytes(2, "little") for n in range(length))
        made.append(AudioSpan(at, pcm))
        at, value = at + length + gap, value + length
    return made


@given(
    rate=st.floats(1.0, 4.0), burst_s=st.floats(0.0, 3.0), chunks=st.lists(st.integers(1, 16_000))
)
def test_no_more_goes_out_than_rate_and_burst_allow(
    rate: float, burst_s: float, chunks: list[int]
) -> None:
    now_s = 100.0
    bucket = TokenBucket(Pacing(rate, burst_s), now_s)
    sent_s = 0.0
    for samples in chunks:
        now_s += bucket.wait_s(now_s)
        assert sent_s <= burst_s + rate * (now_s - 100.0) + 1e-6  # before this chunk
        bucket.take(samples, now_s)
        sent_s += samples / SAMPLE_RATE


def test_live_speech_never_waits() -> None:
    bucket = TokenBucket(Pacing(1.0, 0.0), 0.0)
    for at in range(1, 100):
        assert bucket.wait_s(at * 0.1) == pytest.approx(0.0)
        bucket.take(1600, at * 0.1)


def test_without_a_rate_there_is_nothing_to_wait_for() -> None:
    bucket = TokenBucket(Pacing(), 0.0)
    bucket.take(10_000_000, 0.0)
    assert bucket.wait_s(0.0) == 0.0


def test_time_without_audio_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(Pacing(1.0, 0.5), 0.0)
    bucket.take(24_000, 1000.0)
    assert bucket.wait_s(1000.0) == pytest.approx(1.0)


@given(st.lists(st.integers(1, 5000), max_size=8), st.booleans())
def test_chunks_are_the_audio_in_order_and_each_of_a_size_that_is_taken(
    lengths: list[int], whole: bool
) -> None:
    made = spans(*lengths)
    chunks = list(cut(made, CAPABILITIES, whole=whole))
    sent = b"".join(map(pcm_of, chunks))
    everything = b"".join(span.pcm for span in made)
    assert everything.startswith(sent)
    assert (len(sent) == len(everything)) if whole else (len(everything) - len(sent) < 3200)
    for chunk in chunks[:-1]:
        assert samples_of(chunk) == 1600
    if chunks:
        last = samples_of(chunks[-1])
        assert last == 1600 or (whole and last < 1600 + 800)
        assert last >= 800 or len(everything) < 1600 or last == len(everything) // 2
    positions = [(span.sample, len(span.pcm)) for chunk in chunks for span in chunk]
    assert positions == sorted(positions)


def test_a_chunk_runs_across_a_gap_and_says_where_each_piece_was() -> None:
    (first, second) = cut(spans(1000, 2200), CAPABILITIES, whole=False)
    assert [(span.sample, span.end) for span in first] == [(0, 1000), (2000, 2600)]
    assert [(span.sample, span.end) for span in second] == [(2600, 4200)]


def test_a_short_tail_goes_with_the_chunk_before_it() -> None:
    (only,) = cut(spans(1600 + 320), CAPABILITIES, whole=True)
    assert samples_of(only) == 1920


def test_a_short_tail_stays_alone_where_the_two_were_too_long() -> None:
    narrow = replace(CAPABILITIES, chunk_max_ms=100)
    sizes = [samples_of(chunk) for chunk in cut(spans(1600 + 320), narrow, whole=True)]
    assert sizes == [1600, 320]
