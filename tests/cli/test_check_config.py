"""``stt-edge check-config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stt_edge.cli.main import main

BAD = "audio:\n  block_ms: 16k\nnode: no\n"


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default file would be; there is none."""
    path = tmp_path / "etc.yaml"
    monkeypatch.setattr("stt_edge.config.loader.DEFAULT_PATH", path)
    return path


def test_a_good_file_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("node: kitchen\n")
    assert main(["check-config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: OK\n"


def test_every_problem_of_a_bad_file_is_printed_and_it_is_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    assert main(["check-config", str(path)]) == 78
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{path}:2:13: audio.block_ms: expected int, got str '16k'"
    assert second.startswith(f"{path}:3:7: node: expected str, got bool no; ")


def test_json_has_the_problems_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    assert main(["check-config", "--json", str(path)]) == 78
    body = json.loads(capsys.readouterr().out)
    assert body["path"] == str(path)
    assert body["ok"] is False
    assert [(each["line"], each["column"]) for each in body["problems"]] == [(2, 13), (3, 7)]
    assert body["problems"][0] == {
        "path": str(path),
        "line": 2,
        "column": 13,
        "message": "audio.block_ms: expected int, got str '16k'",
    }


def test_without_a_file_defaults_apply(default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    assert capsys.readouterr().out == f"no configuration file at {default}: defaults apply\n"
    assert main(["check-config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"path": None, "ok": True, "problems": [], "warnings": []}


def test_the_default_file_is_checked_where_there_is_one(
    default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default.write_text(BAD)
    assert main(["check-config"]) == 78
    assert capsys.readouterr().out.count("\n") == 2


def test_a_named_file_has_to_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.yaml"
    assert main(["check-config", "-c", str(path)]) == 78
    assert capsys.readouterr().out == f"{path}: no such file or directory\n"


def test_the_file_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "a.yaml", "-c", "b.yaml"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_77(
    default: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # root may read every file, so the refusal is made here
        raise PermissionError(13, "Permission denied")

    default.touch()
    monkeypatch.setattr(Path, "open", refuse)
    assert main(["check-config"]) == 77
    told = capsys.readouterr().err
    assert told.startswith(f"stt-edge: {default}: permission denied.\n")
    assert "sudo" in told


def test_secrets_are_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("providers: [{name: pocketsphinx, api_key: hunter2}]\npassword: hunter2\n")
    assert main(["check-config", str(path)]) == 78
    told = capsys.readouterr()
    assert told.out.count("a secret does not belong here") == 2
    assert "hunter2" not in told.out + told.err


def test_utterances_longer_than_the_provider_takes_are_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("k-1234567")
    file = tmp_path / "edge.yaml"
    file.write_text(
        "vad: {max_utterance_s: 90}\n"
        "providers: [{name: google_rest, api_key_file: key, kind: google_rest}]\n"
    )
    assert main(["check-config", str(file)]) == 78
    assert "google_rest takes at most 60 s; write 60 or less" in capsys.readouterr().out


def test_a_card_named_by_its_number_and_a_key_that_cannot_be_read_are_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, key = tmp_path / "odd.yaml", tmp_path / "key"
    device = "audio: {device: 'hw:1,0'}"
    path.write_text(f"{device}\nproviders: [{{name: deepgram, api_key_file: {key}}}]\n")
    assert main(["check-config", str(path)]) == 0
    good, by_number, no_key = capsys.readouterr().out.splitlines()
    assert good == f"{path}: OK"
    assert by_number.startswith("warning: audio.device: hw:1,0 names a card by its number")
    assert no_key.startswith(f"warning: provider deepgram: The key file {key} cannot be read")
    key.write_text("sesame\n")
    path.write_text(
        f"audio: {{device: 'hw:Yeti'}}\nproviders: [{{name: deepgram, api_key_file: {key}}}]\n"
    )
    assert main(["check-config", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_a_systemd_credential_is_not_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "credential.yaml"
    path.write_text("providers: [{name: deepgram, api_key_file: deepgram}]\n")
    assert main(["check-config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: OK\n"
