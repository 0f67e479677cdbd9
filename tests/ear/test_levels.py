"""Levels in decibels, the noise floor that follows them, and the histogram of an utterance."""

from __future__ import annotations

import math
from array import array

import pytest

from stt_edge.ear.floor import LevelHistogram, NoiseFloor
from stt_edge.ear.levels import SILENCE_DB, Meter, is_clipped, level_db, power

FRAME = 320


def tone(amplitude: float, hertz: float = 440, samples: int = 1600, offset: int = 0) -> bytes:
    return array(
        "h",
        (
            round(amplitude * math.sin(2 * math.pi * hertz * n / 16_000)) + offset
            for n in range(samples)
        ),
    ).tobytes()


@pytest.mark.parametrize("stride", [1, 3, 7])
def test_a_sine_at_half_scale_is_nine_decibels_down(stride: int) -> None:
    assert level_db(tone(16_384), stride) == pytest.approx(-9.03, abs=0.2)


@pytest.mark.parametrize("stride", [1, 3, 7])
@pytest.mark.parametrize("hertz", [1000, 2000, 4000, 5000])
def test_no_tone_is_lost_between_the_samples_looked_at(stride: int, hertz: float) -> None:
    # 2000 Hz less a little, so that it does not fall on zero crossings only.
    assert level_db(tone(16_384, hertz * 0.99), stride) == pytest.approx(-9.03, abs=0.6)


def test_direct_current_is_no_sound() -> None:
    assert level_db(tone(0, offset=5000)) == SILENCE_DB
    assert level_db(tone(1000, offset=5000)) == pytest.approx(level_db(tone(1000)), abs=0.1)


def test_digital_silence_and_nothing_at_all_are_as_quiet_as_it_gets() -> None:
    assert level_db(bytes(3200)) == SILENCE_DB
    assert level_db(b"") == SILENCE_DB
    assert power(b"") == 0.0


def test_the_meter_tells_the_level_of_the_last_second() -> None:
    meter = Meter()
    for _ in range(30):
        meter.add(tone(16_384), power(tone(16_384)))
    assert meter.level_db == pytest.approx(-9.03, abs=0.1)
    for _ in range(10):
        meter.add(bytes(3200), 0.0)
    assert meter.level_db == SILENCE_DB
    for _ in range(5):
        meter.add(tone(16_384), power(tone(16_384)))
    assert meter.level_db == pytest.approx(-12.04, abs=0.1)


def test_before_anything_is_heard_the_meter_is_silent() -> None:
    assert Meter().level_db == SILENCE_DB
    assert Meter().silent_s == 0.0


def test_only_exact_zeros_count_as_digital_silence() -> None:
    meter = Meter()
    for _ in range(20):
        meter.add(bytes(3200), 0.0)
    assert meter.silent_s == pytest.approx(2.0)
    steady = array("h", [7] * 1600).tobytes()  # no sound, but a microphone that is there
    meter.add(steady, power(steady))
    assert meter.silent_s == 0.0
    meter.add(bytes(640), 0.0)
    assert meter.silent_s == pytest.approx(0.02)


def test_the_floor_falls_at_once_and_rises_slowly() -> None:
    floor = NoiseFloor()
    for _ in range(200):
        floor.follow(-40, 1600)
    assert floor.db == pytest.approx(-40, abs=1)
    floor.follow(-70, 1600 * 10)
    assert floor.db < -68
    floor.follow(-40, 1600 * 10)
    assert -65 < floor.db < -55


def test_the_floor_of_digital_silence_is_finite() -> None:
    floor = NoiseFloor()
    floor.follow(SILENCE_DB, 16_000 * 60)
    assert floor.db == pytest.approx(-90)


def test_what_was_rejected_has_to_be_outdone_but_stays_audible() -> None:
    floor = NoiseFloor()
    floor.follow(-60, 16_000 * 60)
    assert floor.stands_out(-50)
    floor.reject(-40)
    assert not floor.stands_out(-40)
    assert not floor.stands_out(-38)
    assert floor.stands_out(-36)
    assert floor.is_audible(-50)


def test_a_softer_rejection_does_not_lower_the_bar() -> None:
    floor = NoiseFloor()
    floor.reject(-30)
    floor.reject(-50)
    assert not floor.stands_out(-40)


def seconds_until_heard(rejections: int) -> float:
    """Return how long the bar takes to sink from -30 dB below a sound of -40 dB."""
    floor = NoiseFloor()
    floor.follow(-60, 16_000 * 60)
    for _ in range(rejections):
        floor.reject(-30)
    frames = 0
    while not floor.stands_out(-40):
        floor.follow(-60, FRAME)
        frames += 1
    return frames * 0.02


def test_the_bar_sinks_within_a_second_and_slower_when_it_was_raised_often() -> None:
    assert seconds_until_heard(1) < 1.0
    assert seconds_until_heard(10) > 2 * seconds_until_heard(1)
    assert seconds_until_heard(1000) < 8.0


def test_a_confirmation_makes_the_bar_sink_fast_again() -> None:
    floor = NoiseFloor()
    for _ in range(50):
        floor.reject(-30)
    floor.forgive()
    floor.follow(-60, 16_000)
    assert floor.stands_out(-40)


def test_the_histogram_gives_the_level_that_a_share_lies_below() -> None:
    histogram = LevelHistogram()
    for level in range(1, 101):
        histogram.add(-float(level))
    assert histogram.percentile_db(20) == -81.5
    assert histogram.percentile_db(100) == -1.5
    assert histogram.percentile_db(0) == -100.5


def test_the_histogram_takes_levels_beyond_its_ends() -> None:
    histogram = LevelHistogram()
    assert histogram.percentile_db(20) == SILENCE_DB
    histogram.add(5.0)
    assert histogram.percentile_db(20) == -0.5
    histogram.add(-500.0)
    assert histogram.percentile_db(20) == SILENCE_DB - 0.5


def test_levels_that_hardly_differ_are_none_quieter_than_the_other() -> None:
    histogram = LevelHistogram()
    levels = [-20.2, -20.1, -19.9, -19.8]
    for level in levels:
        histogram.add(level)
    assert min(levels) > histogram.percentile_db(20)


@pytest.mark.parametrize("peak", [32_767, -32_768])
def test_samples_at_full_scale_are_clipped_whichever_way(peak: int) -> None:
    quiet = tone(20_000)
    assert not is_clipped(quiet)
    assert is_clipped(quiet + array("h", [peak] * 3).tobytes())


def test_the_meter_counts_the_blocks_of_the_last_minute_that_are_clipped() -> None:
    meter = Meter()
    loud, quiet = array("h", [32_767, -32_768] * 800).tobytes(), tone(300)

    def hear(block: bytes, times: int) -> None:
        for _ in range(times):
            meter.add(block, power(block, 7))

    hear(quiet, 10)
    assert meter.clipped_ms == 0
    hear(loud, 4)
    hear(quiet, 595)
    assert meter.clipped_ms == 400
    hear(quiet, 3)
    assert meter.clipped_ms == 200
    hear(quiet, 2)
    assert meter.clipped_ms == 0


def test_a_block_too_quiet_to_be_clipped_is_not_looked_at_for_it() -> None:
    meter = Meter()
    meter.add(array("h", [32_767] * 1600).tobytes(), 1.0)
    assert meter.clipped_ms == 0
