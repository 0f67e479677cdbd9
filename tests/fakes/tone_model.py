"""A speech model small enough to be written down: it understands four tones.

A streaming CTC model of the NeMo kind, as sherpa-onnx reads it. Its only layer takes the loudness
of four bands of the spectrum for the likelihood of four pieces of words. The file is ONNX, which is
Protocol Buffers; the numbers of the fields are those of onnx.proto.
"""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PIECES: Final = ("▁lamp", "▁on", "▁gó", "ðan")
TONES_HZ: Final = (600, 1000, 2000, 4000)
TONE_MS: Final = 200
GAP_MS: Final = 100
_BANDS: Final = (15, 26, 44, 62)
"""Where sherpa-onnx puts these tones among its 80."""
_ALL_BANDS: Final = 80
_SILENCE: Final = -6.0
"""Louder than silence, softer than a tone; the logarithm of the energy."""
_FRAMES_A_STEP: Final = 4
_WINDOW_FRAMES: Final = 8
_FLOAT, _INT64 = 1, 7


def say(pieces: Sequence[int]) -> bytes:
    """Return s16le audio in which the tones are heard one after the other."""
    pcm = array.array("h", bytes(2 * 16 * GAP_MS))
    for piece in pieces:
        turn = 2 * math.pi * TONES_HZ[piece] / 16_000
        pcm.extend(int(9000 * math.sin(turn * at)) for at in range(16 * TONE_MS))
        pcm.frombytes(bytes(2 * 16 * GAP_MS))
    return pcm.tobytes()


def write_model(place: Path) -> None:
    """Write the model into a new directory."""
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(
        _model(_nodes(), _weights(), _inputs(), _outputs(), _facts())
    )
    tokens = [*PIECES, "<blk>"]
    lines = [f"{token} {number}\n" for number, token in enumerate(tokens)]
    (place / "tokens.txt").write_text("".join(lines), encoding="utf-8")


def write_other(path: Path) -> None:
    """Write a file that is good ONNX and no speech model."""
    node = _node("Identity", ["x"], ["y"])
    path.write_bytes(
        _model([node], [], [_value("x", _FLOAT, ["n"])], [_value("y", _FLOAT, ["n"])], {})
    )


def _nodes() -> list[bytes]:
    return [
        _node("Transpose", ["audio_signal"], ["frames"], _attribute("perm", [0, 2, 1])),
        _node("Slice", ["frames", "first", "last", "axis", "step"], ["steps"]),
        _node("MatMul", ["steps", "weights"], ["loudness"]),
        _node("Add", ["loudness", "bias"], ["logits"]),
        _node("LogSoftmax", ["logits"], ["logprobs"], _attribute("axis", 2)),
        _node("Div", ["length", "step"], ["encoded_lengths"]),
        *[_node("Identity", [f"cache_{name}"], [f"cache_{name}_next"]) for name in "abc"],
    ]


def _weights() -> list[bytes]:
    tokens = len(PIECES) + 1
    weights = [0.0] * (_ALL_BANDS * tokens)
    for token, band in enumerate(_BANDS):
        weights[band * tokens + token] = 1.0
    return [
        _tensor("weights", [_ALL_BANDS, tokens], weights),
        _tensor("bias", [tokens], [0.0] * len(PIECES) + [_SILENCE]),
        _tensor("first", [1], [0]),
        _tensor("last", [1], [1 << 40]),
        _tensor("axis", [1], [1]),
        _tensor("step", [1], [_FRAMES_A_STEP]),
    ]


def _inputs() -> list[bytes]:
    return [
        _value("audio_signal", _FLOAT, ["n", _ALL_BANDS, "t"]),
        _value("length", _INT64, ["n"]),
        _value("cache_a", _FLOAT, ["n", "a1", "a2", "a3"]),
        _value("cache_b", _FLOAT, ["n", "b1", "b2", "b3"]),
        _value("cache_c", _INT64, ["n"]),
    ]


def _outputs() -> list[bytes]:
    return [
        _value("logprobs", _FLOAT, ["n", "u", len(PIECES) + 1]),
        _value("encoded_lengths", _INT64, ["n"]),
        _value("cache_a_next", _FLOAT, ["n", "a1", "a2", "a3"]),
        _value("cache_b_next", _FLOAT, ["n", "b1", "b2", "b3"]),
        _value("cache_c_next", _INT64, ["n"]),
    ]


def _facts() -> dict[str, int | str]:
    caches = [f"cache_last_{name}_dim{at}" for name in ("channel", "time") for at in (1, 2, 3)]
    return {
        "window_size": _WINDOW_FRAMES,
        "chunk_shift": _WINDOW_FRAMES,
        "subsampling_factor": _FRAMES_A_STEP,
        "vocab_size": len(PIECES),
        "normalize_type": "",
        **dict.fromkeys(caches, 1),
    }


def _model(
    nodes: list[bytes],
    weights: list[bytes],
    inputs: list[bytes],
    outputs: list[bytes],
    facts: dict[str, int | str],
) -> bytes:
    graph = _message(
        *[(1, node) for node in nodes],
        (2, "graph"),
        *[(5, weight) for weight in weights],
        *[(11, value) for value in inputs],
        *[(12, value) for value in outputs],
    )
    said = [(14, _message((1, name), (2, str(value)))) for name, value in facts.items()]
    return _message((1, 8), (7, graph), (8, _message((1, ""), (2, 13))), *said)


def _node(kind: str, inputs: list[str], outputs: list[str], *attributes: bytes) -> bytes:
    return _message(
        *[(1, name) for name in inputs],
        *[(2, name) for name in outputs],
        (4, kind),
        *[(5, attribute) for attribute in attributes],
    )


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, 2))
    return _message((1, name), *[(8, item) for item in value], (20, 7))


def _tensor(name: str, shape: list[int], data: Sequence[float]) -> bytes:
    integers = all(isinstance(value, int) for value in data)
    packed = struct.pack(f"<{len(data)}{'q' if integers else 'f'}", *data)
    kind = _INT64 if integers else _FLOAT
    return _message(*[(1, size) for size in shape], (2, kind), (8, name), (9, packed))


def _value(name: str, kind: int, shape: list[int | str]) -> bytes:
    sizes = [(1, _message((1 if isinstance(size, int) else 2, size))) for size in shape]
    tensor = _message((1, kind), (2, _message(*sizes)))
    return _message((1, name), (2, _message((1, tensor))))


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    encoded = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            encoded += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(encoded)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
