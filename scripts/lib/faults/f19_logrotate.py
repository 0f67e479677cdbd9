"""F19: logrotate moves the file away while it is written, with a signal and without."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fault import ROOT, FaultError
from scripts.lib.fault_kit.tests_run import hold
from tests.sinks.test_rotation import LOGROTATE, logrotate, shipped_configuration

NAME = "F19"
TITLE = "the real logrotate at 100 records a second, and copytruncate"

RATE: Final = 100
ROTATIONS: Final = 12
"""Fewer than the shipped configuration keeps."""
QUICK_ROTATIONS: Final = 3
_BETWEEN_S: Final = 0.5

WRITER: Final = """
import json, signal, sys, time
from pathlib import Path
from stt_edge.sinks.jsonl_file import JsonlFile

file = JsonlFile(Path(sys.argv[1]))
file.open()
stopped = []
signal.signal(signal.SIGHUP, lambda *_: file.reopen())
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
number = 0
due_s = time.monotonic()
while not stopped:
    file.append(f"id-{number}", json.dumps({"id": f"id-{number}"}).encode() + b"\\n")
    number += 1
    due_s += 1 / float(sys.argv[2])
    time.sleep(max(0.0, due_s - time.monotonic()))
file.close()
print(number)
"""


def run(work: Path, quick: bool) -> str:
    """Rotate with the shipped configuration; every id has to be in one of the files, once."""
    if LOGROTATE is None or os.geteuid() != 0:
        raise FaultError("logrotate is not here, or its su cannot be tried: run it as root")
    rotations = QUICK_ROTATIONS if quick else ROTATIONS
    silent = _rotate(work / "create", rotations, "")
    signalled = _rotate(
        work / "signal", rotations, "postrotate\n        kill -HUP {pid}\n    endscript"
    )
    copied = _rotate(work / "copytruncate", rotations, "copytruncate", may_lose=True)
    tried = "" if quick else f"; {hold('tests/sinks/test_rotation.py')}"
    return (
        f"create: 0 of {silent[0]} lost, with a signal: 0 of {signalled[0]} lost, {rotations} "
        f"rotations each; copytruncate: {copied[0] - copied[1]} of {copied[0]} lost, no crash"
        f"{tried}"
    )


def _rotate(
    directory: Path, rotations: int, more: str, *, may_lose: bool = False
) -> tuple[int, int]:
    """Return how many lines were written and how many are in the files. Raises FaultError."""
    logs = directory / "log"
    logs.mkdir(mode=0o750, parents=True)
    path = logs / "transcripts.jsonl"
    argv = [sys.executable, "-c", WRITER, str(path), str(RATE)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'daemon'}"}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        try:
            configuration = directory / "logrotate"
            configuration.write_text(_configuration(logs, more.format(pid=writer.pid)))
            configuration.chmod(0o644)
            for _ in range(rotations):
                time.sleep(_BETWEEN_S)
                done = logrotate("--force", configuration)
                if (done.returncode, done.stderr) != (0, ""):
                    raise FaultError(f"logrotate: {done.stderr}")
            time.sleep(_BETWEEN_S)
        finally:
            writer.terminate()
            said, _ = writer.communicate(timeout=30)
    if writer.returncode != 0:
        raise FaultError(f"the writer ended with {writer.returncode}")
    written, found = int(said), _ids(logs)
    expected = [f"id-{number}" for number in range(written)]
    if sorted(found) != sorted(expected) and not may_lose:
        raise FaultError(
            f"{written} lines written, {len(found)} found, {len(set(found))} of them once"
        )
    if len(found) != len(set(found)):
        raise FaultError("a line is there twice")
    return written, len(found)


def _configuration(logs: Path, more: str) -> str:
    text = shipped_configuration(logs)
    if "copytruncate" in more:
        text = "\n".join(line for line in text.splitlines() if "create" not in line) + "\n"
    before, _, after = text.rpartition("}")
    return f"{before}    {more}\n}}{after}"


def _ids(logs: Path) -> list[str]:
    found = []
    for path in logs.iterdir():
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        found += [json.loads(line)["id"] for line in data.splitlines()]
    return found
