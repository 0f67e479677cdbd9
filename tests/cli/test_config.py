"""``stt-edge config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from stt_edge.cli.main import main


@pytest.fixture(autouse=True)
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default file would be; there is none."""
    path = tmp_path / "etc.yaml"
    monkeypatch.setattr("stt_edge.config.loader.DEFAULT_PATH", path)
    return path


def test_without_a_file_the_defaults_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# no configuration file: defaults\n")
    body = yaml.safe_load(text)
    assert body["vad"]["hangover_ms"] == 600
    assert body["providers"][0]["name"] == "pocketsphinx"
    assert list(body["sinks"]) == ["journal", "jsonl"]


def test_what_is_printed_is_a_good_configuration(
    default: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default.write_text("node: kitchen\naudio: {command: ['yes', it is]}\n")
    assert main(["config"]) == 0
    first = capsys.readouterr().out
    copy = tmp_path / "copy.yaml"
    copy.write_text(first)
    assert main(["config", "-c", str(copy)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first.splitlines()[1:]


def test_json_is_the_same_with_the_path(default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    default.write_text("sinks: {stdout: {}}\nvad: {hangover_ms: 700}\n")
    assert main(["config", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["path"] == str(default)
    assert body["sinks"] == {"stdout": {}}
    assert body["vad"]["hangover_ms"] == 700
    assert body["audio"]["command"] is None


def test_a_bad_file_is_78_with_every_problem(
    default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default.write_text("nod: a\nvad: {hangover_ms: 1}\n")
    assert main(["config"]) == 78
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        f"{default}:1:1: nod: unknown key; did you mean node?",
        f"{default}:2:20: vad.hangover_ms: must be at least 100, got 1",
    ]


def test_passwords_in_a_command_are_masked(
    default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default.write_text("audio: {command: [ffmpeg, -i, 'rtsp://ada:hunter2@camera/1']}\n")
    assert main(["config"]) == 0
    assert main(["config", "--json"]) == 0
    text = capsys.readouterr().out
    assert "hunter2" not in text
    assert text.count("rtsp://ada:********@camera/1") == 2
