"""Which device is meant by what is written in audio.device."""

from __future__ import annotations

from pathlib import Path

import pytest

from stt_edge.ear.cards import Card
from stt_edge.ear.device import Chooser
from stt_edge.errors import DeviceError, FaultKind

YETI = Card(2, "Yeti", (0,), "1-1.4", "Blue Yeti")
LOOPBACK = Card(1, "Loopback", (0, 1))
HDMI = Card(0, "vc4hdmi", ())


def chooser(*cards: Card, names: tuple[str, ...] = ("default", "mic", "pulse")) -> Chooser:
    return Chooser(cards, lambda: names, card_name=lambda number: f"Card {number}")


def fault(chooser: Chooser, wanted: str) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        chooser.choose(wanted)
    return caught.value


def test_auto_is_the_one_card_that_can_capture() -> None:
    target = chooser(HDMI, YETI).choose("auto")
    assert target.pcm == "plughw:CARD=Yeti,DEV=0"
    assert target.raw_pcm == "hw:CARD=Yeti,DEV=0"
    assert target.description == "Yeti (Blue Yeti, USB 1-1.4)"
    assert target.warning is None


def test_auto_among_several_cards_lists_them() -> None:
    error = fault(chooser(YETI, LOOPBACK), "auto")
    assert error.kind is FaultKind.AMBIGUOUS
    assert "Yeti (Blue Yeti, USB 1-1.4), Loopback (Card 1)" in error.message
    assert "audio.device" in error.remedy


def test_auto_without_a_card_says_so_and_names_what_alsa_offers() -> None:
    error = fault(chooser(HDMI), "auto")
    assert error.kind is FaultKind.ABSENT
    assert error.message == "No sound card here can capture."
    assert "default, mic, pulse" in error.remedy


def test_auto_without_anything_at_all_asks_for_a_microphone() -> None:
    error = fault(chooser(names=()), "auto")
    assert (error.kind, error.remedy) == (
        FaultKind.ABSENT,
        "Plug in a microphone; it is found by itself.",
    )


@pytest.mark.parametrize("wanted", ["Yeti", "yeti", "1-1.4", "Blue", "hw:Yeti", "plughw:Yeti,0"])
def test_a_card_is_found_by_what_does_not_change(wanted: str) -> None:
    target = chooser(HDMI, LOOPBACK, YETI).choose(wanted)
    assert target.pcm == "plughw:CARD=Yeti,DEV=0"
    assert target.description == "Yeti (Blue Yeti, USB 1-1.4)"
    assert target.warning is None


@pytest.mark.parametrize("wanted", ["hw:2", "hw:2,0", "plughw:2,0", "plughw:CARD=2,DEV=0"])
def test_a_number_is_taken_with_a_warning_that_names_what_would_stay(wanted: str) -> None:
    target = chooser(LOOPBACK, YETI).choose(wanted)
    assert target.pcm == "plughw:CARD=Yeti,DEV=0"
    assert target.warning is not None
    assert "audio.device: Yeti" in target.warning


def test_another_device_of_a_card_is_chosen_by_its_number() -> None:
    target = chooser(LOOPBACK).choose("plughw:CARD=Loopback,DEV=1")
    assert (target.pcm, target.device) == ("plughw:CARD=Loopback,DEV=1", 1)
    assert target.description == "Loopback (Card 1), device 1"


def test_a_path_leads_to_a_card(tmp_path: Path) -> None:
    by_path = "/sys/class/sound/controlC2"
    assert chooser(LOOPBACK, YETI).choose(by_path).card == YETI
    assert fault(chooser(LOOPBACK), by_path).kind is FaultKind.ABSENT


@pytest.mark.parametrize("wanted", ["mic", "default", "dsnoop:CARD=Yeti", "pulse:remote"])
def test_a_name_of_alsa_is_taken_as_it_is(wanted: str) -> None:
    target = chooser(YETI).choose(wanted)
    assert (target.pcm, target.description, target.card) == (wanted, wanted, None)


def test_a_part_of_a_name_will_do_if_it_fits_one_device_only() -> None:
    assert chooser(YETI, LOOPBACK).choose("loop").card == LOOPBACK
    assert chooser(YETI, LOOPBACK).choose("puls").pcm == "pulse"
    error = fault(chooser(YETI, Card(3, "Yeti_1", (0,))), "YET")
    assert error.kind is FaultKind.AMBIGUOUS
    assert "Yeti_1" in error.message
    error = fault(chooser(names=("kitchen_left", "kitchen_right")), "kitchen")
    assert error.kind is FaultKind.AMBIGUOUS


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("Yetti", "Yeti"), ("mik", "mic"), ("hw:Yetti,0", "Yeti"), ("1-1.5", "1-1.4")],
)
def test_a_device_that_does_not_exist_is_answered_with_those_that_do(
    wanted: str, nearest: str
) -> None:
    error = fault(chooser(HDMI, YETI), wanted)
    assert error.kind is FaultKind.ABSENT
    assert wanted in error.message
    assert "Yeti (Blue Yeti, USB 1-1.4), default, mic, pulse" in error.message
    assert "vc4hdmi" not in error.message
    assert error.remedy == f"Did you mean {nearest}?"


def test_without_a_near_name_one_of_the_list_is_to_be_chosen() -> None:
    assert fault(chooser(YETI), "zzzz").remedy == "Set audio.device to one of them."


def test_names_that_cannot_capture_are_not_offered() -> None:
    devices = Chooser((), lambda: ["mic", "speaker"], usable=lambda name: name == "mic")
    assert [target.pcm for target in devices.available()] == ["mic"]
