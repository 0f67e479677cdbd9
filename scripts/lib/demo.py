"""Speak a sentence into a real ALSA device and show what the running daemon makes of it."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scripts.lib.daemon_process import Daemon, DaemonError
from tests.pulse import SINK, PulseMicrophone

SENTENCE: Final = "hello this is a test of the system"
_WAIT_S: Final = 60.0
_HEAR_S: Final = 30.0


class StepError(Exception):
    """A step of the demonstration failed; the message says which and what to do."""


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("sentence", nargs="?", default=SENTENCE, help="what to say, in English")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="stt-edge-demo-"))
    try:
        _demonstrate(arguments.sentence, folder)
    except StepError as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; everything that was started has been ended.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _demonstrate(sentence: str, folder: Path) -> None:
    _say(1, f"Synthesising a voice (flite, voice slt) that says: “{sentence}”")
    recording = _synthesise(sentence, folder)
    _say(2, "Starting a private PulseAudio null sink; ALSA shows its monitor as a microphone")
    with _explained(), _microphone(folder) as microphone:
        print(f"     ALSA device “{SINK}”, 16 kHz, in real time; no hardware needed")
        _say(3, "Starting the daemon: stt-edge run, everything else as it comes")
        with Daemon(microphone.environment, {"device": SINK}) as daemon:
            assert daemon.ready_s is not None
            print(f"     ready {daemon.ready_s:.2f} s after its start")
            daemon.wait_hearing(_HEAR_S)
            _say(4, "Speaking into the microphone")
            microphone.play(recording)
            spoken = time.monotonic()
            _say(5, "Waiting for the transcript in the JSONL file")
            record = daemon.wait_for_records(1, _WAIT_S)[0]
            print(f"     there it is, {time.monotonic() - spoken:.1f} s after the last sound")
            line = daemon.jsonl.read_text(encoding="utf-8").splitlines()[0]
            stopped_s = daemon.stop()
        _say(6, f"The daemon stopped cleanly in {stopped_s:.1f} s")
    _report(sentence, line, record)


def _synthesise(sentence: str, folder: Path) -> Path:
    voice, recording = folder / "voice.wav", folder / "sentence.wav"
    argv = ["flite", "-voice", "slt", "-t", sentence, "-o", str(voice)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise StepError(f"flite cannot be run ({error.strerror}): apt-get install flite") from error
    if done.returncode != 0 or not voice.exists():
        raise StepError(f"flite said nothing: {done.stderr.strip() or 'no reason given'}")
    voice.rename(recording)
    return recording


@contextmanager
def _microphone(folder: Path) -> Iterator[PulseMicrophone]:
    microphone = PulseMicrophone(folder)
    try:
        microphone.start()
        yield microphone
    finally:
        microphone.end()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except DaemonError as error:
        raise StepError(f"the daemon: {error}") from error
    except (RuntimeError, OSError) as error:
        raise StepError(
            f"the microphone: {error}\nIt needs pulseaudio, pulseaudio-utils, libasound2-plugins."
        ) from error


def _report(sentence: str, line: str, record: dict[str, Any]) -> None:
    heard = f"“{record['text']}”"
    if record["text"] == sentence:
        heard += "  (word for word)"
    print(
        f"\nThe line in transcripts.jsonl:\n\n{textwrap.indent(line, '  ')}\n\nHow it got there:\n"
    )
    for name, value in (
        ("said", f"“{sentence}”"),
        ("heard", heard),
        ("from", f"{record['start']} to {record['end']} ({record['duration_ms']} ms)"),
        ("way", "microphone → ear (a process of its own) → gate → utterance log → session"),
        ("", "→ provider → store → transcripts.jsonl"),
        ("provider", f"{record['provider']}, on this machine: no network, no key"),
        (
            "latency",
            f"{record['latency_ms']} ms from the end of speech to the commit, 600 ms of it",
        ),
        ("", "the pause that ends an utterance"),
        ("lost", f"{record['lost_ms']} ms of sound"),
    ):
        print(f"  {name:<10}{value}")


def _say(number: int, text: str) -> None:
    print(f"\n{number}/6  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
