"""The nouns: conversions that do not drift, intervals, and what truncates."""

from __future__ import annotations

from dataclasses import is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge import model
from stt_edge.model import (
    NS_PER_SAMPLE,
    SAMPLE_RATE,
    AudioSpan,
    EndReason,
    ms_to_samples,
    samples_to_ms,
    samples_to_s,
)


@given(st.integers(0, 10**12))
def test_milliseconds_survive_the_way_to_samples_and_back(milliseconds: int) -> None:
    assert samples_to_ms(ms_to_samples(milliseconds)) == milliseconds


def test_a_sample_lasts_a_whole_number_of_nanoseconds() -> None:
    assert NS_PER_SAMPLE * SAMPLE_RATE == 1_000_000_000


@pytest.mark.parametrize(
    ("milliseconds", "samples"), [(0, 0), (20, 320), (100, 1600), (0.0625, 1), (32, 512)]
)
def test_milliseconds_are_samples(milliseconds: float, samples: int) -> None:
    assert ms_to_samples(milliseconds) == samples


def test_seconds_are_exact_to_the_sample() -> None:
    assert samples_to_s(16_001) == 1.0000625


def test_a_span_ends_where_the_next_begins() -> None:
    assert AudioSpan(100, bytes(6)).end == 103
    assert AudioSpan(100, b"").end == 100


def test_only_losing_the_sound_cuts_the_speaker_off() -> None:
    truncating = {reason for reason in EndReason if reason.truncates}
    assert truncating == {EndReason.DEVICE, EndReason.GAP, EndReason.CRASH}


def test_everything_that_moves_between_modules_is_frozen_and_slotted() -> None:
    kinds = [kind for kind in vars(model).values() if is_dataclass(kind)]
    assert len(kinds) >= 6
    for kind in kinds:
        assert hasattr(kind, "__compared__"), kind
        assert "__slots__" in vars(kind), kind
