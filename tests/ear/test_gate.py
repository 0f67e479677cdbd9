"""The gate by itself: when it opens, when it closes, and what it never does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_edge.ear.frame import Verdict
from stt_edge.ear.gate import Start
from stt_edge.ear.wire import GateSettings, Onset, SpeechEnd
from stt_edge.model import EndReason
from tests.ear.gating import LOUD_DB, NO, QUIET_DB, UNSURE, YES, Room, ms, pairs

SHORT = GateSettings(max_utterance_s=10.0)
"""An utterance may be cut from 5 s on, and is at 10 s."""


# Opening


def test_speech_after_silence_starts_with_its_pre_roll() -> None:
    room = Room()
    room.silence(1000)
    room.speech(200)
    assert room.starts == [Start(ms(1000 - 400))]


def test_a_hint_comes_first_and_names_the_first_voiced_frame() -> None:
    room = Room()
    room.silence(1000)
    onset, start = room.speech(200)
    assert onset == Onset(ms(1000))
    assert isinstance(start, Start)


def test_nothing_starts_before_min_speech_of_voiced_time() -> None:
    room = Room(GateSettings(min_speech_ms=120))
    room.silence(1000)
    assert room.speech(100) == []
    assert room.starts == []
    assert [type(event) for event in room.speech(20)] == [Onset, Start]


@pytest.mark.parametrize("min_speech_ms", [20, 50, 120, 500, 2000])
def test_any_min_speech_is_kept_to_and_nothing_of_it_is_lost(min_speech_ms: int) -> None:
    room = Room(GateSettings(min_speech_ms=min_speech_ms, pre_roll_ms=200))
    room.silence(5000)
    heard_ms = 0
    while not room.starts:
        room.speech(20)
        heard_ms += 20
    assert min_speech_ms <= heard_ms < min_speech_ms + 20
    assert room.starts[0].sample == ms(4800)


def test_scattered_clicks_are_no_speech() -> None:
    room = Room()
    room.silence(1000)
    for _ in range(50):
        room.speech(20)
        room.silence(80)
    assert room.events == []


def test_the_second_stage_has_to_confirm_before_anything_starts() -> None:
    room = Room()
    room.silence(1000)
    room.speech(300, verdict=UNSURE)
    assert [type(event) for event in room.events] == [Onset]
    room.speech(20)
    assert room.starts == [Start(ms(600))]


def test_without_a_second_stage_the_first_is_enough() -> None:
    room = Room()
    room.silence(1000)
    room.speech(120, verdict=None)
    assert room.starts == [Start(ms(600))]


def test_the_breath_before_a_word_belongs_to_it() -> None:
    room = Room()
    room.silence(3000)
    room.speech(200, level_db=-45, verdict=NO)  # rejected: a breath
    room.silence(200)
    room.speech(300)
    assert len(room.rejections) >= 1
    assert room.starts == [Start(ms(3000 - 400))]


def test_a_start_looks_back_no_more_than_a_second_and_the_pre_roll() -> None:
    room = Room()
    room.silence(1000)
    room.speech(900, verdict=UNSURE)
    room.speech(60, verdict=UNSURE)
    room.noise(5000)
    room.speech(1000, level_db=-10)
    assert room.starts
    assert room.starts[0].sample >= ms(6960 + 120 - 1000 - 400)


def test_pre_roll_does_not_reach_before_the_stream() -> None:
    room = Room(sample=48_000)
    room.speech(200)
    assert room.starts == [Start(48_000)]


def test_pre_roll_does_not_reach_into_the_utterance_before() -> None:
    room = Room(GateSettings(hangover_ms=300, pre_roll_ms=1000))
    room.silence(2000)
    room.speech(500)
    room.silence(500)
    room.speech(500)
    first, second = room.starts
    assert room.ends[0].sample == ms(2800)
    assert (first.sample, second.sample) == (ms(1000), ms(2800))


def test_pre_roll_does_not_reach_across_a_gap() -> None:
    room = Room()
    room.silence(1000)
    room.gap(40)
    room.silence(100)
    room.speech(200)
    assert room.starts == [Start(ms(1040))]


def test_speech_that_a_gap_cut_in_two_before_it_was_confirmed_starts_after_the_gap() -> None:
    room = Room()
    room.silence(1000)
    room.speech(200, verdict=UNSURE)
    room.gap(20)
    room.speech(200)
    assert room.starts == [Start(ms(1220))]


# Closing


def test_a_pause_of_the_hangover_ends_the_utterance() -> None:
    room = Room(GateSettings(hangover_ms=600))
    room.silence(1000)
    room.speech(1000)
    assert room.silence(580) == []
    (end,) = room.silence(20)
    assert end == SpeechEnd(ms(2600), EndReason.SILENCE, ms(2000), ms(1000))


def test_a_shorter_pause_does_not() -> None:
    room = Room()
    room.silence(1000)
    for _ in range(5):
        room.speech(500)
        room.silence(580)
    assert len(room.starts) == 1
    assert room.ends == []
    room.silence(20)
    assert room.ends[0].speech_samples == ms(2500)


def test_a_fan_that_starts_while_somebody_speaks_does_not_hold_the_gate_open() -> None:
    room = Room()
    room.silence(1000)
    room.speech(1000)
    room.noise(620)
    assert [end.reason for end in room.ends] == [EndReason.SILENCE]
    assert room.ends[0].speech_end == ms(2000)


def test_an_echo_that_only_the_second_stage_hears_does_not_hold_it_open() -> None:
    room = Room()
    room.silence(1000)
    room.speech(1000)
    room.silence(600, verdict=YES)
    assert room.ends[0].speech_end == ms(2000)


def test_without_a_second_stage_a_steady_fan_does_not_hold_it_open_either() -> None:
    room = Room()
    room.silence(5000)
    for _ in range(20):
        room.hear(1000, voiced=True, level_db=-30, verdict=None)
    assert [end.reason for end in room.ends] == [EndReason.SILENCE]
    assert room.ends[0].sample < ms(6000)
    assert room.gate.is_idle


def test_finish_ends_what_is_open_with_the_reason_given() -> None:
    room = Room()
    room.silence(1000)
    room.speech(1000)
    assert room.finish(EndReason.MUTE) == [SpeechEnd(ms(2000), EndReason.MUTE, ms(2000), ms(1000))]
    assert room.finish(EndReason.MUTE) == []


def test_finish_says_nothing_when_nothing_is_open() -> None:
    room = Room()
    room.silence(1000)
    room.speech(200, verdict=UNSURE)
    assert room.finish() == []


def test_a_gap_longer_than_the_hangover_ends_the_utterance() -> None:
    room = Room(GateSettings(hangover_ms=600))
    room.silence(1000)
    room.speech(1000)
    (end,) = room.gap(601)
    assert end == SpeechEnd(ms(2000), EndReason.GAP, ms(2000), ms(1000))
    room.speech(200)
    assert room.starts[-1] == Start(ms(2601))


def test_a_shorter_gap_is_part_of_the_utterance() -> None:
    room = Room(GateSettings(hangover_ms=600))
    room.silence(1000)
    room.speech(1000)
    assert room.gap(600) == []
    room.speech(1000)
    room.silence(600)
    (start,) = room.starts
    assert start.sample == ms(600)
    assert room.ends == [SpeechEnd(ms(4200), EndReason.SILENCE, ms(3600), ms(2000))]


# Utterances that grow too long


def test_an_utterance_is_cut_at_a_quiet_moment_once_it_is_nearly_too_long() -> None:
    room = Room(SHORT)
    for _ in range(40):  # quiet for a tenth of the time, 60 ms each
        room.speech(540)
        room.speech(60, level_db=-30)
        if room.ends:
            break
    start, end = pairs(room.events)[0]
    assert end.reason is EndReason.MAX_LENGTH
    assert ms(5000) <= end.sample - start.sample <= ms(5600)
    assert end.sample % ms(600) == 0, "cut where the quiet moment ended"


def test_it_is_cut_at_the_maximum_when_there_is_no_quiet_moment() -> None:
    room = Room(SHORT)
    room.speech(30_000)
    ends = room.ends
    assert [end.sample for end in ends] == [ms(10_000), ms(20_000), ms(30_000)]
    assert {end.reason for end in ends} == {EndReason.MAX_LENGTH}


def test_a_moment_is_quiet_only_when_all_of_60_ms_is() -> None:
    room = Room(SHORT)
    while not room.ends:
        room.speech(560)
        room.speech(40, level_db=-30)
    assert room.ends[0].sample == ms(10_000)


def test_what_was_cut_goes_on_at_the_very_next_sample_without_pre_roll() -> None:
    room = Room(SHORT)
    room.speech(11_000)
    first, second = room.starts
    assert not first.continues
    assert second == Start(room.ends[0].sample, continues=True)


def test_the_second_stage_has_to_confirm_afresh_that_it_goes_on() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    assert len(room.ends) == 1
    room.speech(200, verdict=UNSURE)
    assert len(room.starts) == 1
    room.speech(20)
    assert room.starts[-1] == Start(ms(10_000), continues=True)


def test_noise_after_a_cut_opens_nothing() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    room.noise(5000)
    assert len(room.starts) == len(room.ends) == 1
    assert room.gate.is_idle


def test_silence_after_a_cut_is_neither_opened_nor_called_rejected() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    room.silence(1000)
    assert room.events[-1] == room.ends[0]
    assert room.gate.is_idle


def test_the_last_syllable_after_a_cut_does_not_raise_the_bar() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    room.speech(60, verdict=UNSURE)
    room.silence(600)
    assert [rejected.clear for rejected in room.rejections] == [False]
    room.speech(200)
    assert len(room.starts) == 2


def test_after_a_cut_and_a_pause_pre_roll_reaches_back_to_the_cut_at_most() -> None:
    room = Room(GateSettings(max_utterance_s=10.0, pre_roll_ms=3000))
    room.speech(10_000)
    room.silence(1000)
    room.speech(300)
    assert room.starts[-1] == Start(ms(10_000))


def test_a_stop_right_after_a_cut_still_hands_over_what_was_voiced() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    room.speech(60, verdict=UNSURE)
    assert room.finish() == [
        Start(ms(10_000), continues=True),
        SpeechEnd(ms(10_060), EndReason.STOP, ms(10_060), ms(60)),
    ]


def test_a_gap_right_after_a_cut_does_so_too() -> None:
    room = Room(SHORT)
    room.speech(10_000)
    room.speech(60, verdict=UNSURE)
    start, end = room.gap(40)
    assert start == Start(ms(10_000), continues=True)
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (ms(10_060), EndReason.GAP)


# Settings


def test_settings_change_at_the_next_start() -> None:
    room = Room(GateSettings(hangover_ms=600, pre_roll_ms=400))
    room.silence(1000)
    room.speech(500)
    room.gate.update(GateSettings(hangover_ms=200, pre_roll_ms=100))
    assert room.silence(580) == []
    room.silence(1020)
    room.speech(500)
    room.silence(200)
    assert [(start.sample, end.sample) for start, end in pairs(room.events)] == [
        (ms(600), ms(2100)),
        (ms(3000), ms(3800)),
    ]


def test_settings_given_while_nothing_is_open_hold_at_once() -> None:
    room = Room()
    room.silence(1000)
    room.gate.update(GateSettings(pre_roll_ms=0))
    room.speech(200)
    assert room.starts == [Start(ms(1000))]


# Whatever is heard

HEARD = Verdict(confirmed=False, heard=True, hopeless=False)


@dataclass(frozen=True)
class Sound:
    frames: int
    voiced: bool
    level_db: float
    verdict: Verdict


@dataclass(frozen=True)
class Missing:
    samples: int


SOUNDS = st.builds(
    Sound,
    frames=st.sampled_from([1, 3, 9, 30, 150]),
    voiced=st.sampled_from([True, True, False]),
    level_db=st.sampled_from([LOUD_DB, -40.0, QUIET_DB]),
    verdict=st.sampled_from([YES, YES, YES, HEARD, UNSURE, NO]),
)
HASTY = GateSettings(max_utterance_s=6.0, pre_roll_ms=1000, hangover_ms=200)
GAPS = st.builds(Missing, st.sampled_from([1, 320, 3200, 3201, 50_000]))
STRETCHES = st.one_of(SOUNDS, SOUNDS, SOUNDS, SOUNDS, SOUNDS, GAPS, st.just(HASTY))


@settings(max_examples=200)
@given(st.lists(STRETCHES, min_size=20, max_size=60), st.booleans())
def test_utterances_never_overlap_and_nothing_is_taken_back(
    stretches: list[Sound | Missing | GateSettings], second_stage: bool
) -> None:
    room = Room(GateSettings(max_utterance_s=6.0, hangover_ms=400))
    gaps_end = 0
    for stretch in stretches:
        if isinstance(stretch, GateSettings):
            room.gate.update(stretch)
        elif isinstance(stretch, Missing):
            here = room.now
            for event in room.gap(stretch.samples / 16):
                assert isinstance(event, Start) or event.sample == here
            gaps_end = room.now
        else:
            verdict = stretch.verdict if second_stage else None
            for _ in range(stretch.frames):
                for event in room.hear(
                    20, voiced=stretch.voiced, level_db=stretch.level_db, verdict=verdict
                ):
                    if isinstance(event, Start):
                        assert verdict in (None, YES)
                        assert event.sample >= gaps_end
                    elif isinstance(event, SpeechEnd):
                        assert event.sample == room.now, "all that was handed over, and no more"
    room.finish()
    assert len(room.starts) == len(room.ends)
    before: SpeechEnd | None = None
    for start, end in pairs(room.events):
        assert start.sample < end.speech_end <= end.sample
        assert 0 < end.speech_samples <= end.sample - start.sample
        if before is not None:
            assert start.sample >= before.sample
        if start.continues:
            assert before is not None
            assert before.reason is EndReason.MAX_LENGTH
            assert start.sample == before.sample
        before = end
