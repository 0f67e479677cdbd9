"""What ear and main say to each other, and how it is framed.

Ear to main, a pipe: frames of ``u32 length, u8 kind, payload`` (little-endian, length counts kind
and payload). Audio is binary, ``u64 sample, pcm``; everything else a JSON object whose keys are
the fields of its dataclass. Main to ear, a socketpair: one JSON object a line.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any, Final

from stt_edge.errors import FaultKind
from stt_edge.frozen import frozen
from stt_edge.model import EndReason

MAX_FRAME_BYTES: Final = 1 << 20
"""A longer frame means that the pipe is out of step; the ear is ended and started again."""

_HEAD: Final = struct.Struct("<IB")
_SAMPLE: Final = struct.Struct("<Q")


class WireError(Exception):
    """The other side said something that is no message."""


@frozen
class Opened:
    """The source is open and its first block has come; a stream begins."""

    stream: str
    """UUIDv7, new for every opening."""
    description: str
    """The device as a person would name it, or the file or command."""
    rate: int
    """Hertz, as the device delivers; the stream itself is always 16 kHz mono."""
    channels: int
    mono_ns: int
    """CLOCK_MONOTONIC at sample 0."""
    first_block_ms: int
    """From the attempt to open until the first block."""


@frozen
class Onset:
    """Something that may be speech: the second stage has yet to confirm it. A hint only."""

    sample: int


@frozen
class SpeechStart:
    """Speech, confirmed; audio from ``sample`` on follows."""

    sample: int
    mono_ns: int
    """CLOCK_MONOTONIC at ``sample``."""
    decided_mono_ns: int
    """CLOCK_MONOTONIC when the gate decided."""
    continues: bool = False


@frozen
class Audio:
    """Samples of the open utterance, contiguous within the message."""

    sample: int
    pcm: bytes


@frozen
class Gap:
    """``samples`` samples from ``sample`` on are known to be missing."""

    sample: int
    samples: int


@frozen
class SpeechEnd:
    """The utterance is over."""

    sample: int
    """The first sample not handed over."""
    reason: EndReason
    speech_end: int
    """The end of the last speech heard."""
    speech_samples: int
    """Voiced time, as the gate judged it."""


@frozen
class Health:
    """How the ear is, once a second. Counters run from the start of the stream."""

    blocks: int
    overflows: int
    """Blocks the device flagged; no evidence of loss by itself."""
    gaps: int
    lost_samples: int
    level_db: float
    """Loudness of the last second, dB full scale; -120 is digital silence."""
    noise_db: float
    """The gate's noise floor."""
    silent_s: float
    """For how long every sample has been exactly zero."""
    openings: int
    """Times the first stage let something through."""
    rejections: int
    """Times the second stage said it was no speech."""
    confirm_samples: int
    """Audio the second stage has judged."""
    samples: int
    """Audio heard."""
    clipped_ms: int = 0
    """How much of the last minute lies in blocks that reach full scale."""


@frozen
class Fault:
    """Capture cannot start or go on; the ear ends after this."""

    kind: FaultKind
    message: str
    remedy: str = ""


@frozen
class Finished:
    """The source has come to its end, or main's stop was obeyed; the ear ends after this."""

    sample: int


Message = Opened | Onset | SpeechStart | Audio | Gap | SpeechEnd | Health | Fault | Finished


@frozen
class GateSettings:
    """The part of the configuration that may change while the ear listens.

    Taken up at the next SpeechStart.
    """

    aggressiveness: int = 2
    min_speech_ms: int = 120
    pre_roll_ms: int = 400
    hangover_ms: int = 600
    max_utterance_s: float = 60.0
    confirm: str = "auto"
    """``auto``, ``silero`` or ``none``."""


class StopMode(StrEnum):
    """How the ear is told to end."""

    STOP = "stop"
    MUTE = "mute"

    @property
    def reason(self) -> EndReason:
        """The reason given to an utterance in hand."""
        return EndReason(self.value)


@frozen
class Stop:
    """End the utterance in hand, hand everything over, close the device and end."""

    mode: StopMode


@frozen
class LevelRate:
    """Report health this often, in hertz (``devices`` asks for more than once a second)."""

    hertz: float


@frozen
class Begin:
    """Open the source and listen: the first command. Until then nothing is opened."""

    settings: str
    """``EarSettings`` as JSON."""


Command = Begin | GateSettings | Stop | LevelRate

_KINDS: Final[tuple[type, ...]] = (
    Opened,
    Onset,
    SpeechStart,
    Audio,
    Gap,
    SpeechEnd,
    Health,
    Fault,
    Finished,
)
_CODE_OF: Final = {kind: code for code, kind in enumerate(_KINDS)}
_COMMANDS: Final[dict[str, type]] = {
    "begin": Begin,
    "gate": GateSettings,
    "stop": Stop,
    "level": LevelRate,
}
_NAME_OF: Final = {kind: name for name, kind in _COMMANDS.items()}
_ENUMS: Final[dict[tuple[type, str], type[StrEnum]]] = {
    (SpeechEnd, "reason"): EndReason,
    (Fault, "kind"): FaultKind,
    (Stop, "mode"): StopMode,
}


def encode(message: Message) -> bytes:
    """Return the frame of a message from the ear."""
    if isinstance(message, Audio):
        payload = _SAMPLE.pack(message.sample) + message.pcm
    else:
        payload = json.dumps(asdict(message), separators=(",", ":")).encode()
    return _HEAD.pack(1 + len(payload), _CODE_OF[type(message)]) + payload


class Decoder:
    """Turns the bytes of the pipe back into messages, however they are cut."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages completed by ``data``. Raises WireError when out of step."""
        self._buffer += data
        messages: list[Message] = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, code = _HEAD.unpack_from(self._buffer, at)
            if not 1 <= length <= MAX_FRAME_BYTES or code >= len(_KINDS):
                raise WireError(f"frame of {length} bytes, kind {code}")
            end = at + _HEAD.size - 1 + length
            if len(self._buffer) < end:
                break
            messages.append(_decode(code, bytes(self._buffer[at + _HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return messages


def encode_command(command: Command) -> bytes:
    """Return the line of a command to the ear."""
    body = {"command": _NAME_OF[type(command)], **asdict(command)}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Return the command of a line. Raises WireError when it is none."""
    try:
        body = json.loads(line)
        kind = _COMMANDS[body.pop("command")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"no command: {line[:80]!r}") from error
    command: Command = _build(kind, body)
    return command


def _decode(code: int, payload: bytes) -> Message:
    kind = _KINDS[code]
    if kind is Audio:
        if len(payload) < _SAMPLE.size or len(payload) % 2:
            raise WireError(f"audio of {len(payload)} bytes")
        return Audio(_SAMPLE.unpack_from(payload)[0], payload[_SAMPLE.size :])
    try:
        body = json.loads(payload)
    except ValueError as error:
        raise WireError(f"{kind.__name__} is no JSON") from error
    message: Message = _build(kind, body)
    return message


def _build(kind: type, body: Any) -> Any:
    known = {field.name for field in fields(kind)}
    try:
        values = {name: value for name, value in body.items() if name in known}
        for name, value in values.items():
            if enum := _ENUMS.get((kind, name)):
                values[name] = enum(value)
        return kind(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise WireError(f"{kind.__name__}: {error}") from error
