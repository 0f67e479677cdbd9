"""What commands share."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stt_edge.cli import common
from stt_edge.errors import ConfigProblem, FaultKind


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_colours_are_for_terminals_only() -> None:
    assert common.style("x", "bold", "red", stream=Terminal()) == "\033[1;31mx\033[0m"
    assert common.style("x", "bold", stream=io.StringIO()) == "x"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_declined(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert common.style("x", "bold", stream=Terminal()) == "x"


def test_an_empty_no_color_declines_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert common.style("x", "dim", stream=Terminal()) == "\033[2mx\033[0m"


def test_nothing_printed_commands_the_terminal() -> None:
    assert common.printable("a\x1b[2J\r\x07b\u202ec\nd") == "a\\x1b[2J\\r\\x07b\\u202ec\nd"
    assert common.printable("Þjóð 😀 日本") == "Þjóð 😀 日本"


@dataclass(frozen=True, slots=True)
class Report:
    """With one of each that JSON has no word for."""

    file: Path
    at: datetime
    kind: FaultKind
    problems: tuple[ConfigProblem, ...]


def test_json_is_one_line_of_unicode_and_takes_what_the_program_uses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = datetime(2026, 11, 20, 17, 20, 31, 482_900, timezone(timedelta(hours=1)))
    problem = ConfigProblem("a", 1, 2, "Þ")
    common.print_json(Report(Path("/a b"), at, FaultKind.BUSY, (problem,)))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "Þ" in line
    assert json.loads(line) == {
        "file": "/a b",
        "at": "2026-11-20T16:20:31.482Z",
        "kind": "busy",
        "problems": [{"path": "a", "line": 1, "column": 2, "message": "Þ"}],
    }


def test_what_has_no_place_in_json_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="set has no place in JSON"):
        common.print_json({"a": {1}})


def test_the_default_file_is_read_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stt-edge.yaml"
    monkeypatch.setattr("stt_edge.config.loader.DEFAULT_PATH", path)
    assert common.config_path(None) is None
    assert common.config_path(Path("mine.yaml")) == Path("mine.yaml")
    path.symlink_to(tmp_path / "nowhere")
    assert common.config_path(None) == path, "a link that leads nowhere is worth a complaint"
