"""What the second stage of the gate costs and how often it runs, over recordings without speech."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from scripts.lib.gate_quality import BLOCK_BYTES, NO_SPEECH, read

from stt_edge.ear.detector import Detector
from stt_edge.ear.wire import GateSettings
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE


def measure_second_stage(data: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures; the time is that of all threads, of the gate alone, without capture."""
    clips = [read(data / row["file"]) for row in rows if row["kind"] in NO_SPEECH]
    seconds = sum(len(pcm) for pcm in clips) / SAMPLE_BYTES / SAMPLE_RATE
    _, alone_ms = _hear(clips, "none")
    judged_s, both_ms = _hear(clips, "auto")
    return {
        "clips": len(clips),
        "audio_s": round(seconds, 1),
        "first_stage_cpu_ms_per_audio_s": round(alone_ms / seconds, 3),
        "both_stages_cpu_ms_per_audio_s": round(both_ms / seconds, 3),
        "second_stage_awake_share": round(judged_s / seconds, 4),
        "second_stage_cpu_ms_per_judged_s": round((both_ms - alone_ms) / max(judged_s, 0.001), 1),
    }


def _hear(clips: list[bytes], confirm: str) -> tuple[float, float]:
    """Return the seconds the second stage judged, and the CPU time spent in milliseconds."""
    judged = 0
    begun_ns = time.process_time_ns()
    for pcm in clips:
        detector = Detector(GateSettings(confirm=confirm))
        for start in range(0, len(pcm), BLOCK_BYTES):
            detector.feed(start // SAMPLE_BYTES, pcm[start : start + BLOCK_BYTES])
        judged += detector.confirm_samples
    return judged / SAMPLE_RATE, (time.process_time_ns() - begun_ns) / 1e6
