"""How a device is opened, for devices no machine at hand has: stand-ins for ALSA and PortAudio."""

from __future__ import annotations

import errno
import sys
from array import array
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from stt_edge.ear import alsa, capture, cards
from stt_edge.ear.alsa import AlsaError, Formats
from stt_edge.ear.capture import DeviceSource
from stt_edge.ear.cards import Card
from stt_edge.ear.chatter import Chatter
from stt_edge.ear.settings import SourceSettings
from stt_edge.errors import DeviceError, FaultKind

CARD = Card(1, "Device", (0,), "1-1.4", "USB Mic")
STEREO_48 = Formats((44_100, 48_000), 2, 2)
BOTH = Formats((16_000, 48_000), 1, 2)


class PortAudioError(Exception):
    pass


class Hardware:
    """One card and one ALSA definition without a plug layer, both with these formats."""

    def __init__(self, formats: Formats, *, plug_gives_16_khz: bool = True) -> None:
        self.formats = formats
        self.plug_gives_16_khz = plug_gives_16_khz
        self.opened: list[tuple[str, int, int]] = []
        self.refuses: int | None = None
        self.gone = False
        self.pending = 0

    def probe(self, _pcm: str) -> Formats:
        if self.refuses:
            raise AlsaError(self.refuses)
        return self.formats

    def accepts(self, pcm: str, rate: int, channels: int) -> bool:
        if pcm.startswith("plug"):
            return rate in self.formats.rates or self.plug_gives_16_khz
        within = self.formats.channels_min <= channels <= self.formats.channels_max
        return within and rate in self.formats.rates

    def stream(
        self, pcm: str, *, rate: int, channels: int, block_frames: int, latency_s: float
    ) -> SimpleNamespace:
        if self.refuses or not self.accepts(pcm, rate, channels):
            raise PortAudioError("Invalid sample rate")
        self.opened.append((pcm, rate, channels))

        def read(frames: int) -> tuple[bytes, bool]:
            if self.gone:
                raise PortAudioError("Unanticipated host error")
            frame = array("h", [1000 * (channel + 1) for channel in range(channels)])
            return (frame * frames).tobytes(), True

        return SimpleNamespace(
            start=lambda: None,
            read=read,
            close=lambda **_: self.opened.clear(),
            read_available=self.pending,
        )


PlugIn = Callable[..., Hardware]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    def plug_in(hardware: Hardware, *, converts_well: bool = True) -> Hardware:
        portaudio = SimpleNamespace(AlsaStream=hardware.stream, PortAudioError=PortAudioError)
        monkeypatch.setattr(capture, "_portaudio", lambda: portaudio)
        monkeypatch.setattr(cards, "cards", lambda: [CARD])
        monkeypatch.setattr(alsa, "defined_names", lambda: ["raw"])
        monkeypatch.setattr(alsa, "card_name", lambda _: None)
        monkeypatch.setattr(alsa, "probe", hardware.probe)
        monkeypatch.setattr(alsa, "converts_rates_well", lambda: converts_well)
        return hardware

    return plug_in


PLUGGED = "plughw:CARD=Device,DEV=0"


def source(device: str = "auto", channel: int | str = 0) -> DeviceSource:
    return DeviceSource(SourceSettings(device=device, channel=channel), Chatter())


def fault(source: DeviceSource) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        source.open()
    return caught.value


def first_sample(source: DeviceSource) -> int:
    return array("h", source.read())[200]


def test_a_card_is_opened_at_16_khz_through_the_plug_layer(plug_in: PlugIn) -> None:
    hardware = plug_in(Hardware(BOTH))
    mic = source()
    mic.open()
    assert hardware.opened == [(PLUGGED, 16_000, 1)]
    assert (mic.description, mic.rate, mic.channels) == (
        "Device (USB Mic, USB 1-1.4)",
        16_000,
        1,
    )
    assert len(mic.read()) == 3200
    assert mic.overflows == 1
    mic.close()
    mic.close()
    assert hardware.opened == []


@pytest.mark.parametrize(("channel", "channels", "value"), [(0, 2, 1000), (1, 2, 2000)])
def test_a_channel_of_a_stereo_card_is_that_channel_and_no_mix(
    plug_in: PlugIn, channel: int, channels: int, value: int
) -> None:
    hardware = plug_in(Hardware(Formats((16_000,), 2, 2)))
    mic = source(channel=channel)
    mic.open()
    assert hardware.opened == [(PLUGGED, 16_000, channels)]
    assert first_sample(mic) == value
    assert len(mic.read()) == 3200


def test_a_mix_of_a_card_that_has_mono_too_is_made_of_its_channels(plug_in: PlugIn) -> None:
    hardware = plug_in(Hardware(BOTH))
    mic = source(channel="mix")
    mic.open()
    assert hardware.opened == [(PLUGGED, 16_000, 2)]
    assert first_sample(mic) == 1500


