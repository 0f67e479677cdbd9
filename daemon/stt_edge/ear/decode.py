"""Recordings of any kind as 16 kHz mono s16le, read piece by piece.

A WAV file that is 16 kHz mono s16le already is read as it is. Anything else is converted by ffmpeg
where that is installed, else by libsndfile and soxr (extra ``resample``), in a stream: a recording
of hours is never in memory. The same file gives the same samples each time it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from stt_edge.errors import InputError
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE

if TYPE_CHECKING:
    import subprocess

_RATES: Final = range(1_000, 400_001)
"""Hertz; a file that says otherwise is damaged."""
_PIECE_FRAMES: Final = 1 << 14
_LOOK_S: Final = 30.0
_LEAST_HEADER_BYTES: Final = 44
_ENDLESS_BYTES: Final = 0x7FFF_0000
"""A WAV file written to a pipe claims to have no end; nothing is missing from it."""


class Recording(Protocol):
    """A recording that is being read."""

    rate: int
    """Hertz, as it is stored."""
    channels: int
    warning: str
    """What is wrong with it though it can be used; empty when nothing is."""

    def read(self, samples: int) -> bytes:
        """Return the next ``samples`` samples, fewer at the end, none after it.

        Raises InputError when the rest cannot be decoded.
        """

    def close(self) -> None:
        """Let go of it; may be called twice."""


def open_recording(path: str, channel: int | str = 0) -> Recording:
    """Open a recording; ``channel`` is counted from 0, or ``mix`` for the mean of all.

    Raises InputError with one line that says what is wrong, and what to do.
    """
    _check_file(path)
    plain = _open_plain(path)
    if plain is not None:
        _check_channel(path, plain.channels, channel)
        return plain
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return _FfmpegRecording(path, channel)
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise InputError(
            f"{path}: only 16 kHz mono 16-bit WAV can be read without a converter.",
            f"Install ffmpeg (apt install ffmpeg), or: {install_command('resample')}",
        ) from error
    return _SoundFileRecording(path, channel, soundfile, soxr)


def _check_file(path: str) -> None:
    try:
        size = os.stat(path).st_size  # noqa: PTH116  a Path would be made for this alone
        with open(path, "rb"):  # noqa: PTH123
            pass
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a directory.", "Name the recordings in it.") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from error
    if size == 0 and Path(path).is_file():
        raise InputError(f"{path}: the file is empty.")


def _check_channel(path: str, channels: int, channel: int | str) -> None:
    if isinstance(channel, int) and channel >= channels:
        raise InputError(
            f"{path}: has {channels} channel{'s' if channels > 1 else ''}, and audio.channel is "
            f"{channel}.",
            "Channels are counted from 0; mix takes all of them.",
        )


def _check_rate(path: str, rate: int) -> None:
    if rate not in _RATES:
        raise InputError(f"{path}: is damaged: it claims {rate} samples a second.")


class _PlainRecording:
    """A WAV file that needs no conversion."""

    rate = SAMPLE_RATE
    channels = 1

    def __init__(self, reader: wave.Wave_read, warning: str) -> None:
        self._reader = reader
        self.warning = warning

    def read(self, samples: int) -> bytes:
        data = self._reader.readframes(samples)
        return data[: len(data) // SAMPLE_BYTES * SAMPLE_BYTES]

    def close(self) -> None:
        self._reader.close()


def _open_plain(path: str) -> _PlainRecording | None:
    """Return a 16 kHz mono s16 WAV file, None for anything else."""
    try:
        reader = wave.open(path, "rb")  # noqa: SIM115  closed by the recording
    except (wave.Error, EOFError, RuntimeError, OSError):
        return None
    shape = (reader.getframerate(), reader.getnchannels(), reader.getsampwidth())
    if shape != (SAMPLE_RATE, 1, SAMPLE_BYTES) or reader.getcomptype() != "NONE":
        reader.close()
        return None
    if not reader.getnframes():
        reader.close()
        raise InputError(f"{path}: holds no sound.")
    return _PlainRecording(reader, _truncation(path, reader.getnframes()))


def _truncation(path: str, frames: int) -> str:
    there = os.stat(path).st_size - _LEAST_HEADER_BYTES  # noqa: PTH116
    missing = frames * SAMPLE_BYTES - there
    if missing <= 0 or frames * SAMPLE_BYTES >= _ENDLESS_BYTES:
        return ""
    seconds = missing / SAMPLE_BYTES / SAMPLE_RATE
    return f"{path}: is cut off, {seconds:.1f} s are missing at its end."


class _FfmpegRecording:
    """Anything ffmpeg reads."""

    warning = ""

    def __init__(self, path: str, channel: int | str) -> None:
        import subprocess

        self._path = path
        self.rate, self.channels = _probe(path)
        _check_channel(path, self.channels, channel)
        mix = "pan=mono|c0=" + "+".join(
            f"{1 / self.channels:.6f}*c{number}" for number in range(self.channels)
        )
        chosen = mix if channel == "mix" else f"pan=mono|c0=c{channel}"
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", f"file:{path}", "-map", "0:a:0"]
        argv += ["-af", chosen, "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._begun = False

    def read(self, samples: int) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        data = stdout.read(samples * SAMPLE_BYTES) if not stdout.closed else b""
        if data:
            self._begun = True
        elif not stdout.closed:
            self._finish()
        return data

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _finish(self) -> None:
        assert self._process.stderr is not None
        reason = _last_line(self._process.stderr.read(), self._path)
        self._process.wait()
        self.close()
        if not self._begun:
            raise InputError(f"{self._path}: {reason or 'holds no sound'}.")
        if reason:
            self.warning = f"{self._path}: is damaged, what could be read was used ({reason})."


def _probe(path: str) -> tuple[int, int]:
    """Return the rate and the number of channels of the first sound track."""
    import subprocess

    argv = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json"]
    argv += ["-show_entries", "stream=sample_rate,channels", f"file:{path}"]
    try:
        found = subprocess.run(
            argv, capture_output=True, check=False, timeout=_LOOK_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: ffprobe found nothing in it within {_LOOK_S:g} s.") from error
    with contextlib.suppress(ValueError, LookupError, TypeError):
        (stream,) = json.loads(found.stdout)["streams"]
        rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        _check_rate(path, rate)
        if channels > 0:
            return rate, channels
    reason = _last_line(found.stderr, path) or "there is no sound in it"
    raise InputError(f"{path}: is no recording that can be used ({reason}).")


def _last_line(stderr: bytes, path: str) -> str:
    """Return the last thing ffmpeg said, without the name of the file and its own addresses."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return ""
    line = lines[-1].removeprefix(f"file:{path}:").strip()
    return line.partition("] ")[2] if line.startswith("[") else line


