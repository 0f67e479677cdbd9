"""What only libasound knows: names, rates, channels, and why a device cannot be opened.

Sound is not read through here; see ``portaudio``. No callbacks: they would need memory that is
writable and executable.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

from stt_edge.errors import DeviceError, FaultKind
from stt_edge.frozen import frozen

_CAPTURE: Final = 1
_NONBLOCK: Final = 1
COMMON_RATES: Final = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000)

# Definitions that need a parameter, convert what another device hears, or play only.
_NO_SOURCES: Final = frozenset(
    [
        "a52",
        "cards",
        "center_lfe",
        "dmix",
        "dsnoop",
        "empty",
        "file",
        "front",
        "hdmi",
        "hw",
        "iec958",
        "jack",
        "lavrate",
        "modem",
        "null",
        "oss",
        "phoneline",
        "plug",
        "plughw",
        "rate_convert",
        "rear",
        "samplerate",
        "samplerate_best",
        "samplerate_linear",
        "samplerate_medium",
        "samplerate_order",
        "shm",
        "side",
        "spdif",
        "speex",
        "speexrate",
        "speexrate_best",
        "speexrate_medium",
        "surround21",
        "surround40",
        "surround41",
        "surround50",
        "surround51",
        "surround71",
        "tee",
        "upmix",
        "usbstream",
        "vdownmix",
    ]
)


class AlsaError(Exception):
    """libasound refuses; carries the error number."""

    def __init__(self, number: int) -> None:
        """Keep the errno value, positive."""
        super().__init__(os.strerror(number))
        self.number = number


@frozen
class Formats:
    """What a device can do by itself, without conversion by the plug layer."""

    rates: tuple[int, ...]
    """Those of the common rates it has, in hertz."""
    channels_min: int
    channels_max: int


def probe(name: str) -> Formats:
    """Open a device for capture, look, and close it. Raises AlsaError."""
    library = _library()
    pcm, params = c_void_p(), c_void_p()
    _check(library.snd_pcm_open(byref(pcm), name.encode(), _CAPTURE, _NONBLOCK))
    try:
        _check(library.snd_pcm_hw_params_malloc(byref(params)))
        try:
            _check(library.snd_pcm_hw_params_any(pcm, params))
            # A converter in the way would claim every rate.
            library.snd_pcm_hw_params_set_rate_resample(pcm, params, 0)
            return Formats(
                tuple(
                    rate
                    for rate in COMMON_RATES
                    if library.snd_pcm_hw_params_test_rate(pcm, params, rate, 0) == 0
                ),
                _unsigned(library.snd_pcm_hw_params_get_channels_min, params),
                _unsigned(library.snd_pcm_hw_params_get_channels_max, params),
            )
        finally:
            library.snd_pcm_hw_params_free(params)
    finally:
        library.snd_pcm_close(pcm)


def card_name(number: int) -> str | None:
    """Return the name of a card as its driver has it; None where there is no such card."""
    text = c_void_p()
    if _library().snd_card_get_name(number, byref(text)) < 0 or not text.value:
        return None
    name = ctypes.string_at(text.value).decode(errors="replace")
    _libc().free(text)
    return name


def defined_names() -> list[str]:
    """Return the devices defined by the configuration of ALSA that may be able to capture."""
    library = _library()
    node = c_void_p()
    if library.snd_config_update() < 0:
        return []
    root = c_void_p.in_dll(library, "snd_config")
    if library.snd_config_search(root, b"pcm", byref(node)) < 0:
        return []
    names = []
    at = library.snd_config_iterator_first(node)
    end = library.snd_config_iterator_end(node)
    while at != end:
        text = c_char_p()
        entry = library.snd_config_iterator_entry(at)
        if library.snd_config_get_id(entry, byref(text)) == 0 and text.value:
            names.append(text.value.decode(errors="replace"))
        at = library.snd_config_iterator_next(at)
    return [name for name in names if name not in _NO_SOURCES]


def converts_rates_well() -> bool:
    """Return whether the plug layer has more than linear interpolation to convert rates with.

    Without the package libasound2-plugins it folds what lies above 8 kHz into speech, unweakened.
    """
    return any(
        (folder / "libasound_module_rate_speexrate.so").exists() for folder in _plugin_folders()
    )


def _plugin_folders() -> list[Path]:
    if given := os.environ.get("ALSA_PLUGIN_DIR"):
        return [Path(given)]
    _library()
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split(maxsplit=5)[5] for line in maps if "/libasound.so" in line}
    return [Path(path).parent / "alsa-lib" for path in loaded]


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError as error:
        raise DeviceError(
            FaultKind.INTERNAL, f"ALSA cannot be used: {error}.", "Install libasound2."
        ) from error
    for name in ("first", "next", "end", "entry"):
        function = getattr(library, f"snd_config_iterator_{name}")
        function.restype, function.argtypes = c_void_p, (c_void_p,)
    library.snd_config_search.argtypes = (c_void_p, c_char_p, POINTER(c_void_p))
    library.snd_config_get_id.argtypes = (c_void_p, POINTER(c_char_p))
    library.snd_pcm_open.argtypes = (POINTER(c_void_p), c_char_p, c_int, c_int)
    library.snd_pcm_close.argtypes = (c_void_p,)
    library.snd_pcm_hw_params_malloc.argtypes = (POINTER(c_void_p),)
    library.snd_pcm_hw_params_free.argtypes = (c_void_p,)
    library.snd_pcm_hw_params_any.argtypes = (c_void_p, c_void_p)
    library.snd_pcm_hw_params_set_rate_resample.argtypes = (c_void_p, c_void_p, c_uint)
    library.snd_pcm_hw_params_test_rate.argtypes = (c_void_p, c_void_p, c_uint, c_int)
    for edge in ("min", "max"):
        function = getattr(library, f"snd_pcm_hw_params_get_channels_{edge}")
        function.argtypes = (c_void_p, POINTER(c_uint))
    library.snd_card_get_name.argtypes = (c_int, POINTER(c_void_p))
    return library


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.free.argtypes, libc.free.restype = (c_void_p,), None
    return libc


def _unsigned(function: object, params: c_void_p) -> int:
    value = c_uint()
    assert callable(function)
    _check(function(params, byref(value)))
    return value.value


def _check(result: int) -> None:
    if result < 0:
        raise AlsaError(-result)
