"""How well the gate tells speech from everything else, over recordings with references."""

from __future__ import annotations

import argparse
import array
import json
import statistics
import sys
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stt_edge.ear.detector import Detector
from stt_edge.ear.examine import Examination, Examiner
from stt_edge.ear.wire import GateSettings
from stt_edge.model import SAMPLE_RATE, EndReason

NO_SPEECH: Final = ("nonspeech", "nonspeech_human", "music", "silence")
BLOCK_BYTES: Final = 3200
STEADY_S: Final = 90
"""Steady noise is repeated for so long; after a minute of it the second stage should sleep."""
BEFORE_ONSET_S: Final = 0.2


@dataclass
class Quality:
    """The figures, as they are added up."""

    noise_clips: int = 0
    noise_opened: list[str] = field(default_factory=list)
    noise_connections: int = 0
    noise_billed_s: float = 0.0
    noise_samples: int = 0
    noise_confirm_samples: int = 0
    noise_onsets: int = 0
    speech_clips: int = 0
    speech_missed: list[str] = field(default_factory=list)
    decision_ms: list[float] = field(default_factory=list)
    speech_s: float = 0.0
    covered_s: float = 0.0
    billed_s: float = 0.0
    perfect_s: float = 0.0
    onsets: int = 0
    onsets_clipped: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/gate-quality", description=__doc__)
    parser.add_argument("data", type=Path, help="a folder with manifest.jsonl and the recordings")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    parser.add_argument(
        "--shift", type=int, default=0, help="begin with so many samples of silence"
    )
    parser.add_argument(
        "--gain", type=float, default=0.0, help="make everything louder by so many dB"
    )
    arguments = parser.parse_args()
    manifest = arguments.data / "manifest.jsonl"
    if not manifest.is_file():
        parser.error(f"{manifest} is not there")
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    figures = summary(measure(arguments.data, rows, arguments.shift, arguments.gain))
    if not (arguments.shift or arguments.gain):
        figures |= steady(arguments.data, rows)
    print(json.dumps(figures) if arguments.json else table(figures))
    return 0


def measure(data: Path, rows: list[dict[str, Any]], shift: int, gain_db: float) -> Quality:
    quality = Quality()
    for row in rows:
        if row["kind"] not in (*NO_SPEECH, "speech") and not row["id"].startswith("mix-"):
            continue
        pcm = bytes(2 * shift) + amplified(read(data / row["file"]), gain_db)
        found = hear(pcm, row["id"])
        if row["kind"] in NO_SPEECH:
            add_noise(quality, row, found)
        elif row["kind"] == "speech":
            add_speech(quality, row, found, shift / SAMPLE_RATE)
        else:
            add_mixture(quality, row, found, shift / SAMPLE_RATE)
    return quality


def add_noise(quality: Quality, row: dict[str, Any], found: Examination) -> None:
    quality.noise_clips += 1
    quality.noise_samples += found.samples
    quality.noise_confirm_samples += found.confirm_samples
    quality.noise_onsets += found.first_stage_openings
    if found.segments:
        quality.noise_opened.append(row["id"])
        quality.noise_connections += len(found.segments)
        quality.noise_billed_s += found.billed_s


def add_speech(quality: Quality, row: dict[str, Any], found: Examination, shift_s: float) -> None:
    quality.speech_clips += 1
    if not found.segments:
        quality.speech_missed.append(row["id"])
    elif bounds := row["speech_bounds_energy"]:
        decided_s = found.segments[0].decided / SAMPLE_RATE
        quality.decision_ms.append(1000 * (decided_s - bounds[0] - shift_s))


