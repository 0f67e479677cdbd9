"""Main is stopped for 20 s while somebody speaks: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.shared_data import DATA, needs_data
from tests.system.test_exactness import samples_of

ROOT = Path(__file__).resolve().parents[2]
RECORDING = DATA / "vad" / "mix-a1-quiet.wav"
STOP_AFTER_S = 10.0
STOPPED_S = 20.0


@needs_data
def test_a_main_stopped_for_20_s_loses_and_doubles_nothing(tmp_path: Path) -> None:
    transcripts, given = tmp_path / "transcripts.jsonl", tmp_path / "given"
    config = tmp_path / "stt-edge.yaml"
    config.write_text(
        f"audio: {{file: {RECORDING}, pace: realtime}}\n"
        f"providers: [{{name: recording, directory: {given}}}]\n"
        f"sinks: {{jsonl: {{path: {transcripts}}}}}\n"
    )
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}",
    }
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.daemon", "run", "-c", str(config)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(STOP_AFTER_S)
        assert daemon.poll() is None
        os.kill(daemon.pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(daemon.pid, signal.SIGCONT)
        _, errors = daemon.communicate(timeout=60)
    finally:
        daemon.kill()
        daemon.wait()
    assert daemon.returncode == 0, errors
    records = [json.loads(line) for line in transcripts.read_text().splitlines()]
    audio = [path.read_bytes() for path in sorted(given.glob("*.pcm"), key=lambda p: int(p.stem))]
    source = samples_of(RECORDING)
    # The stop covers two utterances of the recording; the ear is never taken for deaf.
    assert len(records) == len(audio) >= 4
    assert len({record["stream"] for record in records}) == 1
    for record, pcm in zip(records, audio, strict=True):
        assert pcm == source[2 * record["start_sample"] : 2 * record["end_sample"]]
        assert record["lost_ms"] == 0
