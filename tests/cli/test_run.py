"""``stt-edge run``, as systemd sees it end."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from stt_edge.errors import ExitCode
from stt_edge.store.schema import MIGRATIONS
from stt_edge.store.store import Store


def test_a_store_of_a_later_version_ends_it_with_78_and_is_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "state" / "store.db"
    Store.open(database).close()
    with contextlib.closing(sqlite3.connect(database)) as raw:
        raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = database.read_bytes()
    config = tmp_path / "stt-edge.yaml"
    config.write_text("audio: {command: [sleep, '60']}\nproviders: [{name: recording}]\n")
    places = {"RUNTIME": "run", "STATE": "state", "LOGS": "log"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.daemon", "run", "-c", str(config)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(sys.path),
            **{f"{name}_DIRECTORY": str(tmp_path / place) for name, place in places.items()},
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.CONFIG
    assert "was written by a later version" in done.stderr
    assert "Install that version again" in done.stderr
    assert database.read_bytes() == before
