from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.providers.worker.frames import (
    MAX_FRAME_BYTES,
    Frame,
    FrameDecoder,
    FrameError,
    FrameKind,
)

messages = st.builds(
    Frame, st.sampled_from([FrameKind.TEXT, FrameKind.BINARY]), st.binary(max_size=50)
)
marks = st.builds(
    Frame.numbered,
    st.sampled_from([FrameKind.OPEN, FrameKind.CLOSE]),
    st.integers(0, (1 << 32) - 1),
)


@given(st.lists(messages | marks, max_size=8), st.integers(1, 20))
def test_frames_come_out_as_they_went_in_however_the_pipe_cuts_them(
    frames: list[Frame], size: int
) -> None:
    data = b"".join(frame.encode() for frame in frames)
    decoder = FrameDecoder()
    came = [
        frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])
    ]
    assert came == frames


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_rubbish_is_refused_or_waited_for_and_never_hoarded(pieces: list[bytes]) -> None:
    decoder = FrameDecoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
    except FrameError:
        return
    assert len(decoder._buffer) <= sum(map(len, pieces)) <= MAX_FRAME_BYTES


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(4, "little") + b"\0",
        b"\0\0\0\0\4",
        b"\3\0\0\0\2",
    ],
    ids=["too long", "unknown kind", "no number"],
)
def test_a_head_that_cannot_be_means_that_the_pipe_is_out_of_step(data: bytes) -> None:
    with pytest.raises(FrameError):
        FrameDecoder().feed(data)


def test_a_mark_carries_the_number_of_its_use() -> None:
    (frame,) = FrameDecoder().feed(Frame.numbered(FrameKind.CLOSE, 70_000).encode())
    assert (frame.kind, frame.number) == (FrameKind.CLOSE, 70_000)
