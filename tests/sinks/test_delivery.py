"""From the real store to a real file: each record once, however often the program is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.sinks.namespaces import environment_of

PROGRAM = """
import asyncio, sys
from pathlib import Path
from stt_edge.model import UtteranceStart, UtteranceState
from stt_edge.service.sink_set import StoreFeed
from stt_edge.sinks.follower import Follower
from stt_edge.sinks.jsonl import JsonlSink
from stt_edge.store.store import Store
from stt_edge.store.writer import StoreThread
from tests.sinks.samples import record

async def main(directory, count):
    store = await StoreThread.open(directory / "store.db")
    follower = Follower(JsonlSink(directory / "t.jsonl"), StoreFeed(store))
    following = asyncio.create_task(follower.run())
    while follower.status().position is None:
        await asyncio.sleep(0.001)
    for _ in range(count):
        said = record()
        head = UtteranceStart(said.id, said.stream, said.start_sample, said.start, 0)
        await store.call(Store.add_utterance, head)
        await store.call(Store.finish, said.id, UtteranceState.DONE, said)
        follower.wake()
        print(said.id, flush=True)
    await follower.stop(60)
    await following
    await store.close()

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def start(directory: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(directory), str(count)],
        env=environment_of(),
        stdout=subprocess.PIPE,
        text=True,
    )


def ids_in(path: Path) -> list[str]:
    """Return the ids of the whole lines; a kill may tear one, hardly ever."""
    ids = []
    for line in path.read_bytes().splitlines():
        try:
            ids.append(json.loads(line)["id"])
        except ValueError:
            continue
    return ids


def test_killed_again_and_again_every_committed_record_is_in_the_file_once(tmp_path: Path) -> None:
    committed: list[str] = []
    for kill in range(8):
        with start(tmp_path, 1_000_000) as program:
            assert program.stdout is not None
            committed += [program.stdout.readline().strip() for _ in range(1 + 7 * kill % 20)]
            program.send_signal(signal.SIGKILL)
            committed += program.stdout.read().split()
    with start(tmp_path, 1) as program:
        last, _ = program.communicate()
        assert program.returncode == 0
        committed.append(last.strip())
    written = ids_in(tmp_path / "t.jsonl")
    assert len(written) == len(set(written))
    # A record may have been committed and not reported before the kill.
    assert [each for each in written if each in set(committed)] == committed
    assert len(written) <= len(committed) + 8
