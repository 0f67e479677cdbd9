"""Checks ``device``, ``rate`` and ``level``: what is heard, and how.

Beside a running service the device is not opened: the service has it, and is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import DeviceError
from stt_edge.extras import install_command
from stt_edge.model import SAMPLE_RATE
from stt_edge.service.device_level import Heard, listen
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.child import run_module
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.muting import is_muted
from stt_edge.service.keeper_terms import WAITING, State
from stt_edge.service.status import EarStatus, duration

_LISTEN_S: Final = 3.0
_LOOK_S: Final = 10.0
_SILENT_S: Final = 2.0
_LONG_SILENT_S: Final = 10.0
"""As long for a service that listens all day: some microphones give zeros between two words."""
_CLIPPED_MS: Final = 300
_LOUD_DB: Final = -25.0
_PROC: Final = Path("/proc/asound")
_CONVERTERS: Final = (
    f"Install libasound2-plugins, or: {install_command('resample')}; or use another microphone."
)
_TURN_UP: Final = "Look for a switch on the microphone, and at its capture volume in alsamixer."
_TURN_DOWN: Final = "Turn its capture volume down in alsamixer, or move it away from what is loud."
_RESTART: Final = (
    "sudo systemctl restart stt-edge: which devices a unit may open is settled when it starts."
)

Listen = Callable[..., Heard]


def check_sound(case: Case, listen: Listen = listen) -> Iterator[Finding]:
    """Look at the source of the sound; of a running service's it is the service that tells."""
    if case.status is not None:
        yield from _ask(case, case.status.ear)
    elif case.silence is not None:
        yield doubtful(
            "device",
            "A running stt-edge has it, so it is not opened here, and it does not tell how it is.",
            case.silence.remedy or "journalctl -u stt-edge",
        )
    elif is_muted(case):
        yield well("device", "is not opened: stt-edge is muted.")
    else:
        yield from _open(case, listen)


# Of a running service


def _ask(case: Case, ear: EarStatus) -> Iterator[Finding]:
    asked = "(asked of the running stt-edge, not opened here)"
    if ear.state in (State.MUTED, State.MUTING):
        yield well("device", f"is closed: stt-edge is muted {asked}.")
    elif ear.state != State.HEARING:
        trouble = ear.trouble or f"stt-edge is {ear.state}, for {duration(ear.since_s)}."
        remedy = "journalctl -u stt-edge tells what was tried."
        if ear.fault == "denied" and case.unit.active:
            remedy = _RESTART
        make = failing if ear.state in WAITING else doubtful
        yield make("device", f"{trouble} {asked}", remedy)
    else:
        yield well("device", f"{ear.device} {asked}.")
        if _is_device(case):
            yield from _rate(case, ear.rate or SAMPLE_RATE)
        yield from _level(
            level_db=ear.level_db,
            noise_db=ear.noise_db,
            silent_s=ear.silent_s if ear.silent_s >= _LONG_SILENT_S else 0.0,
            clipped_ms=ear.clipped_ms,
            over="the last second",
        )


# Of our own


def _open(case: Case, listen: Listen) -> Iterator[Finding]:
    audio = case.config.audio
    try:
        heard = listen(audio.source(), _LISTEN_S, patience_s=audio.first_block_s)
    except DeviceError as error:
        yield failing("device", error.message, error.remedy or "stt-edge devices lists them.")
        return
    opened, health = heard.opened, heard.health
    yield well("device", f"{opened.description}.")
    if _is_device(case):
        yield from _rate(case, opened.rate)
    yield from _level(
        level_db=health.level_db,
        noise_db=health.noise_db,
        silent_s=health.silent_s,
        clipped_ms=health.clipped_ms,
        over=f"{_LISTEN_S:g} s",
    )


def _is_device(case: Case) -> bool:
    return case.config.audio.is_device


def _rate(case: Case, opened_at: int) -> Iterator[Finding]:
    found = run_module("stt_edge.ear.look", case.config.audio.device, limit_s=_LOOK_S)
    if isinstance(found, str):
        yield doubtful(
            "rate",
            f"It delivers {opened_at} Hz; what it can do by itself cannot be seen: {found}.",
            "stt-edge devices shows the rates of each device.",
        )
        return
    if found["warning"]:
        yield doubtful("device", found["warning"], "Name it by its id: stt-edge devices.")
    yield rate_finding(opened_at, hardware_rate(found), well_converted=found["converts_well"])


def hardware_rate(found: dict[str, Any], proc: Path = _PROC) -> int | None:
    """Return at how many hertz the hardware runs, or would; None where that cannot be seen.

    ``found`` is what ``ear.look`` says; a card in use tells its rate in ``proc``.
    """
    rates: list[int] | None = found["rates"]
    if rates is not None:
        above = [rate for rate in rates if rate >= SAMPLE_RATE]
        return min(above) if above else max(rates, default=None)
    if found["card"] is None:
        return None
    file = proc / f"card{found['card']}" / f"pcm{found['number']}c" / "sub0" / "hw_params"
    try:
        running = re.search(r"^rate: (\d+)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(running[1]) if running else None


def rate_finding(opened_at: int, hardware: int | None, *, well_converted: bool) -> Finding:
    """Say how 16 kHz come about; ``opened_at`` is the rate asked of ALSA, all in hertz."""
    if opened_at != SAMPLE_RATE:
        return well("rate", f"{opened_at} Hz are read and converted to 16000 Hz here, by soxr.")
    if hardware in (None, SAMPLE_RATE):
        return well("rate", "16000 Hz, as it is wanted.")
    if hardware is not None and hardware < SAMPLE_RATE:
        return doubtful(
            "rate",
            f"The device has {hardware} Hz at most; what speech has above {hardware // 2} Hz is "
            "missing.",
            "Use another microphone; a headset on Bluetooth may have a better profile (mSBC).",
        )
    message = f"16000 Hz, which ALSA's plug layer makes of the device's {hardware} Hz"
    if well_converted:
        return well("rate", f"{message}.")
    return doubtful("rate", f"{message} by linear interpolation: badly.", _CONVERTERS)


def _level(
    *,
    level_db: float | None,
    noise_db: float | None,
    silent_s: float,
    clipped_ms: int,
    over: str,
) -> Iterator[Finding]:
    if silent_s >= _SILENT_S:
        message = (
            f"Every sample of the last {duration(silent_s)} is exactly zero: it is muted in the "
            "mixer, or dead."
        )
        yield doubtful("level", message, _TURN_UP)
    elif clipped_ms >= _CLIPPED_MS:
        message = (
            f"It is overdriven: {clipped_ms / 1000:.1f} s of the last minute reach full scale."
        )
        yield doubtful("level", message, _TURN_DOWN)
    elif noise_db is not None and noise_db > _LOUD_DB:
        yield doubtful("level", f"Its noise floor is {noise_db:.0f} dB, which is loud.", _TURN_DOWN)
    elif level_db is None or noise_db is None:
        yield doubtful("level", "It is not known yet.", "Ask again in a second.")
    else:
        yield well("level", f"{level_db:.0f} dB over {over}, noise floor {noise_db:.0f} dB.")
