"""Recordings of all kinds, good and bad, through ffmpeg and through libsndfile."""

from __future__ import annotations

import itertools
import math
import shutil
import struct
import subprocess
import sys
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from stt_edge.ear import decode
from stt_edge.ear.decode import open_recording
from stt_edge.errors import InputError
from tests.shared_data import DATA, needs_data

SECONDS = 0.5


@pytest.fixture(params=["ffmpeg", "libsndfile"])
def converter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with each converter; what is not installed is skipped, and says so."""
    name: str = request.param
    if name == "ffmpeg" and shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    if name == "libsndfile":
        pytest.importorskip("soundfile", reason="soundfile is not installed")
        pytest.importorskip("soxr", reason="soxr is not installed")
        monkeypatch.setattr(decode.shutil, "which", lambda _: None)
    return name


def tone(hertz: float, rate: int, seconds: float = SECONDS) -> list[float]:
    return [0.5 * math.sin(2 * math.pi * hertz * n / rate) for n in range(int(rate * seconds))]


def write_wav(path: Path, channels: list[list[float]], rate: int, width: int) -> Path:
    """Write a WAV file of 1, 2 or 3 bytes a sample."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(width)
        file.setframerate(rate)
        data = bytearray()
        for frame in zip(*channels, strict=True):
            for value in frame:
                if width == 1:
                    data.append(round(value * 127) + 128)
                else:
                    top = (1 << (8 * width - 1)) - 1
                    data += round(value * top).to_bytes(width, "little", signed=True)
        file.writeframes(bytes(data))
    return path


def write_float_wav(path: Path, samples: list[float], rate: int) -> Path:
    data = struct.pack(f"<{len(samples)}f", *samples)
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, rate,
                       4 * rate, 4, 32)  # fmt: skip
    path.write_bytes(head + struct.pack("<4sI", b"data", len(data)) + data)
    return path


def read_all(path: Path, channel: int | str = 0, piece: int = 1600) -> array[int]:
    recording = open_recording(str(path), channel)
    try:
        sound = array("h")
        while data := recording.read(piece):
            sound.frombytes(data)
        assert recording.read(piece) == b""
        return sound
    finally:
        recording.close()


def crossings(sound: array[int]) -> int:
    """Return how often a tone crosses zero upwards: its hertz times its seconds."""
    return sum(1 for a, b in itertools.pairwise(sound) if a < 0 <= b)


def test_a_file_that_needs_no_conversion_is_read_byte_for_byte(tmp_path: Path) -> None:
    samples = tone(440, 16_000)
    path = write_wav(tmp_path / "a.wav", [samples], 16_000, 2)
    with wave.open(str(path), "rb") as file:
        expected = file.readframes(99_999)
    assert read_all(path).tobytes() == expected


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_any_rate_and_width_becomes_16_khz(
    converter: str, tmp_path: Path, rate: int, width: int
) -> None:
    path = write_wav(tmp_path / "a.wav", [tone(400, rate)], rate, width)
    sound = read_all(path)
    assert abs(len(sound) - SECONDS * 16_000) <= 32
    assert abs(crossings(sound) - 400 * SECONDS) <= 3
    assert 14_000 < max(sound) < 18_500


def test_float_samples_are_read(converter: str, tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "a.wav", tone(400, 16_000), 16_000)
    assert abs(crossings(read_all(path)) - 400 * SECONDS) <= 3


def test_a_channel_of_seven_is_chosen_or_all_are_mixed(converter: str, tmp_path: Path) -> None:
    channels = [tone(100 * (number + 1), 16_000) for number in range(7)]
    path = write_wav(tmp_path / "a.wav", channels, 16_000, 2)
    for number in (0, 4, 6):
        sound = read_all(path, number)
        assert abs(crossings(sound) - 100 * (number + 1) * SECONDS) <= 2
        assert 14_000 < max(sound) < 18_500
    same = write_wav(tmp_path / "b.wav", [tone(400, 16_000)] * 7, 16_000, 2)
    assert 14_000 < max(read_all(same, "mix")) < 18_500


def test_a_channel_that_is_not_there_is_an_error(converter: str, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", [tone(400, 44_100)] * 2, 44_100, 2)
    with pytest.raises(InputError, match="has 2 channels, and"):
        open_recording(str(path), 2)


def test_reading_twice_gives_the_same_samples_whatever_the_pieces(
    converter: str, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "a.wav", [tone(400, 44_100)], 44_100, 2)
    assert read_all(path, piece=1600) == read_all(path, piece=777)


def test_a_file_that_is_cut_off_is_used_and_says_so(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", [tone(400, 16_000)], 16_000, 2)
    path.write_bytes(path.read_bytes()[:-8001])
    recording = open_recording(str(path))
    assert "0.3 s are missing" in recording.warning
    recording.close()
    assert len(read_all(path)) == SECONDS * 16_000 - 4001


def not_recordings(directory: Path) -> dict[str, tuple[Path, str]]:
    text = directory / "notes.wav"
    text.write_text("no sound in here\n" * 50)
    empty = directory / "empty.wav"
    empty.write_bytes(b"")
    headless = write_wav(directory / "none.wav", [[]], 16_000, 2)
    picture = directory / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return {
        "text": (text, "no recording"),
        "empty": (empty, "empty"),
        "no sound": (headless, "no sound"),
        "picture": (picture, "no recording"),
        "directory": (directory, "is a directory"),
        "missing": (directory / "gone.wav", "no such file"),
    }


@pytest.mark.parametrize("kind", ["text", "empty", "no sound", "picture", "directory", "missing"])
def test_what_is_no_recording_is_refused_in_one_line(
    converter: str, tmp_path: Path, kind: str
) -> None:
    path, expected = not_recordings(tmp_path)[kind]
    with pytest.raises(InputError, match=expected) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


@needs_data
@pytest.mark.parametrize("name", ["awful", "empty", "evil", "zero"])
def test_damaged_files_of_the_wild_are_refused(converter: str, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_all(DATA / "format" / f"malformed-{name}.wav")
    assert "\n" not in str(caught.value)


@needs_data
@pytest.mark.parametrize("name", ["mono-8-bit-wav", "mono-24-bit-flac", "stereo-16-bit-aiff"])
def test_odd_encodings_sound_like_their_plain_form(converter: str, name: str) -> None:
    original = next((DATA / "format").glob(f"fmt-{name}.orig.*"))
    there = read_all(original)
    plain = read_all(DATA / "format" / f"fmt-{name}.wav")
    assert abs(len(there) - len(plain)) <= 32
    size = min(len(there), len(plain))
    dot = sum(a * b for a, b in zip(there[:size], plain[:size], strict=True))
    power = sum(a * a for a in there[:size]) * sum(b * b for b in plain[:size])
    assert dot / math.sqrt(power) > 0.95


def test_without_any_converter_both_remedies_are_named(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", [tone(400, 44_100)], 44_100, 2)
    program = (
        "import sys; sys.modules['soundfile'] = None\n"
        "from stt_edge.ear.decode import open_recording\n"
        f"open_recording({str(path)!r})\n"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    assert "apt install ffmpeg" in done.stderr
    assert "stt-edge[resample]" in done.stderr