class _SoundFileRecording:
    """Anything libsndfile reads, for machines without ffmpeg."""

    warning = ""

    def __init__(self, path: str, channel: int | str, soundfile: Any, soxr: Any) -> None:
        self._path = path
        self._error: type[Exception] = soundfile.LibsndfileError
        try:
            self._file = soundfile.SoundFile(path)
        except (self._error, TypeError) as error:  # TypeError: the name promises headerless PCM
            reason = str(error).rpartition(": ")[2].rstrip(".")
            raise InputError(f"{path}: is no recording that can be used ({reason}).") from error
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        _check_rate(path, self.rate)
        _check_channel(path, self.channels, channel)
        self._channel = channel
        self._resampler = soxr.ResampleStream(self.rate, SAMPLE_RATE, 1, dtype="float32")
        self._ready = bytearray()
        self._over = self._begun = False

    def read(self, samples: int) -> bytes:
        while len(self._ready) < samples * SAMPLE_BYTES and not self._over:
            self._convert()
        data = bytes(self._ready[: samples * SAMPLE_BYTES])
        del self._ready[: samples * SAMPLE_BYTES]
        if not data and not self._begun:
            raise InputError(f"{self._path}: holds no sound.")
        self._begun = True
        return data

    def close(self) -> None:
        self._file.close()

    def _convert(self) -> None:
        try:
            frames = self._file.read(_PIECE_FRAMES, dtype="float32", always_2d=True)
        except self._error as error:
            raise InputError(f"{self._path}: is damaged ({error}).") from error
        self._over = len(frames) < _PIECE_FRAMES
        mono = frames.mean(axis=1) if self._channel == "mix" else frames[:, self._channel]
        sound = self._resampler.resample_chunk(mono, last=self._over)
        self._ready += (sound * 32767.0).clip(-32768, 32767).round().astype("<i2").tobytes()
