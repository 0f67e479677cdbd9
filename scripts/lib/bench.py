"""Measure what the daemon costs and how fast it is, beside the least that capture can cost."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scripts.lib import gate_quality, process_cost, provider_bench
from scripts.lib.daemon_process import Daemon, DaemonError
from scripts.lib.delays import measure_delays
from scripts.lib.figures import spread
from scripts.lib.process_cost import Cost
from scripts.lib.report import as_markdown
from scripts.lib.second_stage import measure_second_stage
from tests.pulse import SINK, PulseMicrophone
from tests.shared_data import DATA

_SENTENCE: Final = "hello this is a test of the system"
_PAUSE_S: Final = 3.0
_SETTLE_S: Final = 5.0
_AFTER_S: Final = 300.0
_STARTS: Final = 5
_HANGOVER_MS: Final = 600
_BLOCK_MS: Final = 100


def main() -> int:
    """Run the measurements asked for and print them; return the exit code."""
    arguments = _parser().parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="stt-edge-bench-") as folder:
            results = _measure(arguments, Path(folder))
    except (DaemonError, RuntimeError, OSError) as error:
        print(f"The benchmark cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; everything that was started has been ended.", file=sys.stderr)
        return 130
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print(as_markdown(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long silence is measured")
    parser.add_argument("--utterances", type=int, default=12, help="how many sentences are spoken")
    parser.add_argument("--device", help="an ALSA device in place of the null sink; silence only")
    parser.add_argument("--long", action="store_true", help="also wait 5 minutes after the speech")
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="recordings with a manifest.jsonl, for the gate",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file too")
    return parser


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {"machine": _machine()}
    with _microphone(arguments.device, folder) as (device, environment, microphone):
        _progress("start to ready")
        results["start"] = _starts(environment, device)
        with Daemon(environment, {"device": device}) as daemon:
            daemon.wait_hearing(30)
            _progress(f"silence, {arguments.seconds:.0f} s")
            results["silence"] = _silence(daemon, environment, device, arguments.seconds)
            if microphone:
                _progress(f"speech, {arguments.utterances} sentences")
                speech = folder / "speech.wav"
                write_sentences(speech, arguments.utterances)
                results["speech"] = _speech(daemon, microphone, speech, arguments.utterances)
            if microphone and arguments.long:
                _progress("five minutes of silence after the speech")
                time.sleep(_AFTER_S)
                results["after"] = _pss(daemon)
        if microphone:
            _progress("onset and end against known positions")
            results["delays"] = measure_delays(environment, microphone, folder)
    results |= _gate(arguments.data)
    results["providers"] = _providers(arguments.data, folder / "providers")
    return results


def _providers(data: Path, folder: Path) -> dict[str, Any]:
    _progress("providers on a network, against their simulators")
    folder.mkdir()
    return asyncio.run(provider_bench.measure(data, speak_sentences(folder), folder))


def speak_sentences(folder: Path) -> Path | None:
    """Return a recording of two sentences; None where there is nothing to speak them with."""
    if shutil.which("flite") is None:
        return None
    recording = folder / "sentences.wav"
    write_sentences(recording, 2)
    return recording


def _gate(data: Path) -> dict[str, Any]:
    """Measure the gate over recordings, where there are any."""
    manifest = data / "manifest.jsonl"
    if not manifest.is_file():
        _progress(f"the gate: left out, because there is no {manifest}")
        return {}
    _progress("the gate over recordings, and its second stage")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    quality = gate_quality.summary(gate_quality.measure(data, rows, 0, 0.0))
    return {"gate": quality, "second_stage": measure_second_stage(data, rows)}


@contextmanager
def _microphone(
    device: str | None, folder: Path
) -> Iterator[tuple[str, dict[str, str], PulseMicrophone | None]]:
    """Yield the ALSA device, the environment in which it exists, and what speaks into it."""
    if device is not None:
        yield device, dict(os.environ), None
        return
    microphone = PulseMicrophone(folder)
    try:
        microphone.start()
        yield SINK, microphone.environment, microphone
    finally:
        microphone.end()


def _machine() -> dict[str, Any]:
    return {
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _starts(environment: dict[str, str], device: str) -> dict[str, Any]:
    ready_ms, hearing_ms, stop_ms = [], [], []
    for _ in range(_STARTS):
        begun = time.monotonic()
        with Daemon(environment, {"device": device}) as daemon:
            assert daemon.ready_s is not None
            ready_ms.append(daemon.ready_s * 1000)
            daemon.wait_hearing(30)
            hearing_ms.append((time.monotonic() - begun) * 1000)
            stop_ms.append(daemon.stop() * 1000)
    return {
        "starts": _STARTS,
        "ready_ms": spread(ready_ms),
        "hearing_ms": spread(hearing_ms),
        "stop_ms": spread(stop_ms),
    }


def _silence(
    daemon: Daemon, environment: dict[str, str], device: str, seconds: float
) -> dict[str, Any]:
    """Measure the daemon and the references over the same seconds of the same device."""
    with ExitStack() as stack:
        capture = ["arecord", "-q", "-D", device, "-f", "S16_LE", "-r", "16000", "-c", "1"]
        capture += ["-t", "raw"]
        arecord = stack.enter_context(_running([*capture, "/dev/null"], environment))
        gated = stack.enter_context(_gated(capture, environment))
        time.sleep(_SETTLE_S)
        main, *others = process_cost.descendants(daemon.pid)
        trees = {
            "stt-edge": [main, *others],
            "of which main": [main],
            "of which the ear": others,
            "arecord": [arecord],
            "arecord + webrtcvad": gated,
        }
        before = {name: process_cost.read(pids) for name, pids in trees.items()}
        time.sleep(seconds)
        after = {name: process_cost.read(pids) for name, pids in trees.items()}
    return {name: asdict(process_cost.between(before[name], after[name])) for name in trees}


@contextmanager
def _running(
    argv: list[str], environment: dict[str, str], stdin: int | None = None
) -> Iterator[int]:
    process = subprocess.Popen(
        argv, env=environment, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{argv[0]} ended by itself with exit code {process.returncode}")
    finally:
        process.kill()
        process.wait()


@contextmanager
def _gated(capture: list[str], environment: dict[str, str]) -> Iterator[list[int]]:
    """Run ``arecord | webrtcvad loop`` and yield both process ids."""
    outlet, inlet = os.pipe()
    arecord = subprocess.Popen(capture, env=environment, stdout=inlet, stderr=subprocess.DEVNULL)
    os.close(inlet)
    try:
        loop = [sys.executable, "-m", "scripts.lib.vad_loop"]
        with _running(loop, environment, outlet) as pid:
            yield [arecord.pid, pid]
    finally:
        os.close(outlet)
        arecord.kill()
        arecord.wait()


def write_sentences(path: Path, count: int) -> None:
    """Write a recording of a sentence spoken ``count`` times, with a pause after each."""
    voice = path.with_name("sentence.wav")
    argv = ["flite", "-voice", "slt", "-t", _SENTENCE, "-o", str(voice)]
    subprocess.run(argv, check=True, capture_output=True)
    with wave.open(str(voice)) as source:
        pcm, rate = source.readframes(source.getnframes()), source.getframerate()
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        for _ in range(count):
            target.writeframes(pcm + bytes(round(_PAUSE_S * rate) * 2))


def _speech(
    daemon: Daemon, microphone: PulseMicrophone, speech: Path, count: int
) -> dict[str, Any]:
    before_count = len(daemon.records())
    before = process_cost.read(process_cost.descendants(daemon.pid))
    microphone.play(speech)
    after = process_cost.read(process_cost.descendants(daemon.pid))
    daemon.wait_for_records(before_count + 1, 30)
    time.sleep(_SETTLE_S)
    records = daemon.records()[before_count:]
    cost: Cost = process_cost.between(before, after)
    return {
        "sentences": count,
        "records": len(records),
        "word_for_word": sum(record["text"] == _SENTENCE for record in records),
        "speech_s": round(sum(record["speech_ms"] for record in records) / 1000, 1),
        "lost_ms": sum(record["lost_ms"] for record in records),
        "latency_ms": spread([record["latency_ms"] for record in records]),
        "after_hangover_and_block_ms": spread(
            [record["latency_ms"] - _HANGOVER_MS - _BLOCK_MS for record in records]
        ),
        "cost": asdict(cost),
        "pss_by_process": _pss(daemon)["by_process"],
    }


def _pss(daemon: Daemon) -> dict[str, Any]:
    pids = process_cost.descendants(daemon.pid)
    by_process = {process_cost.name_of(pid): process_cost.pss_mib(pid) for pid in pids}
    return {"pss_mib": round(sum(by_process.values()), 1), "by_process": by_process}


def _progress(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
