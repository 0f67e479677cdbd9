"""Real processes, killed at any moment: what the store said is committed is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from stt_edge.model import UtteranceState
from stt_edge.store.opening import StoreOpening
from stt_edge.store.store import Store

ROUNDS = 30

WRITER = """
import sys
from pathlib import Path
from stt_edge.model import UtteranceState
from stt_edge.store.store import Store
from tests.store.making import head, part, record, tail

store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
while True:
    start = head()
    store.add_utterance(start)
    for seq in range(3):
        acked = store.commit_part(part(start.id, seq), start.start + 100 * seq)
        print("part", start.id, seq, acked, flush=True)
    store.end_utterance(start.id, tail())
    print("record", start.id, store.finish(start.id, UtteranceState.DONE, record(start.id)),
          flush=True)
"""


def run_until_killed(path: Path, lines: int) -> list[list[str]]:
    """Return what a writer said was committed, of which at least so many lines before its end."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


def test_thirty_kills_lose_nothing_that_was_committed_and_double_nothing(path: Path) -> None:
    parts: dict[tuple[str, int], int] = {}
    records: dict[str, int] = {}
    for number in range(ROUNDS):
        for line in run_until_killed(path, 1 + number * 13 % 40):
            match line:
                case ["part", utterance_id, seq, acked]:
                    parts[utterance_id, int(seq)] = int(acked)
                case ["record", utterance_id, number_of_record]:
                    records[utterance_id] = int(number_of_record)
        store = Store.open(path)
        assert store.opening == StoreOpening()
        found = {record.id: seq for seq, record in store.records_after(0, 1_000_000)}
        assert found.items() >= records.items()
        assert len(found) == len(store.records_after(0, 1_000_000))
        store.close()
    store = Store.open(path)
    for (utterance_id, part_number), acked_sample in parts.items():
        row = store.utterance(utterance_id)
        assert row is not None
        assert row.acked_sample >= acked_sample
        assert part_number in [part.seq for part in store.parts(utterance_id)]
    assert store.counts()[UtteranceState.DONE] == len(found)
    assert len(records) > ROUNDS
    store.close()
