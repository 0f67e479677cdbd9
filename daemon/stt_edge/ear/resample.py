"""Our own sample rate conversion, for devices that ALSA's plug layer cannot bring to 16 kHz."""

from __future__ import annotations

from stt_edge.errors import DeviceError, FaultKind
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_RATE


class Resampler:
    """A stream of mono s16le at any rate in, the same at 16 kHz out (soxr, extra ``resample``)."""

    def __init__(self, rate: int) -> None:
        """Convert from ``rate`` hertz. Raises DeviceError when soxr is not installed."""
        try:
            import numpy as np
            import soxr
        except ImportError as error:
            raise DeviceError(
                FaultKind.FORMAT,
                f"The device has no 16 kHz, and to convert its {rate} Hz soxr is missing.",
                f"Install it with: {install_command('resample')}",
            ) from error
        self._from_bytes = np.frombuffer
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16", quality="HQ")

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        """Return the samples that are ready; ``last`` brings out the rest."""
        converted = self._stream.resample_chunk(self._from_bytes(pcm, dtype="<i2"), last=last)
        data: bytes = converted.tobytes()
        return data