def test_a_channel_it_does_not_have_is_a_fault_that_says_how_many_it_has(plug_in: PlugIn) -> None:
    plug_in(Hardware(BOTH))
    error = fault(source(channel=2))
    assert error.kind is FaultKind.FORMAT
    assert "has 1 to 2 channels, and none is number 2" in error.message
    assert "audio.channel" in error.remedy


def test_the_plug_layer_converts_where_it_does_it_well(plug_in: PlugIn) -> None:
    hardware = plug_in(Hardware(STEREO_48))
    mic = source()
    mic.open()
    assert hardware.opened == [(PLUGGED, 16_000, 2)]


def test_where_the_plug_layer_would_fold_high_tones_into_speech_we_convert(plug_in: PlugIn) -> None:
    pytest.importorskip("soxr")
    hardware = plug_in(Hardware(STEREO_48), converts_well=False)
    mic = source(channel=1)
    mic.open()
    assert hardware.opened == [(PLUGGED, 48_000, 2)]
    blocks = [mic.read() for _ in range(20)]
    assert {len(block) % 640 for block in blocks} == {0}
    assert sum(map(len, blocks)) == pytest.approx(20 * 3200, abs=3200)
    assert array("h", blocks[-1])[100] == pytest.approx(2000, abs=3)
    assert mic.rate == 48_000


def test_without_soxr_a_bad_conversion_is_used_and_said_to_be_bad(
    plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    hardware = plug_in(Hardware(STEREO_48), converts_well=False)
    source().open()
    assert hardware.opened == [(PLUGGED, 16_000, 2)]
    assert "libasound2-plugins" in capsys.readouterr().err


def test_where_the_plug_layer_fails_we_convert(plug_in: PlugIn) -> None:
    pytest.importorskip("soxr")
    hardware = plug_in(Hardware(Formats((44_100,), 1, 1), plug_gives_16_khz=False))
    mic = source()
    mic.open()
    assert hardware.opened == [(PLUGGED, 44_100, 1)]


def test_a_definition_without_plug_layer_is_opened_as_the_device_is(plug_in: PlugIn) -> None:
    pytest.importorskip("soxr")
    hardware = plug_in(Hardware(STEREO_48))
    mic = source("raw")
    mic.open()
    assert hardware.opened == [("raw", 48_000, 2)]
    hardware.opened.clear()
    hardware.formats = Formats((16_000,), 2, 2)
    mic = source("raw", "mix")
    mic.open()
    assert hardware.opened == [("raw", 16_000, 2)]
    assert first_sample(mic) == 1500


def test_a_device_that_cannot_be_used_is_a_fault_that_names_its_rates(plug_in: PlugIn) -> None:
    plug_in(Hardware(Formats((8_000, 11_025), 1, 1), plug_gives_16_khz=False))
    error = fault(source())
    assert error.kind is FaultKind.FORMAT
    assert "It has 1 channel; its rates in Hz: 8000, 11025." in error.message
    assert "stt-edge devices" in error.remedy


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.EBUSY, FaultKind.BUSY, "fuser"),
        (errno.EACCES, FaultKind.DENIED, "group audio"),
        (errno.ENODEV, FaultKind.ABSENT, "Plug it in"),
        (errno.EIO, FaultKind.INTERNAL, "dmesg"),
    ],
)
def test_what_alsa_refuses_becomes_a_fault_with_a_remedy(
    plug_in: PlugIn, number: int, kind: FaultKind, hint: str
) -> None:
    hardware = plug_in(Hardware(BOTH))
    hardware.refuses = number
    error = fault(source())
    assert (error.kind, hint in error.remedy) == (kind, True)
    assert "Device (USB Mic, USB 1-1.4)" in error.message


def test_a_device_that_vanishes_is_said_to_have_gone(plug_in: PlugIn) -> None:
    hardware = plug_in(Hardware(BOTH))
    mic = source()
    mic.open()
    mic.read()
    hardware.gone = True
    with pytest.raises(DeviceError, match="has gone") as caught:
        mic.read()
    assert caught.value.kind is FaultKind.ABSENT


def test_time_begins_before_what_was_ready_with_the_first_block(plug_in: PlugIn) -> None:
    hardware = plug_in(Hardware(BOTH))
    hardware.pending = 1600
    mic = source()
    timeline = mic.open()
    timeline.take(mic.read(), 0, 1_000_000_000)
    assert timeline.start_ns == 800_000_000


def test_without_portaudio_the_fault_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stt_edge.ear.portaudio", None)
    monkeypatch.delattr("stt_edge.ear.portaudio", raising=False)
    with pytest.raises(DeviceError) as caught:
        capture._portaudio()
    assert caught.value.kind is FaultKind.INTERNAL
    assert "libportaudio2" in caught.value.remedy
