"""PortAudio, through sounddevice: blocking reads of a device named as ALSA names it.

PortAudio looks at every device there is when it is initialised, which opens them all and loads
whatever their plug-ins need (13 MB here, and a card in use is left out of its list). So it is
shown a configuration without any, and asked for the device by its ALSA name afterwards.

Importing this module initialises PortAudio. Never pass a callback: it is memory that is writable
and executable, which the service is not allowed (MemoryDenyWriteExecute).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CONFIG_VARIABLE: Final = "ALSA_CONFIG_PATH"
# PortAudio 19.6 asserts that a list it has gone through is not empty.
_NO_DEVICES: Final = b"pcm.none { type none }\n"


@contextmanager
def _no_devices() -> Iterator[None]:
    """Let libasound read a configuration that has no devices."""
    before = os.environ.get(_CONFIG_VARIABLE)
    config = os.memfd_create("asound.conf")
    try:
        os.write(config, _NO_DEVICES)
        os.environ[_CONFIG_VARIABLE] = f"/proc/self/fd/{config}"
        yield
    finally:
        os.close(config)
        if before is None:
            del os.environ[_CONFIG_VARIABLE]
        else:
            os.environ[_CONFIG_VARIABLE] = before


os.environ.setdefault("JACK_NO_START_SERVER", "1")
with _no_devices():
    import sounddevice

from sounddevice import PortAudioError  # noqa: E402

__all__ = ["AlsaStream", "PortAudioError"]

_ALSA: Final = 8
"""PaHostApiTypeId paALSA."""
_BY_NAME: Final = -2
"""paUseHostApiSpecificDeviceSpecification."""
_STREAM_INFO: Final = struct.Struct("@LiLP")
"""PaAlsaStreamInfo: size, host API type, version 1, name of the device."""

_ffi = sounddevice._ffi  # noqa: SLF001
_lib = sounddevice._lib  # noqa: SLF001


class AlsaStream(sounddevice.RawInputStream):  # type: ignore[misc]
    """A RawInputStream, s16le and without a callback, on a device named as ALSA names it.

    ``start``, ``read(frames)`` (data, overflowed) and ``close`` are sounddevice's own.
    """

    def __init__(
        self, pcm: str, *, rate: int, channels: int, block_frames: int, latency_s: float
    ) -> None:
        """Open the device; ``rate`` in hertz. Raises PortAudioError."""
        name = _ffi.new("char[]", pcm.encode())
        info = _ffi.new("char[]", _STREAM_INFO.size)
        address = int(_ffi.cast("uintptr_t", name))
        _ffi.memmove(info, _STREAM_INFO.pack(_STREAM_INFO.size, _ALSA, 1, address), len(info))
        parameters = _ffi.new(
            "PaStreamParameters*", (_BY_NAME, channels, _lib.paInt16, latency_s, info)
        )
        opened = _ffi.new("PaStream**")
        no_callback = _ffi.NULL
        error = _lib.Pa_OpenStream(
            opened, parameters, _ffi.NULL, rate, block_frames, 0, no_callback, _ffi.NULL
        )
        if error:
            text = _ffi.string(_lib.Pa_GetErrorText(error)).decode()
            raise PortAudioError(text, error)
        self._ptr = opened[0]
        self._channels = channels
        self._samplesize = 2
        self._latency = _lib.Pa_GetStreamInfo(self._ptr).inputLatency
