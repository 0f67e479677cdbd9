"""``stt-edge spool`` beside a daemon that does not run; tests/service has one that does."""

from __future__ import annotations

import json
import stat
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from stt_edge.errors import ExitCode
from stt_edge.model import UtteranceState
from stt_edge.service import paths
from stt_edge.service.paths import Paths
from stt_edge.store.lock import StateLock
from stt_edge.store.store import Store
from stt_edge.utterance.log import UtteranceLog
from tests.service.bench import PCM, A, audio, part, record, tail_of

B = A[:-1] + "b"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path / "nothing")
    monkeypatch.setattr(paths, "SYSTEM_STATE", tmp_path / "nothing")
    for name, folder in (("RUNTIME", "run"), ("STATE", "state"), ("LOGS", "logs")):
        monkeypatch.setenv(f"{name}_DIRECTORY", str(tmp_path / folder))
    made = Paths(tmp_path / "run", tmp_path / "state", tmp_path / "logs")
    made.create()
    return made


@pytest.fixture
def run(place: Paths, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> tuple[int, str, str]:
        code = main(["spool", *argv])
        return code, *capsys.readouterr()

    return call


def left_behind(place: Paths, *states: UtteranceState) -> list[str]:
    """Leave utterances as a run that is gone would: the first on the disk, the others in memory."""
    log = UtteranceLog(place.hot_audio, cold=place.cold_audio)
    log.recover()
    store = Store.open(place.database)
    ids = [A, B][: len(states)]
    for utterance_id, state in zip(ids, states, strict=True):
        head = audio(log, utterance_id)
        store.add_utterance(head)
        store.end_utterance(utterance_id, tail_of(head))
        if state is not UtteranceState.ENDED:
            store.commit_part(part(head), head.start)
            store.finish(utterance_id, state, record(head))
    log.go_cold(A)
    log.copy(A)
    store.close()
    log.close()
    return ids


def files(place: Paths) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in (place.hot_audio, place.cold_audio)
        for path in folder.glob("*")
    }


def test_with_nothing_there_it_says_so(run: Run) -> None:
    code, out, err = run("ls")
    assert (code, out) == (ExitCode.OK, "")
    assert "0 utterances" in err
    assert run("ls", "--json")[1] == "[]\n"


def test_what_waits_is_listed_oldest_first_and_nothing_is_changed(place: Paths, run: Run) -> None:
    left_behind(place, UtteranceState.ENDED, UtteranceState.POISONED)
    before = files(place)
    code, out, _ = run("ls", "--json")
    listed = json.loads(out)
    assert code == ExitCode.OK
    assert [(each["id"], each["state"], each["on_disk"]) for each in listed] == [
        (A, "waiting", True),
        (B, "poisoned", False),
    ]
    assert listed[0]["seconds"] == round(len(PCM) / 32_000, 2)
    assert files(place) == before
    lines = run("ls")[1].splitlines()
    assert [line.split()[0] for line in lines] == [A, B]


def test_exported_audio_is_what_was_said_and_private(
    place: Paths, run: Run, tmp_path: Path
) -> None:
    left_behind(place, UtteranceState.ENDED, UtteranceState.ENDED)
    before = files(place)
    code, out, _ = run("export", "--all", "-o", str(tmp_path / "out"))
    assert code == ExitCode.OK
    paths_written = [Path(line) for line in out.splitlines()]
    assert len(paths_written) == 2
    for path in paths_written:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with wave.open(str(path)) as recording:
            assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
            assert recording.readframes(1 << 20) == PCM
    assert files(place) == before


def test_what_is_missing_is_silence_in_an_exported_file(
    place: Paths, run: Run, tmp_path: Path
) -> None:
    from tests.utterance.making import head, tail, tone

    log = UtteranceLog(place.hot_audio, cold=place.cold_audio)
    log.recover()
    begun = head(0)
    log.start(begun)
    log.append(begun.id, tone(0, 100))
    log.append(begun.id, tone(200, 100))
    log.end(begun.id, tail(300))
    _, out, _ = run("export", begun.id, "-o", str(tmp_path))
    with wave.open(out.strip()) as recording:
        assert recording.readframes(300) == tone(0, 100).pcm + bytes(200) + tone(200, 100).pcm


