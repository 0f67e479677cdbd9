"""What is fuzzed: everything that reads bytes that somebody else wrote.

A target makes a case from a generator of random numbers and tries it. What it may raise for bad
input it catches itself; whatever else comes out is a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from scripts.lib.fault_kit.mutation import Mutator
from tests.ear.test_wire import ONE_OF_EACH
from tests.store import making as rows
from tests.utterance.making import head, tail, tone

from stt_edge.ear import wire
from stt_edge.errors import SttEdgeError
from stt_edge.model import UtteranceState
from stt_edge.providers.base import Event, HttpReply, Incoming, Protocol
from stt_edge.record_json import record_to_json
from stt_edge.service.control import ControlServer
from stt_edge.store.store import Store
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.segment import AUDIO_HEADER_BYTES, Block, scan

Try = Callable[[random.Random], None]

_EVERYTHING: Final = 1 << 40
PROVIDERS: Final = "provider "
"""Followed by the name of one whose protocol is fed."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be tried over and over."""

    attempt: Try
    close: Callable[[], None] = lambda: None


def open_target(name: str, work: Path) -> Target:
    """Return a target by its name; it may use an empty folder."""
    if name.startswith(PROVIDERS):
        from scripts.lib.fault_kit.fuzz_providers import protocol_of

        make, heard = protocol_of(name.removeprefix(PROVIDERS), work)
        return Target(_feeding(make, heard))
    return {
        "segment scan": _segment_scan,
        "log recovery": _log_recovery,
        "ear wire": _ear_wire,
        "store rows": _store_rows,
        "control socket": _control_socket,
    }[name](work)


NAMES: Final = ("segment scan", "log recovery", "ear wire", "store rows", "control socket")


def _a_segment(directory: Path) -> tuple[str, bytes]:
    log = UtteranceLog(directory)
    log.recover()
    begun = head(0)
    log.start(begun)
    for number in range(6):
        log.append(begun.id, tone(number * 160, 160))
    log.end(begun.id, tail(960))
    log.close()
    (path,) = directory.iterdir()
    return path.name, path.read_bytes()


def _segment_scan(work: Path) -> Target:
    _, whole = _a_segment(work / "whole")

    def attempt(rng: random.Random) -> None:
        data = Mutator(rng, [whole]).bytes(whole)
        covered = 0
        for item in scan(lambda at, size: data[at : at + size], len(data)):
            assert item.offset >= covered, "blocks overlap"
            covered = item.end
            if isinstance(item, Block) and (span := item.audio()) is not None:
                assert len(span.pcm) <= len(item.payload) <= AUDIO_HEADER_BYTES + len(data)
        assert covered <= len(data)

    return Target(attempt)


def _log_recovery(work: Path) -> Target:
    name, whole = _a_segment(work / "whole")
    hot = work / "hot"

    def attempt(rng: random.Random) -> None:
        hot.mkdir(exist_ok=True)
        mutator = Mutator(rng, [whole])
        for number in range(rng.randint(1, 3)):
            (hot / name.replace(".0000.", f".{number:04d}.")).write_bytes(mutator.bytes(whole))
        log = UtteranceLog(hot)
        for info in log.recover():
            assert info.tail is not None
            log.read(info.id, 0, _EVERYTHING)
        log.close()
        shutil.rmtree(hot)

    return Target(attempt)


def _ear_wire(_: Path) -> Target:
    seeds = [wire.encode(message) for message in ONE_OF_EACH]

    def attempt(rng: random.Random) -> None:
        mutator, decoder = Mutator(rng, seeds), wire.Decoder()
        data = b"".join(rng.choice(seeds) for _ in range(3)) + mutator.bytes(rng.choice(seeds))
        with contextlib.suppress(wire.WireError):
            while data:
                size = rng.randint(1, len(data))
                for message in decoder.feed(data[:size]):
                    wire.encode(message)
                data = data[size:]

    return Target(attempt)


def _store_rows(work: Path) -> Target:
    whole = work / "whole.db"
    store = Store.open(whole)
    for number in range(8):
        start = rows.head()
        store.add_utterance(start)
        store.commit_part(rows.part(start.id, 0), start.start + 50)
        store.end_utterance(start.id, rows.tail())
        if number % 2:
            store.finish(start.id, UtteranceState.DONE, rows.record(start.id))
    store.close()

    def attempt(rng: random.Random) -> None:
        folder = work / "store"
        folder.mkdir(exist_ok=True)
        path = folder / "store.db"
        shutil.copy(whole, path)
        if rng.random() < 0.7:
            _spoil_cells(path, rng)
        else:
            path.write_bytes(Mutator(rng, [whole.read_bytes()[:8192]]).bytes(path.read_bytes()))
        with contextlib.suppress(SttEdgeError):
            _read_all(Store.open(path))
        shutil.rmtree(folder)

    return Target(attempt)


