"""The gate and noise: what is asked about, how often, and what is forgotten again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stt_edge.ear.gate import Rejected
from stt_edge.ear.wire import GateSettings
from tests.ear.gating import LOUD_DB, NO, UNSURE, Room, ms


def test_noise_that_goes_on_is_asked_about_less_and_less() -> None:
    room = Room()
    room.silence(1000)
    room.noise(60_000)
    assert room.starts == []
    asked_s = [onset.sample / 16_000 for onset in room.onsets]
    pauses = [b - a for a, b in pairwise(asked_s)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 3
    assert 15 < pauses[-1] < 17
    assert room.gate.noise_db == pytest.approx(LOUD_DB, abs=1)


def test_speech_over_rejected_noise_is_asked_about_at_once() -> None:
    room = Room()
    room.silence(1000)
    room.noise(10_000)
    before = room.now
    room.speech(200, level_db=LOUD_DB + 6)
    assert len(room.starts) == 1
    assert room.starts[0].sample >= before - ms(1400)


def test_speech_no_louder_than_rejected_noise_is_found_by_asking_again() -> None:
    room = Room()
    room.silence(1000)
    room.noise(10_000)
    room.speech(16_500)
    assert len(room.starts) == 1


def test_a_moment_after_a_bang_soft_speech_is_heard_again() -> None:
    room = Room()
    room.silence(5000)
    room.noise(200, level_db=-5)
    assert len(room.rejections) >= 1
    room.silence(1500)
    room.speech(300, level_db=-35)
    assert len(room.starts) == 1


def test_a_question_is_dropped_when_the_sound_is_over() -> None:
    room = Room()
    room.silence(1000)
    room.speech(140, verdict=UNSURE)
    assert room.rejections == []
    room.silence(200, verdict=UNSURE)
    assert [rejected.clear for rejected in room.rejections] == [False]
    assert room.gate.is_idle


def test_a_question_is_dropped_when_a_second_brought_no_answer() -> None:
    room = Room()
    room.silence(1000)
    room.speech(1100, verdict=UNSURE)
    assert not room.gate.is_idle
    room.speech(40, verdict=UNSURE)
    assert len(room.rejections) == 1


def test_only_a_clear_no_raises_the_bar() -> None:
    for verdict, expected in ((UNSURE, 1), (NO, 0)):
        room = Room()
        room.silence(5000)
        room.speech(1200, verdict=verdict)
        room.speech(200)
        assert len(room.starts) == expected, verdict


def test_a_rejection_says_where_and_how_loud() -> None:
    room = Room()
    room.silence(1000)
    room.noise(200, level_db=-33)
    assert room.rejections[0] == Rejected(ms(1000), ms(1120), -33.0, clear=True)


def test_voice_at_the_noise_floor_is_not_worth_a_question() -> None:
    room = Room()
    room.hear(20_000, voiced=False, level_db=-40, verdict=NO)
    room.speech(2000, level_db=-38)
    assert room.events == []
    room.speech(200, level_db=-30)
    assert len(room.starts) == 1


def pauses_between_questions(room: Room) -> list[float]:
    return [(b.sample - a.sample) / 16_000 for a, b in pairwise(room.onsets)]


def test_after_two_seconds_without_a_voice_rejections_are_forgotten() -> None:
    room = Room()
    room.silence(1000)
    room.noise(40_000)
    assert pauses_between_questions(room)[-1] > 15
    room.silence(2000)
    room.events.clear()
    room.noise(10_000)
    assert pauses_between_questions(room)[0] < 3


def test_after_an_utterance_rejections_are_forgotten() -> None:
    room = Room()
    room.silence(1000)
    room.noise(40_000)
    room.speech(500, level_db=-10)
    room.noise(600)
    assert len(room.ends) == 1
    room.events.clear()
    room.noise(20_000, level_db=-12)
    assert pauses_between_questions(room)[0] < 3


def test_the_second_stage_is_never_asked_about_more_than_half_a_second_and_its_context() -> None:
    room = Room(GateSettings(min_speech_ms=2000))
    room.silence(5000)
    room.speech(2000, verdict=UNSURE)
    assert not room.gate.is_idle
    assert room.gate.question_from == room.now - ms(480 + 128)


def test_voice_of_the_utterance_before_does_not_count_for_the_next() -> None:
    room = Room(GateSettings(min_speech_ms=500, hangover_ms=200))
    room.silence(1000)
    room.speech(1000)
    room.silence(200)
    assert len(room.ends) == 1
    assert room.speech(480) == []
    assert len(room.speech(20)) == 2
