"""``python -m stt_edge.ear.golden MODE CONFIRM``: whether both stages judge as they should.

They are given two seconds that were computed, not recorded: a voice without words (five vowels a
second, 120 Hz, three formants) and white noise. A VAD that is fed wrongly fails without an error;
a wrong verdict is how it shows.
"""

from __future__ import annotations

import array
import json
import math
import random
import sys
from dataclasses import asdict
from typing import Final

from stt_edge.ear.frame import FRAME_BYTES
from stt_edge.ear.vad import (
    FirstStage,
    SecondStage,
    SileroModel,
    TooSlowError,
    wants_second_stage,
)
from stt_edge.errors import UnavailableError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE

LEAST_VOICED: Final = 0.8
"""What part of the voice the first stage must take for speech, and not of the noise."""
MOST_VOICED: Final = 0.3

_SECONDS: Final = 2
_PITCH_HZ: Final = 120
_SYLLABLES_HZ: Final = 5
_VOWELS_HZ: Final = ((730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (530, 1840, 2480))
_WIDTHS_HZ: Final = (80, 100, 140)
_PEAK: Final = 9000


@frozen
class Golden:
    """What both stages made of the two signals."""

    voice_share: float
    """The part of the voice's frames that the first stage took for speech; so is the next."""
    noise_share: float
    voice_confirmed: bool | None
    """What the second stage said of the voice; None where it is not used."""
    noise_confirmed: bool | None
    slow: str = ""
    """Why ``auto`` does without the second stage on this processor."""
    problem: str = ""
    """Why the second stage cannot be used, though it is asked for."""

    @property
    def is_right(self) -> bool:
        """Whether the verdicts are those of a VAD that works."""
        first = self.voice_share >= LEAST_VOICED and self.noise_share <= MOST_VOICED
        second = self.voice_confirmed is not False and not self.noise_confirmed
        return first and second and not self.problem


def judge(aggressiveness: int, confirm: str) -> Golden:
    """Let both stages judge both signals, as ``vad:`` of the configuration sets them."""
    voice, noise = synthetic_voice(), synthetic_noise()
    shares = [_share(aggressiveness, pcm) for pcm in (voice, noise)]
    try:
        if not wants_second_stage(confirm):
            return Golden(shares[0], shares[1], None, None)
        stage = SecondStage(SileroModel(), must_keep_up=confirm == "auto")
        return Golden(shares[0], shares[1], _confirms(stage, voice), _confirms(stage, noise))
    except UnavailableError as error:
        return Golden(shares[0], shares[1], None, None, problem=str(error))
    except TooSlowError as error:
        return Golden(shares[0], shares[1], None, None, slow=str(error))


def synthetic_voice() -> bytes:
    """Return the voice: 16 kHz mono s16le."""
    breath = random.Random(1)  # noqa: S311  the same noise every time
    states = [[0.0, 0.0] for _ in _WIDTHS_HZ]
    samples, phase = [], 0.0
    for number in range(_SECONDS * SAMPLE_RATE):
        at_s = number / SAMPLE_RATE
        syllable, within = divmod(at_s * _SYLLABLES_HZ, 1.0)
        phase += _PITCH_HZ * (1 + 0.15 * math.sin(4.4 * at_s)) / SAMPLE_RATE
        pulse, phase = phase // 1.0, phase % 1.0
        value = pulse + 0.02 * (breath.random() - 0.5)
        for state, formant_hz, width_hz in zip(
            states, _formants(int(syllable), within), _WIDTHS_HZ, strict=True
        ):
            value = _resonate(state, value, formant_hz, width_hz)
        samples.append(value * (0.15 + 0.85 * math.sin(math.pi * within) ** 2))
    scale = _PEAK / max(map(abs, samples))
    return array.array("h", [int(scale * value) for value in samples]).tobytes()


def synthetic_noise() -> bytes:
    """Return white noise: 16 kHz mono s16le."""
    source = random.Random(2)  # noqa: S311  the same noise every time
    count = _SECONDS * SAMPLE_RATE
    return array.array("h", [int(source.gauss(0, 300)) for _ in range(count)]).tobytes()


def _formants(syllable: int, within: float) -> list[float]:
    """Return the formants of a vowel, which turn into those of the next towards its end."""
    here, there = (_VOWELS_HZ[(syllable + step) % len(_VOWELS_HZ)] for step in (0, 1))
    turned = max(0.0, (within - 0.6) / 0.4)
    return [a + (b - a) * turned for a, b in zip(here, there, strict=True)]


def _resonate(state: list[float], value: float, formant_hz: float, width_hz: float) -> float:
    radius = math.exp(-math.pi * width_hz / SAMPLE_RATE)
    turn = 2 * radius * math.cos(2 * math.pi * formant_hz / SAMPLE_RATE)
    value = (1 - turn + radius**2) * value + turn * state[0] - radius**2 * state[1]
    state[1], state[0] = state[0], value
    return value


def _share(aggressiveness: int, pcm: bytes) -> float:
    stage = FirstStage(aggressiveness)
    frames = range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)
    voiced = [stage.voiced(pcm[at : at + FRAME_BYTES]) for at in frames]
    return round(sum(voiced) / len(voiced), 3)


def _confirms(stage: SecondStage, pcm: bytes) -> bool:
    """Return whether the second stage ever confirms speech in a signal."""
    stage.restart()
    confirmed = False
    for at in range(0, len(pcm), FRAME_BYTES):
        stage.feed(pcm[at : at + FRAME_BYTES])
        confirmed = confirmed or stage.verdict.confirmed
    return confirmed


if __name__ == "__main__":
    found = judge(int(sys.argv[1]), sys.argv[2])
    print(json.dumps(asdict(found) | {"is_right": found.is_right}))