def add_mixture(quality: Quality, row: dict[str, Any], found: Examination, shift_s: float) -> None:
    settings = GateSettings()
    labels = [(start + shift_s, end + shift_s) for start, end in row["segments"]]
    cuts = [(cut.start / SAMPLE_RATE, cut.end / SAMPLE_RATE) for cut in found.segments]
    pre_roll_s, hangover_s = settings.pre_roll_ms / 1000, settings.hangover_ms / 1000
    perfect = merged(
        (max(0.0, start - pre_roll_s), min(found.seconds, end + hangover_s))
        for start, end in labels
    )
    quality.speech_s += total(labels)
    quality.covered_s += sum(
        max(0.0, min(end, cut_end) - max(start, cut_start))
        for start, end in labels
        for cut_start, cut_end in cuts
    )
    quality.billed_s += total(cuts)
    quality.perfect_s += total(perfect)
    for start, _ in labels:
        wanted = max(0.0, start - BEFORE_ONSET_S)
        quality.onsets += 1
        if not any(cut_start <= wanted and start < cut_end for cut_start, cut_end in cuts):
            quality.onsets_clipped.append(f"{row['id']} {start}")


def steady(data: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Repeat each noise that lasts a while; return how awake the second stage is after a minute."""
    shares = {}
    for row in rows:
        if row["kind"] not in NO_SPEECH or row["seconds"] < 4:
            continue
        pcm = read(data / row["file"])
        pcm *= -(-STEADY_S * SAMPLE_RATE * 2 // len(pcm))
        detector, late = Detector(GateSettings()), 0
        for at in range(0, STEADY_S * SAMPLE_RATE * 2, BLOCK_BYTES):
            if at == 60 * SAMPLE_RATE * 2:
                late = detector.confirm_samples
            detector.feed(at // 2, pcm[at : at + BLOCK_BYTES])
        seconds = STEADY_S - 60
        shares[row["id"]] = (detector.confirm_samples - late) / (seconds * SAMPLE_RATE)
    return {
        "steady_clips": len(shares),
        "steady_share_mean": round(statistics.fmean(shares.values()), 4),
        "steady_over_5_percent": sorted(name for name, share in shares.items() if share > 0.05),
    }


def summary(quality: Quality) -> dict[str, Any]:
    decisions = sorted(quality.decision_ms)
    return {
        "noise_clips": quality.noise_clips,
        "noise_opened": quality.noise_opened,
        "noise_connections": quality.noise_connections,
        "noise_billed_s": round(quality.noise_billed_s, 2),
        "noise_first_stage_openings": quality.noise_onsets,
        "noise_second_stage_share": round(
            quality.noise_confirm_samples / max(1, quality.noise_samples), 4
        ),
        "speech_clips": quality.speech_clips,
        "speech_missed": quality.speech_missed,
        "decision_ms_median": round(statistics.median(decisions)),
        "decision_ms_p95": round(decisions[int(0.95 * (len(decisions) - 1))]),
        "speech_covered": round(quality.covered_s / quality.speech_s, 4),
        "billed_to_perfect": round(quality.billed_s / quality.perfect_s, 4),
        "billed_to_speech": round(quality.billed_s / quality.speech_s, 4),
        "onsets": quality.onsets,
        "onsets_without_200_ms_before": quality.onsets_clipped,
    }


def table(figures: dict[str, Any]) -> str:
    lines = ["| figure | value |", "|---|---|"]
    for name, value in figures.items():
        shown = f"{len(value)}: {', '.join(value)}" if isinstance(value, list) else value
        lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    return "\n".join(lines)


def hear(pcm: bytes, name: str) -> Examination:
    examiner = Examiner(name, GateSettings())
    for at in range(0, len(pcm), BLOCK_BYTES):
        examiner.hear(pcm[at : at + BLOCK_BYTES])
    return examiner.finish(EndReason.END_OF_FILE)


def read(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())


def amplified(pcm: bytes, gain_db: float) -> bytes:
    if not gain_db:
        return pcm
    factor = 10 ** (gain_db / 20)
    samples = array.array("h", pcm)
    return array.array("h", (max(-32768, min(32767, round(s * factor))) for s in samples)).tobytes()


def merged(spans: Any) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def total(spans: list[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)


if __name__ == "__main__":
    sys.exit(main())
