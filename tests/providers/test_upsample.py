"""16 kHz to 24 kHz without numpy: is it the same sound, and is it the same however it is cut?"""

from __future__ import annotations

import array
import math
import random
from collections.abc import Sequence

import pytest

from stt_edge.providers.upsample import Upsampler
from tests.shared_data import DATA, manifest, needs_data

QUIET_DB = -50.0


def converted(pcm: bytes, chunk: int = 1600) -> array.array[int]:
    """All of ``pcm`` at 24 kHz, fed in chunks of so many samples."""
    upsampler = Upsampler()
    made = b"".join(
        upsampler.feed(pcm[at : at + 2 * chunk]) for at in range(0, len(pcm), 2 * chunk)
    )
    return array.array("h", made + upsampler.flush())


def tones(rate: int, count: int, *frequencies: float, level: float = 16_000) -> array.array[int]:
    share = level / len(frequencies)
    return array.array(
        "h",
        [
            round(sum(share * math.sin(math.tau * f * n / rate + f) for f in frequencies))
            for n in range(count)
        ],
    )


def noise(count: int, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return array.array("h", [chance.randint(-32_768, 32_767) for _ in range(count)]).tobytes()


def power(samples: Sequence[float]) -> float:
    return sum(sample * sample for sample in samples) / len(samples)


def decibels(share: float) -> float:
    return 10 * math.log10(share)


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(map(lambda a, b: a * b, one, other)) / len(one)
    return product / math.sqrt(power(one) * power(other))


def beside(tone: Sequence[int], frequency: float) -> float:
    """Everything in ``tone`` but the frequency itself, in dB of it; the edges left out."""
    inner = range(100, len(tone) - 100)
    sines = [math.sin(math.tau * frequency * n / 24_000) for n in inner]
    cosines = [math.cos(math.tau * frequency * n / 24_000) for n in inner]
    heard = [float(tone[n]) for n in inner]
    by_sine = 2 * sum(map(lambda a, b: a * b, heard, sines)) / len(heard)
    by_cosine = 2 * sum(map(lambda a, b: a * b, heard, cosines)) / len(heard)
    rest = [x - by_sine * s - by_cosine * c for x, s, c in zip(heard, sines, cosines, strict=True)]
    return decibels(power(rest) / power(heard))


@pytest.mark.parametrize("frequency", [100, 1000, 3000, 5000, 6000, 6500, 7000])
def test_images_of_a_tone_are_50_db_down(frequency: int) -> None:
    # Whole periods in the part that is looked at, so that nothing leaks.
    tone = converted(tones(16_000, 16_000, frequency).tobytes())[: 24_000 - 24_000 % 240]
    assert beside(tone[: 200 + 23_760], frequency) < QUIET_DB


def test_it_equals_the_same_sound_sampled_at_24_khz() -> None:
    frequencies = (120, 440, 1250, 2700, 4100, 6300)
    made = converted(tones(16_000, 8000, *frequencies).tobytes())
    ideal = tones(24_000, 12_000, *frequencies)
    assert correlation(made[50:-50], ideal[50:-50]) > 0.99999
    error = [a - b for a, b in zip(made[50:-50], ideal[50:-50], strict=True)]
    assert decibels(power(error) / power(ideal)) < QUIET_DB
    assert abs(sum(error) / len(error)) < 0.2  # rounded, not cut off


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 31, 32, 33, 160, 1601])
def test_three_samples_come_out_for_two(samples: int) -> None:
    assert len(converted(noise(samples), chunk=7)) == math.ceil(samples * 1.5)


@pytest.mark.parametrize("chunk", [1, 2, 3, 17, 320, 1600])
def test_the_result_does_not_depend_on_how_the_audio_is_cut(chunk: int) -> None:
    pcm = noise(3001)
    assert converted(pcm, chunk) == converted(pcm, 3001)


def test_a_steady_level_stays_what_it_is() -> None:
    for level in (-32_768, -1, 0, 1, 4711, 32_767):
        made = converted(array.array("h", [level] * 200).tobytes())
        assert set(made[30:-30]) == {level}


def test_every_third_sample_is_one_of_the_originals() -> None:
    pcm = noise(2000)
    assert converted(pcm)[0::3] == array.array("h", pcm)[0::2]


def test_what_would_overflow_is_limited_and_does_not_wrap() -> None:
    # A square wave at full level rings beyond what 16 bits hold.
    square = array.array("h", ([32_767] * 20 + [-32_768] * 20) * 50)
    made = converted(square.tobytes())
    assert max(made) == 32_767
    assert min(made) == -32_768
    for at in range(0, len(made) - 60, 60):  # a period
        assert min(made[at + 3 : at + 26]) > 25_000
        assert max(made[at + 33 : at + 56]) < -25_000


def test_after_a_flush_it_begins_anew() -> None:
    upsampler = Upsampler()
    first = upsampler.feed(noise(500)) + upsampler.flush()
    second = upsampler.feed(noise(500)) + upsampler.flush()
    assert first == second


@needs_data
def test_speech_is_what_soxr_makes_of_it() -> None:
    soxr = pytest.importorskip("soxr", reason="soxr is not installed")
    import wave

    import numpy as np

    row = next(row for row in manifest() if row["file"].endswith(".wav"))
    with wave.open(str(DATA / row["file"])) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
        pcm = recording.readframes(5 * 16_000)
    made = np.frombuffer(converted(pcm).tobytes(), "<i2").astype(float)
    reference = soxr.resample(np.frombuffer(pcm, "<i2").astype(float), 16_000, 24_000, "VHQ")
    assert abs(len(made) - len(reference)) <= 1
    count = min(len(made), len(reference))
    assert np.corrcoef(made[:count], reference[:count])[0, 1] > 0.999
