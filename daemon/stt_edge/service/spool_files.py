"""Audio that waits, for a command while no daemon runs, or beside one that does."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

from stt_edge.errors import InputError
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, AudioSpan, UtteranceState
from stt_edge.service.paths import Paths
from stt_edge.service.spool import SpoolEntry, entry_of
from stt_edge.store.lock import StateLock
from stt_edge.store.store import Store
from stt_edge.utterance.contents import LogInfo
from stt_edge.utterance.disk import ReadOnlyDisk
from stt_edge.utterance.log import UtteranceLog

_READ_SAMPLES = 30 * SAMPLE_RATE
_SILENCE_SAMPLES = 60 * SAMPLE_RATE


class SpoolFiles:
    """What lies in the directories of an instance; looking changes nothing."""

    def __init__(self, paths: Paths) -> None:
        """Look. Raises LogError when there is no looking."""
        self._paths = paths
        self._log = UtteranceLog(paths.hot_audio, ReadOnlyDisk(), cold=paths.cold_audio)
        found = (*self._log.recover(), *self._log.recover_cold())
        self.infos: dict[str, LogInfo] = {info.id: info for info in found}

    def entries(self) -> list[SpoolEntry]:
        """Return what there is, oldest first. Raises StoreError."""
        states: dict[str, UtteranceState] = {}
        if self._paths.database.exists():
            store = Store.open_read_only(self._paths.database)
            try:
                self._log.arrange(store.sequence())
                states = store.states(self._log.ids())
                for utterance_id in states:
                    if (row := store.utterance(utterance_id)) is not None:
                        self._log.acknowledged(utterance_id, row.acked_sample)
            finally:
                store.close()
        return [entry_of(each, states.get(each.id)) for each in self._log.holdings()]

    def export(self, utterance_id: str, directory: Path) -> Path:
        """Write an utterance as a WAV file (16 kHz mono s16le, private); returns its path.

        What is missing is silence, so that times stay right. Raises InputError for one that is not
        there, LogError, OSError.
        """
        info = self.infos.get(utterance_id)
        if info is None:
            raise InputError(
                f"There is no audio of {utterance_id}.", "See what there is: stt-edge spool ls."
            )
        moment = info.start.started_at.strftime("%Y%m%dT%H%M%SZ")
        path = directory / f"{moment}_{utterance_id}.wav"
        path.touch(mode=0o600)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(SAMPLE_RATE)
            at = info.start.start
            while spans := self._log.read(utterance_id, at, _READ_SAMPLES):
                for span in spans:
                    _write(file, at, span)
                    at = span.end
        return path


def purge(paths: Paths, ids: Sequence[str] | None) -> list[str]:
    """Delete audio for good while no daemon runs; None is all of it. Returns what is gone.

    The next start makes records of what was committed. Raises UnavailableError when a daemon does
    run, LogError, StoreError.
    """
    with StateLock.acquire(paths.state):
        log = UtteranceLog(paths.hot_audio, cold=paths.cold_audio)
        log.recover()
        log.recover_cold()
        gone = [id_ for id_ in log.ids() if ids is None or id_ in ids]
        for utterance_id in gone:
            log.delete(utterance_id)
        log.tidy()
        log.close()
        return gone


def replay(paths: Paths, ids: Sequence[str] | None) -> list[str]:
    """Have the next start transcribe utterances again; None is those that were set aside.

    Returns those for which that is so. Raises UnavailableError when a daemon does run, LogError,
    StoreError.
    """
    with StateLock.acquire(paths.state):
        store = Store.open(paths.database)
        try:
            there = SpoolFiles(paths).entries()
            if ids is None:
                ids = [entry.id for entry in there if entry.state == "poisoned"]
            known = {entry.id for entry in there}
            return [id_ for id_ in ids if id_ in known and store.reopen(id_) is not None]
        finally:
            store.close()


def _write(file: wave.Wave_write, at: int, span: AudioSpan) -> None:
    missing = span.sample - at
    while missing > 0:
        step = min(missing, _SILENCE_SAMPLES)
        file.writeframes(bytes(step * SAMPLE_BYTES))
        missing -= step
    file.writeframes(span.pcm)
