"""The least a gate can be, as a reference: webrtcvad over what comes on standard input."""

from __future__ import annotations

import sys

import webrtcvad

_BLOCK_BYTES = 3200
_FRAME_BYTES = 640


def main() -> None:
    """Judge every 20 ms frame of 100 ms blocks until the input ends."""
    vad = webrtcvad.Vad(2)
    speech = 0
    while len(block := sys.stdin.buffer.read(_BLOCK_BYTES)) == _BLOCK_BYTES:
        for start in range(0, _BLOCK_BYTES, _FRAME_BYTES):
            speech += vad.is_speech(block[start : start + _FRAME_BYTES], 16000)


if __name__ == "__main__":
    main()
