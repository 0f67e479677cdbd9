"""How late the gate is, against samples whose positions are known.

The null sink hands over exactly the samples that were played, so the sentence is found in what the
ear hears by its bytes; when it began and ended is then known to the sample.
"""

from __future__ import annotations

import os
import select
import time
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.lib.figures import spread
from tests.pulse import SINK, PulseMicrophone

from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import Audio, Decoder, Fault, Opened, SpeechEnd, SpeechStart, Stop, StopMode
from stt_edge.model import NS_PER_SAMPLE, SAMPLE_BYTES, ms_to_samples
from stt_edge.service.ear_process import EarProcess

_FRAME: Final = ms_to_samples(10)
_LOUD: Final = 330
"""Mean absolute amplitude of a frame that is speech: about -40 dB full scale."""
_NEEDLE_BYTES: Final = 3200
_LIMIT_S: Final = 120.0


class EarError(RuntimeError):
    """The ear does not hear what was played; the message says why."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's samples, and where in them the voice begins and ends."""

    pcm: bytes
    onset: int
    end: int


@dataclass(slots=True)
class Heard:
    """One utterance as the ear handed it over."""

    start: SpeechStart
    pcm: bytes = b""
    end: SpeechEnd | None = None
    end_arrived_ns: int = 0


def measure_delays(
    environment: dict[str, str], microphone: PulseMicrophone, folder: Path
) -> dict[str, Any]:
    """Play the sentences in ``folder`` (speech.wav, sentence.wav) and return delays in ms.

    Raises EarError when the ear does not hear them.
    """
    sentence = _read_sentence(folder / "sentence.wav")
    settings = EarSettings(source=SourceSettings(device=SINK))
    ear = EarProcess(environ=environment)
    ear.begin(settings)
    try:
        opened, decoder = _await_opened(ear)
        player = microphone.start_playing(folder / "speech.wav")
        utterances = _listen(ear, decoder, player.poll)
    finally:
        ear.send(Stop(StopMode.STOP))
        ear.kill()
        ear.reap()
        ear.close()
    rows = [_row(heard, sentence) for heard in utterances]
    if not rows:
        raise EarError("the ear heard none of the sentences")
    names = rows[0].keys()
    return {
        "utterances": len(rows),
        "first_block_ms": opened.first_block_ms,
        **{name: spread([row[name] for row in rows]) for name in names},
    }


def _read_sentence(path: Path) -> Sentence:
    with wave.open(str(path)) as recording:
        pcm = recording.readframes(recording.getnframes())
    samples = array("h", pcm)
    loud = [
        start
        for start in range(0, len(samples) - _FRAME, _FRAME)
        if sum(map(abs, samples[start : start + _FRAME])) > _LOUD * _FRAME
    ]
    return Sentence(pcm, loud[0], loud[-1] + _FRAME)


def _await_opened(ear: EarProcess) -> tuple[Opened, Decoder]:
    decoder = Decoder()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for message in decoder.feed(_read(ear)):
            if isinstance(message, Opened):
                return message, decoder
            if isinstance(message, Fault):
                raise EarError(f"the ear cannot hear: {message.message}")
    raise EarError("the ear did not open the microphone within 30 s")


def _listen(ear: EarProcess, decoder: Decoder, ended: Any) -> list[Heard]:
    """Return the utterances heard until the player has ended and the last of them too."""
    heard: list[Heard] = []
    quiet_since = time.monotonic()
    deadline = quiet_since + _LIMIT_S
    while time.monotonic() < deadline:
        for message in decoder.feed(_read(ear)):
            if isinstance(message, SpeechStart):
                heard.append(Heard(message))
            elif isinstance(message, Audio):
                heard[-1].pcm += message.pcm
            elif isinstance(message, SpeechEnd):
                heard[-1].end, heard[-1].end_arrived_ns = message, time.monotonic_ns()
            elif isinstance(message, Fault):
                raise EarError(f"the ear: {message.message}")
        if ended() is None:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > 2:
            break
    return [utterance for utterance in heard if utterance.end is not None]


def _read(ear: EarProcess) -> bytes:
    readable, _, _ = select.select([ear.pipe], [], [], 0.2)
    if not readable:
        return b""
    data = os.read(ear.pipe, 1 << 16)
    if not data:
        raise EarError(f"the ear ended by itself: {_errors(ear)}")
    return data


def _errors(ear: EarProcess) -> str:
    try:
        return os.read(ear.errors, 1 << 16).decode(errors="replace").strip()
    except BlockingIOError:
        return "it says nothing"


def _row(heard: Heard, sentence: Sentence) -> dict[str, float]:
    """Return how far the gate was from the truth for one utterance, in milliseconds."""
    assert heard.end is not None
    middle = (sentence.onset + sentence.end) // 2 * SAMPLE_BYTES
    found = heard.pcm.find(sentence.pcm[middle : middle + _NEEDLE_BYTES])
    if found < 0:
        raise EarError("what the ear handed over is not what was played")
    origin = heard.start.sample + (found - middle) // SAMPLE_BYTES
    onset, end = origin + sentence.onset, origin + sentence.end

    def at_ns(sample: int) -> int:
        return heard.start.mono_ns + (sample - heard.start.sample) * NS_PER_SAMPLE

    return {
        "onset_delay_ms": (heard.start.decided_mono_ns - at_ns(onset)) / 1e6,
        "audio_before_onset_ms": (onset - heard.start.sample) * NS_PER_SAMPLE / 1e6,
        "end_delay_ms": (heard.end_arrived_ns - at_ns(end)) / 1e6,
        "speech_end_error_ms": (heard.end.speech_end - end) * NS_PER_SAMPLE / 1e6,
    }
