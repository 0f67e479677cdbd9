"""A sound device as a source: opened through ALSA's plug layer, read in blocks."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from stt_edge.ear import alsa, cards
from stt_edge.ear.channels import MIX, needed, select
from stt_edge.ear.chatter import Chatter
from stt_edge.ear.device import Chooser, Target
from stt_edge.ear.resample import Resampler
from stt_edge.ear.settings import SourceSettings
from stt_edge.ear.timeline import Captured, Timeline
from stt_edge.errors import DeviceError, FaultKind
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples

if TYPE_CHECKING:
    from stt_edge.ear.portaudio import AlsaStream

_FRAME_BYTES: Final = ms_to_samples(20) * SAMPLE_BYTES
_CONVERTED_FROM: Final = 48_000
"""The rate that is best converted from, where a device has it: a whole multiple of ours."""
_NOT_THERE: Final = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
_UNCLEAR: Final = (FaultKind.INTERNAL, FaultKind.FORMAT)
"""Faults about which the sound libraries may know more than we do."""


def chooser() -> Chooser:
    """Return what finds devices on this machine."""
    return Chooser(cards.cards(), alsa.defined_names, card_name=alsa.card_name, usable=can_capture)


def can_capture(pcm: str) -> bool:
    """Return whether a device can be opened for capture, or could if it were not in use."""
    try:
        alsa.probe(pcm)
    except alsa.AlsaError as error:
        return error.number == errno.EBUSY
    return True


def refusal(target: Target, number: int) -> DeviceError:
    """Return what an error number of ALSA means to a person."""
    name = target.description
    match number:
        case errno.EBUSY:
            kind, message = FaultKind.BUSY, f"{name} is in use by another program."
            remedy = (
                "`fuser -v /dev/snd/*` names it. A sound server shares its devices: then set "
                "audio.device to default, pulse or pipewire."
            )
        case errno.EACCES | errno.EPERM:
            kind, message = FaultKind.DENIED, f"{name} may not be opened by this user."
            remedy = "Add the user to the group audio (`usermod -aG audio USER`), and start again."
        case errno.ECONNREFUSED:
            kind = FaultKind.ABSENT
            message = f"{name}: the sound server behind it does not answer."
            remedy = "Start the sound server, or name a card in audio.device."
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            kind, message, remedy = FaultKind.ABSENT, f"{name} is not there.", "Plug it in."
        case _:
            kind = FaultKind.INTERNAL
            message = f"{name} cannot be opened: {os.strerror(number)}."
            remedy = "`dmesg` may say more."
    return DeviceError(kind, message, remedy)


class DeviceSource:
    """A microphone."""

    can_wait = False

    def __init__(self, settings: SourceSettings, chatter: Chatter) -> None:
        """Take the settings, and where the sound libraries print to."""
        self.description = settings.device
        self.rate = SAMPLE_RATE
        self.channels = 1
        self.overflows = 0
        self._settings = settings
        self._chatter = chatter
        self._is_card = False
        """Nothing but ALSA lies between us and the hardware."""
        self._stream: AlsaStream | None = None
        self._lost: type[Exception] = OSError
        self._resampler: Resampler | None = None
        self._rest = b""

    def prepare(self) -> None:
        """Do nothing: a device needs nothing that the sandbox forbids."""

    def open(self) -> Timeline:
        """Find the device and open it. Raises DeviceError."""
        try:
            self._find_and_open()
        except DeviceError as error:
            if error.kind not in _UNCLEAR:
                self._chatter.discard()
            raise
        self._chatter.discard()
        return Captured(finds_small_gaps=self._is_card, pending_samples=self._pending_samples)

    def read(self) -> bytes:
        """Wait for the next block and return it. Raises DeviceError when the device has gone."""
        while True:
            pcm = self._read_device()
            if self._resampler is None:
                return pcm
            converted = self._rest + self._resampler.feed(pcm)
            ready = len(converted) // _FRAME_BYTES * _FRAME_BYTES
            self._rest = converted[ready:]
            if ready:
                return converted[:ready]

    def close(self) -> None:
        """Close the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)

    def _find_and_open(self) -> None:
        devices = chooser()
        target = devices.choose(self._settings.device)
        self.description = target.description
        self._is_card = target.card is not None
        if target.warning:
            self._chatter.say(target.warning)
        try:
            self._open(target)
        except alsa.AlsaError as error:
            if error.number in _NOT_THERE and target.card is None:
                raise devices.absent(self._settings.device) from error
            raise refusal(target, error.number) from error

    def _open(self, target: Target) -> None:
        portaudio = _portaudio()
        self._lost = portaudio.PortAudioError
        formats = alsa.probe(target.raw_pcm) if target.card else None
        self.channels = self._count_channels(target, formats)
        if formats is not None and SAMPLE_RATE not in formats.rates:
            self._prefer_own_conversion(formats)
        try:
            self._stream = self._open_at(portaudio, target)
        except self._lost as error:
            self._stream = self._open_as_it_is(portaudio, target, error)
        try:
            self._stream.start()
        except self._lost as error:
            raise _gone(self.description) from error

    def _count_channels(self, target: Target, formats: alsa.Formats | None) -> int:
        """Return with how many channels to open. Raises DeviceError of kind FORMAT."""
        wanted = self._settings.channel
        if formats is None:  # a sound server, say, which mixes by itself
            return 1 if wanted == MIX else int(wanted) + 1
        count = needed(wanted, formats.channels_min, formats.channels_max)
        if count is None:
            raise DeviceError(
                FaultKind.FORMAT,
                f"{target.description} has {_channels(formats)}, and none is number {wanted}.",
                "Channels count from 0: set audio.channel to one it has, or to mix.",
            )
        return count

    def _prefer_own_conversion(self, formats: alsa.Formats) -> None:
        """Convert the rate ourselves where the plug layer would do it badly, if we can."""
        if alsa.converts_rates_well():
            return
        try:
            self._convert_from(formats)
        except DeviceError:
            self._chatter.say(
                f"{self.description} has no 16 kHz, and ALSA converts its rate badly here: install "
                f"libasound2-plugins, or: {install_command('resample')}"
            )

    def _open_as_it_is(self, portaudio: Any, target: Target, why: Exception) -> AlsaStream:
        """Open with a rate and channels of the device's own: it does not give what was asked."""
        formats = alsa.probe(target.raw_pcm if target.card else target.pcm)
        asked = (self.rate, self.channels)
        self.channels = max(self._count_channels(target, formats), formats.channels_min)
        if SAMPLE_RATE not in formats.rates and self._resampler is None:
            self._convert_from(formats)
        if asked == (self.rate, self.channels):
            raise _unusable(target, formats, why) from why
        try:
            return self._open_at(portaudio, target)
        except self._lost as error:
            raise _unusable(target, formats, error) from error

    def _convert_from(self, formats: alsa.Formats) -> None:
        """Convert from a rate of the device's own, if it has one that is high enough.

        Raises DeviceError when soxr is not installed.
        """
        rates = [rate for rate in formats.rates if rate > SAMPLE_RATE]
        if rates:
            rate = _CONVERTED_FROM if _CONVERTED_FROM in rates else min(rates)
            self._resampler = Resampler(rate)
            self.rate = rate

    def _open_at(self, portaudio: Any, target: Target) -> AlsaStream:
        stream: AlsaStream = portaudio.AlsaStream(
            target.pcm,
            rate=self.rate,
            channels=self.channels,
            block_frames=self._block_frames,
            latency_s=self._settings.latency_ms / 1000,
        )
        return stream

    @property
    def _block_frames(self) -> int:
        return self.rate * self._settings.block_ms // 1000

    def _pending_samples(self) -> int:
        assert self._stream is not None
        try:
            return int(self._stream.read_available) * SAMPLE_RATE // self.rate
        except self._lost:
            return 0  # the next read says what is wrong

    def _read_device(self) -> bytes:
        assert self._stream is not None
        try:
            data, overflowed = self._stream.read(self._block_frames)
        except self._lost as error:
            self._chatter.discard()
            raise _gone(self.description) from error
        self.overflows += overflowed
        return select(bytes(data), self.channels, self._settings.channel)


def _portaudio() -> Any:
    try:
        from stt_edge.ear import portaudio
    except (ImportError, OSError) as error:
        raise DeviceError(
            FaultKind.INTERNAL,
            f"PortAudio cannot be used: {error}.",
            "Install libportaudio2, and the Python package sounddevice.",
        ) from error
    return portaudio


def _gone(description: str) -> DeviceError:
    return DeviceError(
        FaultKind.ABSENT, f"{description} has gone.", "It is used again as soon as it is back."
    )


def _unusable(target: Target, formats: alsa.Formats, why: Exception) -> DeviceError:
    rates = ", ".join(str(rate) for rate in formats.rates) or "none of the usual ones"
    return DeviceError(
        FaultKind.FORMAT,
        f"{target.description} cannot be opened: {why}. It has {_channels(formats)}; its rates in "
        f"Hz: {rates}.",
        "Run `stt-edge devices`, and set audio.device to another.",
    )


def _channels(formats: alsa.Formats) -> str:
    fewest, most = formats.channels_min, formats.channels_max
    if fewest == most:
        return f"{most} channel" + ("s" if most > 1 else "")
    return f"{fewest} to {most} channels"
