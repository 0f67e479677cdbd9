"""On a machine with snd-aloop: what an idle daemon costs, and what a stopped ear loses.

``PYTHONPATH=.:daemon python3 -m scripts.lib.loopback``, with the default extras installed. What is
played on ``plughw:Loopback,0`` is heard on ``plughw:Loopback,1``; unlike a sound server, a card
that is not read loses sound.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import wave
from array import array
from pathlib import Path
from typing import Final

from scripts.lib.daemon_process import Daemon
from scripts.lib.process_cost import between, descendants, read
from tests.ear.running import RunningEar

from stt_edge.ear.settings import SourceSettings
from stt_edge.ear.wire import Audio, Gap, GateSettings
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE

PLAY: Final = "plughw:Loopback,0"
HEAR: Final = "plughw:Loopback,1"
QUIET_S: Final = 30.0
STOPS_S: Final = (0.4, 3.0, 3.0, 10.0)
FINGERPRINT: Final = 64
"""Bytes of noise that occur once only."""


def main() -> int:
    print("| process tree in silence | CPU ms per audio-second | wake-ups a second | PSS MiB |")
    print("|---|---|---|---|")
    arecord = ["arecord", "-q", "-D", HEAR, "-f", "S16_LE", "-r", "16000", "-c", "1", "/dev/null"]
    with subprocess.Popen(arecord) as reference:
        idle("arecord", reference.pid)
        reference.terminate()
    with Daemon(dict(os.environ), {"device": HEAR}) as daemon:
        idle("stt-edge", daemon.pid)
    print("\n| ear stopped for, s | samples counted as missing | samples that are missing |")
    print("|---|---|---|", flush=True)
    noise = array("h", (random.Random(1).randint(-20_000, 20_000) for _ in range(60 * SAMPLE_RATE)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(noise.tobytes())
        for seconds in STOPS_S:
            stopped(path, noise.tobytes(), seconds)
    return 0


def idle(name: str, pid: int) -> None:
    """Print what a process and its children cost while nobody speaks."""
    time.sleep(5)
    pids = descendants(pid)
    before = read(pids)
    time.sleep(QUIET_S)
    found = between(before, read(pids))
    figures = f"{found.cpu_ms_per_s:.1f} | {found.wakeups_per_s:.1f} | {found.pss_mib:.1f}"
    print(f"| {name} | {figures} |", flush=True)


def stopped(path: Path, noise: bytes, seconds: float) -> None:
    """Stop the ear while it hears noise; print what it counts as missing, and what is."""
    with subprocess.Popen(["aplay", "-q", "-D", PLAY, str(path)]) as player:
        time.sleep(1)
        gate = GateSettings(hangover_ms=10_000, confirm="none")
        with RunningEar(SourceSettings(device=HEAR), gate) as ear:
            ear.wait_for(Audio, 5, timeout_s=60)
            ear.stop_for(seconds)
            time.sleep(4)
            heard = [(span.sample, span.pcm) for each in ear.utterances() for span in each[1]]
            counted = sum(gap.samples for gap in ear.of(Gap))
        player.terminate()
    places = []
    for sample, pcm in heard:
        at = noise.find(pcm[2000 : 2000 + FINGERPRINT])
        if at >= 0:
            places.append((at - 2000) // SAMPLE_BYTES - sample)
    # What the addresses do not account for shifts where the noise is found.
    shift = places[-1] - places[0] if places else 0
    print(f"| {seconds:g} | {counted} | {counted + shift} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
