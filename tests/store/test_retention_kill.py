"""Real processes, killed while they forget: nothing half gone, nothing lost that was to stay."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from stt_edge.model import UtteranceState
from stt_edge.store.opening import StoreOpening
from stt_edge.store.store import Store
from tests.store.making import head, part, record, tail

ROUNDS = 20
YOUNG = 5

FORGETTER = """
import sys
from pathlib import Path
from stt_edge.store.retention import RetentionRules
from stt_edge.store.store import Store

store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
rules = RetentionRules(max_bytes=1, sinks=frozenset(["sink"]))
while True:
    for id_ in store.retention.expired(rules, (), 3):
        gone = store.retention.forget([id_])
        print(id_, gone.utterances, gone.records, flush=True)
    store.retention.truncate_log()
"""


def fill(path: Path, count: int) -> list[str]:
    with contextlib.closing(Store.open(path)) as store:
        ids = []
        for _ in range(count):
            start = head()
            store.add_utterance(start)
            for seq in range(3):
                store.commit_part(part(start.id, seq), start.start + 100 * seq)
            store.end_utterance(start.id, tail())
            store.finish(start.id, UtteranceState.DONE, record(start.id))
            ids.append(start.id)
        store.set_cursor("sink", store.last_seq() - YOUNG)
    return ids


def forget_until_killed(path: Path, lines: int) -> list[str]:
    """Return the ids that a process said it had forgotten, of which at least so many."""
    with subprocess.Popen(
        [sys.executable, "-c", FORGETTER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split()[0] for line in said[1:] if line.endswith("\n")]


def test_twenty_kills_leave_every_utterance_whole_or_gone(path: Path) -> None:
    told: set[str] = set()
    last_seq = 0
    for number in range(ROUNDS):
        filled = fill(path, 12)
        told |= set(forget_until_killed(path, 1 + number % 11))
        with contextlib.closing(Store.open(path)) as store:
            assert store.opening == StoreOpening()
            assert store.last_seq() == last_seq + 12
            last_seq += 12
        with contextlib.closing(sqlite3.connect(path)) as raw:
            known = {row[0] for row in raw.execute("SELECT id FROM utterances")}
            parts = raw.execute("SELECT utterance_id FROM parts").fetchall()
            records = raw.execute("SELECT utterance_id FROM records").fetchall()
        assert set(filled[-YOUNG:]) <= known
        assert not known & told
        assert sorted(parts) == sorted((id_,) for id_ in known for _ in range(3))
        assert sorted(records) == sorted((id_,) for id_ in known)
    assert len(told) > ROUNDS
