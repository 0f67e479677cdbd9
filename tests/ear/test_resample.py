"""Our own sample rate conversion: what would alias is gone, what is speech is left."""

from __future__ import annotations

import math
import sys
from array import array

import pytest

from stt_edge.ear.levels import level_db
from stt_edge.ear.resample import Resampler
from stt_edge.errors import DeviceError, FaultKind

RATES = [44_100, 48_000, 96_000]


def tone(frequency: int, rate: int, seconds: float = 1.0) -> bytes:
    step = 2 * math.pi * frequency / rate
    return array(
        "h", [round(29_000 * math.sin(step * n)) for n in range(round(rate * seconds))]
    ).tobytes()


def converted(pcm: bytes, rate: int) -> bytes:
    """The whole conversion, block by block as a device delivers."""
    pytest.importorskip("soxr")
    resampler = Resampler(rate)
    block = rate // 10 * 2
    parts = [resampler.feed(pcm[at : at + block]) for at in range(0, len(pcm), block)]
    return b"".join([*parts, resampler.feed(b"", last=True)])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", [9_000, 10_500, 12_000, 13_500, 15_000])
def test_tones_above_what_16_khz_can_carry_are_50_db_down(rate: int, frequency: int) -> None:
    source = tone(frequency, rate)
    steady = converted(source, rate)[3200:-3200]
    assert level_db(steady) < level_db(source) - 50


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", [200, 1_000, 4_000, 7_000])
def test_tones_of_speech_pass_unchanged(rate: int, frequency: int) -> None:
    source = tone(frequency, rate)
    steady = converted(source, rate)[3200:-3200]
    assert level_db(steady) == pytest.approx(level_db(source), abs=0.3)


@pytest.mark.parametrize("rate", RATES)
def test_no_sample_is_added_or_lost(rate: int) -> None:
    assert len(converted(tone(1000, rate, 3.0), rate)) // 2 == pytest.approx(48_000, abs=1)


def test_how_it_is_cut_makes_no_difference() -> None:
    pytest.importorskip("soxr")
    source = tone(1000, 48_000)
    resampler, at, parts = Resampler(48_000), 0, []
    for size in [2, 4, 6000, 14, 9998] * 20:
        parts.append(resampler.feed(source[at : at + size]))
        at += size
    parts.append(resampler.feed(source[at:], last=True))
    pieces, whole = array("h", b"".join(parts)), array("h", converted(source, 48_000))
    assert len(pieces) == len(whole)
    assert max(abs(one - other) for one, other in zip(pieces, whole, strict=True)) <= 2  # dither


def test_without_soxr_the_fault_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(DeviceError) as caught:
        Resampler(48_000)
    assert caught.value.kind is FaultKind.FORMAT
    assert "stt-edge[resample]" in caught.value.remedy
