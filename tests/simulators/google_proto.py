"""The JSON form of the messages of Google Speech v1, read as strictly as the service reads it.

Names in lower camel or snake case, enums by name or number, numbers as numbers or texts; anything
unknown is refused (https://protobuf.dev/programming-guides/json).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

ENCODINGS: Final = {
    "ENCODING_UNSPECIFIED": 0,
    "LINEAR16": 1,
    "FLAC": 2,
    "MULAW": 3,
    "AMR": 4,
    "AMR_WB": 5,
    "OGG_OPUS": 6,
    "SPEEX_WITH_HEADER_BYTE": 7,
    "MP3": 8,
    "WEBM_OPUS": 9,
}

# A kind is a scalar's name, a table of enum values, a message (a dict of names and kinds), or a
# list of one kind. ``object`` is a message that is not looked into.
_CONTEXT: Final[dict[str, Any]] = {"phrases": ["str"], "boost": "float"}
_DIARIZATION: Final[dict[str, Any]] = {
    "enableSpeakerDiarization": "bool",
    "minSpeakerCount": "int",
    "maxSpeakerCount": "int",
}
_CONFIG: Final[dict[str, Any]] = {
    "encoding": ("enum", ENCODINGS),
    "sampleRateHertz": "int",
    "audioChannelCount": "int",
    "enableSeparateRecognitionPerChannel": "bool",
    "languageCode": "str",
    "alternativeLanguageCodes": ["str"],
    "maxAlternatives": "int",
    "profanityFilter": "bool",
    "adaptation": "object",
    "transcriptNormalization": "object",
    "speechContexts": [_CONTEXT],
    "enableWordTimeOffsets": "bool",
    "enableWordConfidence": "bool",
    "enableAutomaticPunctuation": "bool",
    "enableSpokenPunctuation": "bool",
    "enableSpokenEmojis": "bool",
    "diarizationConfig": _DIARIZATION,
    "metadata": "object",
    "model": "str",
    "useEnhanced": "bool",
}
_SYNC: Final[dict[str, Any]] = {
    "config": _CONFIG,
    "audio": {"content": "bytes", "uri": "str"},
}
_LONG_RUNNING: Final[dict[str, Any]] = {**_SYNC, "outputConfig": {"gcsUri": "str"}}


class InvalidError(Exception):
    """The JSON is none of the message."""


def canonical(body: Any, method: str) -> dict[str, Any]:
    """Return a request in lower camel case with names of enums and decoded bytes.

    ``method`` is ``sync`` or ``longRunning``. Raises InvalidError.
    """
    return _message(_LONG_RUNNING if method == "longRunning" else _SYNC, body, "")


def _message(kinds: dict[str, Any], value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError(f"Invalid value at '{place}' (type), {value!r:.40}")
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
        if name not in kinds:
            at = f" at '{place}'" if place else ""
            raise InvalidError(
                f'Invalid JSON payload received. Unknown name "{key}"{at}: Cannot find field.'
            )
        if name in found:
            raise InvalidError(f"Invalid value at '{place}': {name} is set twice.")
        if item is not None:
            found[name] = _value(kinds[name], item, f"{place}.{key}".strip("."))
    return found


def _value(kind: Any, value: Any, place: str) -> Any:
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise InvalidError(f"Invalid value at '{place}' (repeated)")
        return [_value(kind[0], item, f"{place}[{at}]") for at, item in enumerate(value)]
    if isinstance(kind, dict):
        return _message(kind, value, place)
    if isinstance(kind, tuple):
        return _enum(kind[1], value, place)
    try:
        return _SCALARS[kind](value)
    except (TypeError, ValueError):
        raise InvalidError(f"Invalid value at '{place}' ({kind}), {value!r:.40}") from None


def _enum(names: dict[str, int], value: Any, place: str) -> str:
    by_number = {number: name for name, number in names.items()}
    if isinstance(value, str) and value in names:
        return value
    if type(value) is int and value in by_number:
        return by_number[value]
    raise InvalidError(f"Invalid value at '{place}' (enum), {value!r:.40}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = int(value) if isinstance(value, str) else value
    if number != int(number) or not -(1 << 31) <= number < 1 << 31:
        raise ValueError
    return int(number)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    text = _text(value).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


_SCALARS: Final = {
    "str": _text,
    "int": _integer,
    "float": _number,
    "bool": _truth,
    "bytes": _bytes,
    "object": _object,
}
