"""One channel out of several."""

from __future__ import annotations

from array import array

import pytest

from stt_edge.ear.channels import needed, select

STEREO = array("h", [1, -2, 3, -4, 32767, 32767, -32768, -32768]).tobytes()


def test_a_channel_is_picked_by_its_number() -> None:
    assert array("h", select(STEREO, 2, 0)).tolist() == [1, 3, 32767, -32768]
    assert array("h", select(STEREO, 2, 1)).tolist() == [-2, -4, 32767, -32768]
    seven = array("h", range(14)).tobytes()
    assert array("h", select(seven, 7, 6)).tolist() == [6, 13]


def test_a_mix_is_the_mean_and_cannot_overflow() -> None:
    assert array("h", select(STEREO, 2, "mix")).tolist() == [-1, -1, 32767, -32768]
    three = array("h", [32767, 32767, 32767, 3, 6, 9]).tobytes()
    assert array("h", select(three, 3, "mix")).tolist() == [32767, 6]


def test_mono_is_left_alone() -> None:
    assert select(STEREO, 1, 0) is STEREO
    assert select(STEREO, 1, "mix") is STEREO


@pytest.mark.parametrize(
    ("wanted", "fewest", "most", "count"),
    [
        (0, 1, 2, 1),
        (1, 1, 2, 2),
        (0, 2, 2, 2),
        (5, 1, 8, 6),
        (2, 1, 2, None),
        ("mix", 1, 1, 1),
        ("mix", 1, 2, 2),
        ("mix", 2, 2, 1),  # ALSA's plug layer takes the mean
        ("mix", 1, 32, 8),
    ],
)
def test_a_device_is_opened_with_as_many_channels_as_it_takes(
    wanted: int | str, fewest: int, most: int, count: int | None
) -> None:
    assert needed(wanted, fewest, most) == count
