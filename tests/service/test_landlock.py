"""What main forbids itself, seen from a process that has done so."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stt_edge.service import landlock
from tests.sinks.namespaces import ROOT

PROBE = """
import json, os, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stt_edge.service import landlock

forbidden, beside, inside = map(Path, sys.argv[1:])

def outcome(path, mode="r"):
    try:
        open(path, mode).close()
    except OSError as error:
        return type(error).__name__
    return "opened"

def in_child():
    argv = [sys.executable, "-c", "import sys; open(sys.argv[1]).close()", inside]
    return subprocess.run(argv, stderr=subprocess.DEVNULL).returncode

before = ThreadPoolExecutor(1)
before.submit(os.getpid).result()
said = {"before": outcome(inside), "reason": landlock.shut_out(forbidden)}
said |= {
    "read": outcome(inside), "write": outcome(inside, "a"), "beside": outcome(beside, "a"),
    "null": outcome("/dev/null", "a"), "system": outcome("/etc/hostname"), "child": in_child(),
    "earlier thread": before.submit(outcome, inside).result(),
    "its child": before.submit(in_child).result(),
}
late = threading.Thread(target=lambda: said.__setitem__("later thread", outcome(inside)))
late.start()
late.join()
new = forbidden / "new"
before.submit(new.write_text, "").result()
said["made later"] = outcome(new)
print(json.dumps(said))
"""


def run_probe(tmp_path: Path) -> dict[str, Any]:
    """Shut a process out of a folder, and return what it could open then."""
    forbidden = tmp_path / "dev" / "snd"
    forbidden.mkdir(parents=True)
    inside, beside = forbidden / "pcmC0D0c", tmp_path / "dev" / "other"
    inside.touch()
    beside.touch()
    argv = [sys.executable, "-c", PROBE, *map(str, (forbidden, beside, inside))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "daemon")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    if said["reason"]:
        pytest.skip(said["reason"])
    return said


def test_main_opens_no_sound_device_and_everything_else_as_before(tmp_path: Path) -> None:
    said = run_probe(tmp_path)
    assert said["before"] == "opened"
    assert (said["read"], said["write"]) == ("PermissionError", "PermissionError")
    assert said["made later"] == "PermissionError"
    assert (said["beside"], said["null"], said["system"]) == ("opened", "opened", "opened")


def test_what_main_starts_is_shut_out_too_but_for_what_the_earlier_thread_starts(
    tmp_path: Path,
) -> None:
    said = run_probe(tmp_path)
    assert said["later thread"] == "PermissionError"
    assert said["child"] != 0
    assert said["earlier thread"] == "opened"
    assert said["its child"] == 0


def test_a_kernel_that_refuses_is_said_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # No such system call: what a kernel without Landlock, or a system-call filter, makes of it.
    monkeypatch.setattr(landlock, "_CREATE_RULESET", 100_000)
    monkeypatch.setattr(landlock, "_PR_SET_NO_NEW_PRIVS", 39)  # asks, where 38 would set
    assert "Landlock" in landlock.shut_out(tmp_path)


def test_the_daemon_forbids_itself_the_sound_devices_before_it_does_anything(
    tmp_path: Path,
) -> None:
    """``stt-edge run`` as it is, but for the name of the folder, hears through its ear."""
    secret = tmp_path / "dev" / "snd"
    for folder in (secret, tmp_path / "run", tmp_path / "state"):
        folder.mkdir(parents=True)
    (secret / "card").write_bytes(bytes(3200))
    script = (
        "import sys; from pathlib import Path; from stt_edge.service import landlock;"
        "landlock.SOUND_DEVICES = Path(sys.argv[1]);"
        "from stt_edge.cli.main import main; sys.exit(main(['run', '-c', sys.argv[2]]))"
    )
    configuration = tmp_path / "stt-edge.yaml"
    ear_reads = f"cat {secret}/card > {tmp_path}/heard; cat /dev/zero | head -c 320000"
    configuration.write_text(
        json.dumps(
            {
                "audio": {"command": ["sh", "-c", ear_reads]},
                "sinks": {"jsonl": {"path": str(secret / "transcripts.jsonl")}},
            }
        ),
        encoding="utf-8",
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "daemon"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    argv = [sys.executable, "-c", script, str(secret), str(configuration)]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    if "Landlock is not to be had" in done.stderr:
        pytest.skip(f"the kernel here ({platform.release()}) has no Landlock")
    assert (tmp_path / "heard").is_file(), done.stderr
    assert (tmp_path / "heard").stat().st_size == 3200
    assert "Permission denied" in done.stderr, done.stderr  # the sink, which is in main