def _spoil_cells(path: Path, rng: random.Random) -> None:
    """Put something else into a few cells of the tables."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for _ in range(rng.randint(1, 4)):
            table = rng.choice(["utterances", "parts", "records", "cursors"])
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            column = rng.choice([name for name in columns if name != "seq"])
            found = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            if not found:
                continue
            row, value = rng.choice(found)
            text = Mutator(rng, []).text(value if isinstance(value, str) else repr(value))
            new = rng.choice([text, rng.randbytes(20), -1, 1 << 62, 1e300, text])
            with contextlib.suppress(sqlite3.Error):
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
                database.commit()


def _read_all(store: Store) -> None:
    try:
        for _, record in [*store.records_after(0, 100), *store.last_records(10)]:
            json.dumps(record_to_json(record))
        store.take_unreadable()
        for row in store.unfinished():
            with contextlib.suppress(SttEdgeError):
                store.parts(row.id)
            with contextlib.suppress(SttEdgeError):
                store.finish(row.id, UtteranceState.DONE, rows.record(row.id))
        store.counts()
    finally:
        store.close()


def _control_socket(work: Path) -> Target:
    loop = asyncio.new_event_loop()
    path = work / "control.sock"

    async def status(_: Any) -> Any:
        return {"state": "hearing"}

    server = ControlServer(path, {"status": status}, idle_s=0.5)
    loop.run_until_complete(server.start())
    seeds = [b'{"command": "status"}\n', b'{"command": "mute", "x": [1, 2, {"y": null}]}\n']

    async def talk(data: bytes, *, hangs_up: bool) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        if not hangs_up:
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                for line in (await reader.read()).splitlines():
                    json.loads(line)
        writer.transport.abort()

    async def ask() -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(seeds[0])
        answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
        assert "hearing" in json.dumps(answer), answer
        writer.close()

    def attempt(rng: random.Random) -> None:
        mutator = Mutator(rng, seeds)
        good = rng.choice(seeds)
        data = mutator.text(good.decode()).encode(errors="replace") + b"\n"
        if rng.random() < 0.5:
            data = mutator.bytes(good)
        loop.run_until_complete(talk(data, hangs_up=rng.random() < 0.2))
        loop.run_until_complete(ask())

    def close() -> None:
        loop.run_until_complete(server.close())
        loop.close()

    return Target(attempt, close)


def _feeding(make: Callable[[], Protocol], heard: Sequence[Incoming]) -> Try:
    """Feed one protocol with mixtures of what a good service says and of what none would."""
    seeds = [_raw(message) for message in heard]

    def attempt(rng: random.Random) -> None:
        protocol, mutator = make(), Mutator(rng, seeds)
        protocol.open()
        protocol.begin()
        protocol.send_audio(bytes(3200))
        for _ in range(rng.randint(1, 6)):
            message = rng.choice(heard)
            if rng.random() < 0.8:
                message = _spoilt(message, mutator, rng)
            _check(protocol.feed(message))
            protocol.to_send()
        if rng.random() < 0.5:
            protocol.goodbye()
        reason = mutator.text("going away") if rng.random() < 0.5 else ""
        _check(protocol.closed(rng.choice([None, 1000, 1006, 1011, 4001, -1]), reason))

    return attempt


def _raw(message: Incoming) -> bytes:
    if isinstance(message, HttpReply):
        return message.body
    return message if isinstance(message, bytes) else message.encode(errors="replace")


def _spoilt(message: Incoming, mutator: Mutator, rng: random.Random) -> Incoming:
    if isinstance(message, HttpReply):
        status = rng.choice([message.status, 200, 204, 400, 500, 0, 999])
        text = mutator.text(message.body.decode(errors="replace"))
        body = mutator.bytes(message.body) if rng.random() < 0.3 else text.encode(errors="replace")
        return replace(message, status=status, body=body)
    if isinstance(message, bytes):
        return mutator.bytes(message)
    return mutator.text(message)


def _check(events: Sequence[Event]) -> None:
    for event in events:
        assert type(event).__module__ == "stt_edge.providers.base", event
