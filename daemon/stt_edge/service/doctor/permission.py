"""Checks ``group-audio`` and ``alsa-major``: whether the service may open sound devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stt_edge.service.device_watch import alsa_configurations, is_sound_server
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.people import READ, WRITE, User, group_id, mode_of

_DEVICES: Final = Path("/dev/snd")
_PROC_DEVICES: Final = Path("/proc/devices")
_GROUP: Final = "audio"


def check_group_audio(case: Case, devices: Path = _DEVICES) -> Iterator[Finding]:
    """Look whether the user of the service may open what lies in /dev/snd."""
    if not wants_a_card(case):
        return
    user = case.user
    nodes = sorted(devices.glob("pcm*c")) if devices.is_dir() else []
    if not nodes:
        yield from _no_node(user, devices)
        return
    denied = [node for node in nodes if not user.may(READ | WRITE, node)]
    if not denied:
        yield well("group-audio", f"{user.name} may open what is in {devices}.")
        return
    remedy = f"sudo usermod -aG {_GROUP} {user.name}, then restart: a group counts from the start."
    if user.is_this and not case.runs and not case.unit.installed:
        remedy = f"sudo usermod -aG {_GROUP} {user.name}, then log in again."
    yield failing(
        "group-audio", f"{user.name} may not open {denied[0]} ({mode_of(denied[0])}).", remedy
    )


def check_alsa_major(case: Case, proc_devices: Path = _PROC_DEVICES) -> Iterator[Finding]:
    """Look whether the kernel knows of sound devices; a unit's DeviceAllow= needs it at start."""
    if not wants_a_card(case):
        return
    if re.search(r"^\s*\d+ alsa$", proc_devices.read_text(), re.MULTILINE):
        yield well("alsa-major", f"{proc_devices} has alsa: char-alsa of DeviceAllow= means it.")
        return
    message = f"{proc_devices} has no alsa: no sound module is loaded"
    if case.unit.active:
        yield failing(
            "alsa-major",
            f"{message}, and the unit, which settled at its start what it may open, will be denied "
            "a microphone that is plugged in now.",
            f"sudo modprobe snd && sudo systemctl restart {case.unit.name}",
        )
    else:
        yield doubtful("alsa-major", f"{message}.", "sudo modprobe snd")


def _no_node(user: User, devices: Path) -> Iterator[Finding]:
    number = group_id(_GROUP)
    if user.uid == 0 or (number is not None and number in user.groups):
        yield well("group-audio", f"{user.name} is in {_GROUP}; {devices} has no microphone now.")
        return
    yield doubtful(
        "group-audio",
        f"{devices} has no microphone, and {user.name} is not in {_GROUP}: it may not open one "
        "that is plugged in.",
        f"sudo usermod -aG {_GROUP} {user.name}",
    )


def wants_a_card(case: Case) -> bool:
    """Return whether the sound comes from a card: not from a file, a program or a sound server."""
    audio = case.config.audio
    if not audio.is_device:
        return False
    # What ALSA calls default is a card where there is no sound server.
    return audio.device == "default" or not is_sound_server(audio.device, alsa_configurations())