def test_one_that_is_not_there_does_not_keep_the_others_from_being_exported(
    place: Paths, run: Run, tmp_path: Path
) -> None:
    left_behind(place, UtteranceState.ENDED)
    code, out, err = run("export", "nobody", A, "-o", str(tmp_path))
    assert code == ExitCode.FAILED
    assert len(out.splitlines()) == 1
    assert "no audio of nobody" in err


def test_purged_audio_is_gone_from_memory_and_disk(place: Paths, run: Run) -> None:
    left_behind(place, UtteranceState.ENDED, UtteranceState.ENDED)
    code, out, _ = run("purge", A, "-y")
    assert (code, "1 utterances are deleted" in out) == (ExitCode.OK, True)
    assert {path.name.split(".")[0] for path in files(place)} == {B}
    code, out, _ = run("purge", "--all", "--json")
    assert json.loads(out) == {"purged": [B], "refused": []}
    assert files(place) == {}


def test_replay_makes_the_next_start_transcribe_what_was_set_aside(place: Paths, run: Run) -> None:
    left_behind(place, UtteranceState.POISONED, UtteranceState.ENDED)
    code, out, _ = run("replay", "--json")
    assert (code, json.loads(out)) == (ExitCode.OK, {"replayed": [A], "refused": []})
    store = Store.open(place.database)
    assert [row.id for row in store.unfinished()] == [A, B]
    assert len(store.parts(A)) == 1
    store.close()


def test_replay_of_what_is_kept_begins_anew_and_supersedes(place: Paths, run: Run) -> None:
    left_behind(place, UtteranceState.DONE)
    assert run("replay", A)[0] == ExitCode.OK
    store = Store.open(place.database)
    row = store.utterance(A)
    assert row is not None
    assert (row.state, row.supersedes, row.acked_sample) == (UtteranceState.ENDED, A, 0)
    assert store.parts(A) == []
    again = replace(record(row.start, "better"), id=B, supersedes=A)
    assert store.finish(A, UtteranceState.DONE, again) == 2
    assert store.finish(A, UtteranceState.DONE, again) == 2
    # And once more: it is the newer record that is superseded then.
    row = store.reopen(A)
    assert row is not None
    assert row.supersedes == B
    third = replace(again, id=A[:-1] + "c", supersedes=B)
    assert store.finish(A, UtteranceState.DONE, third) == 3
    assert [each.text for _, each in store.records_after(0, 9)] == ["hello", "better", "better"]
    store.close()


def test_what_is_not_there_is_named(place: Paths, run: Run) -> None:
    left_behind(place, UtteranceState.ENDED)
    code, _, err = run("replay", "nobody")
    assert (code, "nobody" in err) == (ExitCode.FAILED, True)


@pytest.mark.parametrize("action", ["export", "purge"])
@pytest.mark.parametrize("ids", [(), (A, "--all")])
def test_which_ones_must_be_said(place: Paths, run: Run, action: str, ids: tuple[str, ...]) -> None:
    left_behind(place, UtteranceState.ENDED)
    before = files(place)
    code, _, err = run(action, *ids)
    assert (code, "--all" in err) == (ExitCode.USAGE, True)
    assert files(place) == before


@pytest.mark.parametrize("action", ["purge", "replay"])
def test_nothing_is_changed_behind_the_back_of_a_daemon_that_does_not_answer(
    place: Paths, run: Run, action: str
) -> None:
    left_behind(place, UtteranceState.POISONED)
    before = files(place)
    with StateLock.acquire(place.state):
        code, _, err = run(action, A)
    assert (code, "Another stt-edge" in err) == (ExitCode.UNAVAILABLE, True)
    assert files(place) == before
