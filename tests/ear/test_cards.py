"""Sound cards, read from a tree like the kernel's own."""

from __future__ import annotations

from pathlib import Path

from stt_edge.ear.cards import Card, card_number_at, cards


def make_card(
    sysfs: Path,
    number: int,
    card_id: str,
    *,
    captures: tuple[int, ...] = (0,),
    usb: str | None = None,
    product: str | None = None,
) -> None:
    """Add a card under ``sysfs``/class/sound, its device under ``sysfs``/devices."""
    device = sysfs / "devices" / "platform" / f"thing.{number}"
    if usb:
        device = sysfs / "devices" / "usb1" / usb / f"{usb}:1.0"
        if product:
            device.parent.mkdir(parents=True)
            (device.parent / "product").write_text(f"{product}\n")
    real = device / "sound" / f"card{number}"
    real.mkdir(parents=True)
    (real / "id").write_text(f"{card_id}\n")
    (real / "device").symlink_to(device)
    klass = sysfs / "class" / "sound"
    klass.mkdir(parents=True, exist_ok=True)
    (klass / f"card{number}").symlink_to(real)
    for pcm in [f"pcmC{number}D{n}c" for n in captures] + [f"pcmC{number}D0p"]:
        (real / pcm).mkdir()
        (klass / pcm).symlink_to(real / pcm)


def test_cards_are_listed_with_what_names_them(tmp_path: Path) -> None:
    make_card(tmp_path, 0, "vc4hdmi", captures=())
    make_card(tmp_path, 10, "Device", captures=(0, 2), usb="1-1.4", product="USB PnP Sound Device")
    make_card(tmp_path, 1, "Loopback", captures=(0, 1))
    assert cards(tmp_path / "class" / "sound") == [
        Card(0, "vc4hdmi", ()),
        Card(1, "Loopback", (0, 1)),
        Card(10, "Device", (0, 2), "1-1.4", "USB PnP Sound Device"),
    ]


def test_a_machine_without_sound_has_no_cards(tmp_path: Path) -> None:
    assert cards(tmp_path / "class" / "sound") == []


def test_a_card_that_is_being_unplugged_is_left_out(tmp_path: Path) -> None:
    make_card(tmp_path, 0, "Device")
    (tmp_path / "class/sound/card1").symlink_to(tmp_path / "gone")
    assert [card.id for card in cards(tmp_path / "class" / "sound")] == ["Device"]


def test_a_card_is_spoken_of_by_id_product_and_place() -> None:
    assert Card(1, "Device", (0,), "1-1.4", "Blue Yeti").label == "Device (Blue Yeti, USB 1-1.4)"
    assert Card(1, "Loopback", (0,)).label == "Loopback"


def test_links_of_udev_lead_to_a_card(tmp_path: Path) -> None:
    (tmp_path / "controlC3").touch()
    (tmp_path / "by-id").mkdir()
    link = tmp_path / "by-id" / "usb-Blue_Yeti-00"
    link.symlink_to(tmp_path / "controlC3")
    assert card_number_at(link) == 3
    assert card_number_at(tmp_path / "pcmC2D0c") == 2
    assert card_number_at(tmp_path / "timer") is None
