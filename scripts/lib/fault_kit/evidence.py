"""What was committed, what arrived, and whether the second holds all of the first, once.

Between two runs of a daemon the store is copied and read; what was there once has to be there ever
after. Who has been heard and not yet understood keeps the audio, and is understood in the end. Then
every record has to be in the JSONL file once, and on MQTT at least once.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fault import FaultError

WordPlace = tuple[str, int, int]
"""A word, its first sample, and the first one behind it."""

_OVERLAP_SAMPLES: Final = 1600
"""A word may reach so far into the next."""
_FINISHED: Final = ("done", "dropped", "poisoned")
_SOME_BYTES: Final = 4096
"""A segment file as large as this has audio in it, not only its heads."""


@dataclass
class Evidence:
    """What a store held at any time."""

    parts: dict[tuple[str, int], str] = field(default_factory=dict)
    """(utterance, number) and the text of each part that was ever committed."""
    records: dict[str, str] = field(default_factory=dict)
    """Id and text of each record that was ever committed."""
    words: dict[str, list[WordPlace]] = field(default_factory=dict)
    """Id and words of each record."""
    heard: set[str] = field(default_factory=set)
    """Utterances that were not finished at some time and had audio then."""

    def look(self, folder: Path) -> None:
        """Read the store of a daemon that does not run. Raises FaultError where something has gone.

        ``folder`` has the daemon's runtime and state directories.
        """
        found = _Contents.of(folder)
        if lost := [key for key in self.records if key not in found.records]:
            raise FaultError(f"committed records have gone: {lost}")
        if lost_parts := [key for key in self.parts if key not in found.parts]:
            raise FaultError(f"committed parts have gone: {lost_parts}")
        for utterance_id, state in found.states.items():
            if state not in _FINISHED and _audio_bytes(folder, utterance_id) > _SOME_BYTES:
                self.heard.add(utterance_id)
            elif state == "ended" and utterance_id not in {key[0] for key in found.parts}:
                raise FaultError(f"{utterance_id} has neither audio nor a result")
        self.words |= found.words
        self.parts |= found.parts
        self.records |= found.records

    def check_end(self, folder: Path) -> None:
        """See that all that was heard is done, and every part in a record. Raises FaultError."""
        found = _Contents.of(folder)
        if undone := {one: found.states[one] for one in self.heard if found.states[one] != "done"}:
            raise FaultError(f"heard and not understood: {undone}")
        missing = [
            key
            for key, text in self.parts.items()
            if text.strip() not in found.texts.get(key[0], "")
        ]
        if missing:
            raise FaultError(f"committed parts are in no record: {missing}")

    def check_file(self, jsonl: Path) -> None:
        """See that every record is in the file, once. Raises FaultError."""
        ids = [str(line["id"]) for line in lines_of(jsonl)]
        twice = sorted({each for each in ids if ids.count(each) > 1})
        if twice:
            raise FaultError(f"ids that are in the file twice: {twice}")
        if missing := sorted(set(self.records) - set(ids)):
            raise FaultError(f"committed records that are not in the file: {missing}")

    def check_messages(self, ids: list[str]) -> None:
        """See that every record was published. Raises FaultError."""
        if missing := sorted(set(self.records) - set(ids)):
            raise FaultError(f"committed records that were never published: {missing}")

    def check_words(self) -> None:
        """See that no stretch of audio is in its record twice. Raises FaultError."""
        for record_id, words in self.words.items():
            for (one, _, end), (other, start, _) in itertools.pairwise(sorted(words, key=_start)):
                if start < end - _OVERLAP_SAMPLES:
                    raise FaultError(f"record {record_id} has one sound twice: {one}, {other}")


def lines_of(jsonl: Path) -> list[dict[str, object]]:
    """Return the records of a file, without torn lines. Raises FaultError for what is no record."""
    if not jsonl.exists():
        return []
    found = []
    lines = jsonl.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.append(json.loads(line))
        except ValueError:
            # A kill between two halves of a write: the next run ends the line and writes it anew.
            continue
        if not isinstance(found[-1], dict):
            raise FaultError(f"line {number} of {jsonl} is no record")
    return found


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a store holds."""

    parts: dict[tuple[str, int], str] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """What the records of each utterance say."""
    states: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[WordPlace]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> _Contents:
        """Read a copy: opening the store itself would put right what a start has to put right."""
        store, scratch = folder / "state" / "store.db", folder / "scratch"
        if not store.exists():
            return cls()
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for name in (store.name, f"{store.name}-wal"):
            if store.with_name(name).exists():
                shutil.copy(store.with_name(name), scratch / name)
        with closing(sqlite3.connect(scratch / store.name)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            return cls._read(connection) if {"utterances", "parts", "records"} <= tables else cls()

    @classmethod
    def _read(cls, connection: sqlite3.Connection) -> _Contents:
        found = cls()
        for utterance_id, seq, text in connection.execute(
            "SELECT utterance_id, seq, text FROM parts"
        ):
            found.parts[utterance_id, seq] = text
        for record_id, utterance_id, body in connection.execute(
            "SELECT id, utterance_id, body FROM records ORDER BY seq"
        ):
            record = json.loads(body)
            text = found.records[record_id] = record["text"]
            found.words[record_id] = [(word[0], word[1], word[2]) for word in record["words"]]
            found.texts[utterance_id] = f"{found.texts.get(utterance_id, '')} {text}"
        found.states.update(connection.execute("SELECT id, state FROM utterances"))
        return found


def _start(word: WordPlace) -> int:
    return word[1]


def _audio_bytes(folder: Path, utterance_id: str) -> int:
    """Return how much there is of an utterance in files, wherever the daemon keeps them."""
    places = [
        path for name in ("run", "state") for path in (folder / name).rglob(f"{utterance_id}*")
    ]
    return sum(path.stat().st_size for path in places if path.is_file())
